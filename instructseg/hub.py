"""Files of a repository on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def download(repository: str | Path, patterns: Sequence[str], **options: Any) -> Path:
    """The folder that a repository's files were downloaded to, now or earlier.

    Args:
        repository: ``owner/name``.
        patterns: of the names of the files that are wanted.
        options: of ``snapshot_download`` (``revision``, ``token`` ..).

    Raises:
        FileNotFoundError: there is no such repository, or it cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(repository), allow_patterns=list(patterns), **options))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise FileNotFoundError(
            f"no folder '{repository}', and no hub repository of that name was reached"
        ) from error
