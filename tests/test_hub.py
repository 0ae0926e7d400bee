"""Every way in which a repository cannot be reached is one error."""

from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from instructseg.hub import download


def test_what_was_downloaded_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = {}
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda name, **rest: asked.update(rest) or str(tmp_path)
    )
    assert download("owner/name", ("*.json",), revision="main") == tmp_path
    assert asked == {"allow_patterns": ["*.json"], "revision": "main"}


def test_a_repository_out_of_reach_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_args: object, **_rest: object) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(FileNotFoundError, match="no folder 'owner/name', and no hub repository"):
        download("owner/name", ("*.json",))
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError, match="no folder 'not a name/at/all'"):
        download("not a name/at/all", ("*.json",))
