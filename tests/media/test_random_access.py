"""Single frames against all frames in order."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from instructseg.media import open_video
from instructseg.media.random_access import _agrees, read_frame
from tests.media.clips import make


def test_a_frame_is_the_one_that_stands_there_in_order(tmp_path: Path) -> None:
    pytest.importorskip("decord")
    path = make(tmp_path / "a.mp4", 24)
    frames = list(open_video(path))
    assert _agrees(path, path.stat().st_mtime_ns)
    for number in (23, 0, 11, 12, 1):
        assert np.abs(read_frame(path, number).astype(int) - frames[number]).mean() < 1


def test_decord_is_not_trusted_where_it_differs(tmp_path: Path) -> None:
    """A phone's video turned by a quarter, of which decord makes another size."""
    pytest.importorskip("decord")
    path = make(tmp_path / "a.mp4", 8, rotation=90)
    assert not _agrees(path, path.stat().st_mtime_ns)
    assert np.array_equal(read_frame(path, 5), list(open_video(path))[5])


def test_a_cut_file_gives_its_good_frames_only(tmp_path: Path) -> None:
    whole = make(tmp_path / "a.mkv", 24)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    good = list(open_video(whole))
    assert np.array_equal(read_frame(cut, 3), good[3])
    with pytest.raises((ValueError, IndexError)):
        read_frame(cut, 23)


def test_without_decord_frames_are_decoded_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    path = make(tmp_path / "b.mp4", 8)
    assert np.array_equal(read_frame(path, 6), list(open_video(path))[6])


def test_a_frame_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = make(tmp_path / "c.mp4", 4)
    for number in (4, -1):
        with pytest.raises(IndexError, match=f"no frame {number}"):
            read_frame(path, number)
    with pytest.raises(FileNotFoundError):
        read_frame(tmp_path / "none.mp4", 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are spawned here")
def test_a_forked_process_opens_its_own_files(tmp_path: Path) -> None:
    """As workers of a data loader, after the training process has read a frame itself."""
    pytest.importorskip("decord")
    paths = [make(tmp_path / f"{name}.mp4", 8) for name in "abcdef"]
    expected = [read_frame(path, 3) for path in paths]  # more than are kept open
    child = os.fork()
    if not child:
        same = all(np.array_equal(read_frame(p, 3), one) for p, one in zip(paths, expected, strict=True))
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
