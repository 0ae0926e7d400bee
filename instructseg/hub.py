"""Names of models: the bundled ones, a folder, or a repository of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from typing_extensions import Unpack

_ASSETS = Path(__file__).with_name("assets")
DEMO_IMAGE, DEMO_VIDEO = _ASSETS / "truck.jpg", _ASSETS / "dog.mp4"
"""A shipped photograph and a video; from facebookresearch/sam2, Apache-2.0."""
DRAWN_IMAGE, DRAWN_VIDEO = _ASSETS / "drawn.png", _ASSETS / "drawn.mp4"
"""Likewise of drawn shapes."""

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the bundled models."""
BUNDLED = ("mini", "nano")
"""Their names: for photographs, the default; and for drawn shapes, small and for teaching."""
DEFAULT_MODEL, DRAWN_MODEL = (WEIGHTS / name for name in BUNDLED)
"""Their folders."""
TINY_PACKAGE = "instructseg_tiny"
"""Optional package with small weights of the other systems, a folder each; made by ``recipes/systems``."""
TINY = ("explanatory-tiny", "instructcv-tiny", "instructseq-tiny", "visionllm-tiny")
"""Their names, one for each such system."""
PUBLISHED = "weic22/InstructSeg"
"""The published weights, a repository of the Hugging Face hub."""

NOTES = {
    "mini": "a preview: it knows about 140 kinds of everyday objects, and few relations between them; "
    f"{PUBLISHED} knows more",
    "nano": "made for drawn shapes: its answers on photographs mean nothing; mini is for those",
}
"""What a user of a bundled model is told."""
TINY_NOTE = "shows how its system works, on drawn scenes: its answers on photographs mean nothing"
"""Likewise of :data:`TINY`."""

TEXT_FILES = ("*.json", "merges.txt")
"""Configuration and tokenizer of a repository."""
MODEL_FILES = (*TEXT_FILES, "*.safetensors", "*.bin")
"""These and the weights."""


class HubOptions(TypedDict, total=False):
    """Options of a download."""

    revision: str
    cache_dir: str | Path
    token: str | bool
    local_files_only: bool
    force_download: bool


HUB_OPTIONS = tuple(HubOptions.__annotations__)
"""Their names."""


def bundled(name: str | Path | None) -> str | None:
    """The bundled model that a name denotes; ``None`` for another one."""
    if name is None or name == "bundled":
        return BUNDLED[0]
    return str(name) if name in BUNDLED else None


def note_of(name: str | Path | None) -> str:
    """What a user of a model should know, as a sentence without its end; empty for large weights."""
    if found := bundled(name):
        return f"the bundled model {found} is {NOTES[found]}"
    return f"the small model {name} {TINY_NOTE}" if name in TINY else ""


def is_bundled(name: str | Path | None) -> bool:
    """Whether a name denotes a bundled model."""
    return bundled(name) is not None


def bundled_folder(name: str | Path | None) -> Path:
    """Folder of a bundled model."""
    found = bundled(name)
    assert found is not None, name
    return DEFAULT_MODEL if found == BUNDLED[0] else WEIGHTS / found


def model_path(
    name: str | Path | None, patterns: Sequence[str] = MODEL_FILES, **options: Unpack[HubOptions]
) -> Path:
    """Path of a model's files, downloaded if necessary.

    Args:
        name: ``"mini"`` or ``"nano"`` for a bundled model, ``None`` or ``"bundled"`` for the default one; a
            folder; a file of weights; a name of :data:`TINY`; or ``owner/name`` of a repository.
        patterns: of the file names to download from a repository.
        options: see :class:`HubOptions`.

    Raises:
        FileNotFoundError: it is none of these, or the repository is not available; the error gives the reason.
    """
    if is_bundled(name):
        return bundled_folder(name)
    assert name is not None
    path = Path(name)
    if len(str(name)) > 1000 or "\0" in str(name):
        raise FileNotFoundError(f"no folder of the name {str(name)!r:.60}")
    if path.exists():
        return path
    return tiny_folder(str(name)) if str(name) in TINY else download(name, patterns, **options)


def tiny_folder(name: str) -> Path:
    """Folder of small weights, of :data:`TINY`.

    Raises:
        FileNotFoundError: their package is not installed, or lacks them.
    """
    places = _tiny_places()
    for place in places:
        if (place / name).is_dir():
            return place / name
    lacks = "is not installed" if not places else "lacks it: it is of another version"
    raise FileNotFoundError(
        f"{name} is in the package {TINY_PACKAGE.replace('_', '-')}, which {lacks}: "
        "'pip install ./recipes/systems/package' in a clone of the repository, or give the folder of a model"
    )


def tiny_scene() -> Path | None:
    """A drawn scene for the small weights, ``None`` without their package."""
    scenes = (place / "scene.jpg" for place in _tiny_places())
    return next((scene for scene in scenes if scene.is_file()), None)


def _tiny_places() -> list[Path]:
    """Folders of the package of small weights; none if it is not installed."""
    package = find_spec(TINY_PACKAGE)
    return [Path(place) for place in (package.submodule_search_locations or ())] if package else []


def download(repository: str | Path, patterns: Sequence[str], **options: Unpack[HubOptions]) -> Path:
    """Downloads a repository's files, unless cached, and returns their folder.

    Args:
        repository: ``owner/name``.
        patterns: of the file names to download.
        options: see :class:`HubOptions`.

    Raises:
        FileNotFoundError: there is no such repository, or it cannot be reached; the error gives the reason.
    """
    none = f"no folder '{repository}', and"
    if Path(repository).is_absolute() or len(Path(repository).parts) != 2:
        raise FileNotFoundError(f"{none} that is no name of a hub repository (owner/name)")
    from huggingface_hub import constants, snapshot_download

    try:
        return Path(snapshot_download(str(repository), allow_patterns=list(patterns), **options))
    except Exception as error:  # the network's errors are those of whichever HTTP library the hub's client uses
        if isinstance(error, TypeError) or _is_of_the_disk(error):
            raise
        offline = constants.HF_HUB_OFFLINE or bool(options.get("local_files_only"))
        reason = _reason(error, str(repository), offline)
        raise FileNotFoundError(f"{none} no hub repository of that name was reached: {reason}") from error


def _is_of_the_disk(error: Exception) -> bool:
    """Whether a file could not be written, as on a full disk."""
    return type(error) in (OSError, PermissionError) and getattr(error, "filename", None) is not None


def _reason(error: Exception, repository: str, offline: bool) -> str:
    """Reason why a repository is not available, and a remedy."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, HFValidationError):
        return "a repository's name is owner/name, of letters, digits, '-', '_' and '.'"
    if offline:
        return (
            "it is not in the cache, and downloads are switched off (HF_HUB_OFFLINE or local_files_only): "
            f"download it with a network first (hf download {repository}), or give a folder"
        )
    if isinstance(error, GatedRepoError):
        return (
            f"it is gated: accept its terms at https://huggingface.co/{repository} and log in (hf auth login)"
        )
    if isinstance(error, RepositoryNotFoundError):
        return "there is none, or it is private: check the spelling, or log in (hf auth login)"
    if isinstance(error, RevisionNotFoundError):
        return "it has no such revision"
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return f"the hub answered {error.response.status_code}: try again later, or give a folder"
    return "the hub cannot be reached (no network?): check the connection, or give a folder"
