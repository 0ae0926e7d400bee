"""What a name stands for, and what is said of a repository that cannot be had."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from instructseg import from_pretrained, hub
from instructseg.hub import WEIGHTS, download, model_path
from instructseg.pretrained import read_model_config
from instructseg.processing import InstructSegProcessor


def test_cached_downloads_are_returned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = {}
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda name, **rest: asked.update(rest) or str(tmp_path)
    )
    assert download("owner/name", ("*.json",), revision="main") == tmp_path
    assert asked == {"allow_patterns": ["*.json"], "revision": "main"}
    assert model_path("owner/name") == tmp_path and model_path(tmp_path) == tmp_path


def refusing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Makes the hub's client fail."""

    def refuse(*_args: object, **_rest: object) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)


def answer(status: int) -> Any:
    """An answer of the hub."""
    return SimpleNamespace(status_code=status, headers={}, request=None)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LocalEntryNotFoundError("x"), "the hub cannot be reached"),
        (ConnectionError("x"), "the hub cannot be reached"),
        (RuntimeError("of the HTTP library"), "the hub cannot be reached"),
        (RepositoryNotFoundError("x", response=answer(401)), "there is none, or it is private"),
        (
            GatedRepoError("x", response=answer(403)),
            "it is gated: accept its terms",
        ),
    ],
)
def test_a_repository_out_of_reach_is_named(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, error)
    with pytest.raises(FileNotFoundError, match=f"no folder 'owner/name', and no hub repository .*: {reason}"):
        download("owner/name", ("*.json",))


def test_offline_mode_is_the_reported_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, LocalEntryNotFoundError("x"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match=r"HF_HUB_OFFLINE.*hf download owner/name"):
        download("owner/name", ("*.json",))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(FileNotFoundError, match="it is not in the cache"):
        download("owner/name", ("*.json",), local_files_only=True)


def test_a_full_disk_is_no_missing_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, OSError(28, "No space left on device", "blob"))
    with pytest.raises(OSError, match="No space left"):
        download("owner/name", ("*.json",))


@pytest.mark.parametrize("name", ["not a name/at/all", "nowhere", "/no/such/place", "x" * 5000, "a\0b"])
def test_invalid_names_are_refused_without_a_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, AssertionError("asked the hub"))
    with pytest.raises(FileNotFoundError, match="no folder"):
        model_path(name)


@pytest.mark.parametrize(
    ("name", "folder", "queries", "size"),
    [
        (None, "mini", 24, 384),
        ("mini", "mini", 24, 384),
        ("bundled", "mini", 24, 384),
        ("nano", "nano", 10, 128),
    ],
)
def test_a_bundled_model_has_the_same_names_everywhere(
    name: str | None, folder: str, queries: int, size: int
) -> None:
    assert model_path(name) == WEIGHTS / folder and hub.bundled(name) == folder
    model = from_pretrained(name)
    assert model.config.num_queries == queries and model.processor is not None
    assert InstructSegProcessor.from_pretrained(name).config.image_size == size
    assert read_model_config(name).num_queries == queries
    assert not hub.is_bundled("weic22/InstructSeg")


def test_small_weights_are_in_a_package_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub, "TINY_PACKAGE", "no_such_package")
    assert hub.tiny_scene() is None
    with pytest.raises(
        FileNotFoundError, match="instructcv-tiny is in the package no-such-package, which is n"
    ):
        model_path("instructcv-tiny")
    (tmp_path / "tiny_package" / "instructcv-tiny").mkdir(parents=True)
    (tmp_path / "tiny_package" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(hub, "TINY_PACKAGE", "tiny_package")
    assert model_path("instructcv-tiny") == tmp_path / "tiny_package" / "instructcv-tiny"
    with pytest.raises(FileNotFoundError, match="lacks it"):
        model_path("visionllm-tiny")
    assert hub.tiny_scene() is None
    (tmp_path / "tiny_package" / "scene.jpg").touch()
    assert hub.tiny_scene() == tmp_path / "tiny_package" / "scene.jpg"


def test_what_a_user_of_a_small_model_is_told() -> None:
    assert hub.note_of(None) == hub.note_of("mini") and "bundled model mini is a preview" in hub.note_of("mini")
    assert hub.note_of("visionllm-tiny").startswith("the small model visionllm-tiny shows")
    assert hub.note_of("weic22/InstructSeg") == hub.note_of(Path("folder")) == ""
