"""The player has a row and outlines for each object; what its script does is in ``test_web_page.py``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from instructseg.media import open_video
from instructseg.prediction import FrameResult, Prediction
from instructseg.serve.kept_video import KeptVideo
from instructseg.serve.player import player_html
from tests.serve.conftest import image
from tests.serve.test_figure import Tree, drawn, ring

WORDS = ("<b>the ring</b>", "all parts", "the penguin")


@pytest.fixture
def kept(tmp_path: Path, video: Path) -> KeptVideo:
    """The ring on all frames, a second part from the third on, no penguin."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    one, nothing = KeptVideo(video, WORDS, [1], folder), np.zeros((40, 56), bool)

    def masks(index: int) -> list[Prediction]:
        parts = [Prediction(ring(), 0.9, 0.8, WORDS[1], id=2, instruction_id=1)]
        parts += [Prediction(~ring(), 0.6, 0.5, WORDS[1], id=3, instruction_id=1)] if index > 1 else []
        first = Prediction(ring(), 0.9, 0.2 * index, WORDS[0], id=1)
        return [first, *parts, Prediction(nothing, 0.0, 0.0, WORDS[2], id=4, instruction_id=2)]

    source = open_video(video)
    results = (FrameResult(index, frame, masks(index)) for index, frame in enumerate(source))
    assert len(list(one.keep(source, results))) == one.count == 5
    return one


def test_a_row_for_each_object_in_the_order_of_the_instructions(kept: KeptVideo) -> None:
    assert [(row.name, row.place, row.number, row.id) for row in kept.rows] == [
        ("<b>the ring</b>", 0, 0, 1),
        ("all parts 1", 1, 1, 2),
        ("all parts 2", 1, 2, 3),
        ("the penguin", 2, None, 0),
    ]
    text = player_html(kept, 0.35)
    tree = Tree(text)
    assert [one["class"] for one in tree.all("input") if one["type"] == "checkbox"] == ["m0", "m1", "m2"]
    assert [one.get("data-name") for one in tree.all("li")] == [*[row.name for row in kept.rows[:3]], None]
    assert "the penguin – nothing found" in text and not tree.all("b")
    assert tree.all("figure")[0]["data-presence"] == "0.35"
    assert tree.all("input")[0]["max"] == "4" and tree.all("input")[0]["aria-label"] == "Frame"
    (shown,) = tree.all("video")
    assert shown["src"] == f"gradio_api/file={str(kept.plain).replace(' ', '%20')}"
    assert shown["aria-label"] == f"clip.mp4 with masks: {', '.join(WORDS)}"


def test_outlines_are_the_masks_of_each_frame(kept: KeptVideo) -> None:
    frames = [json.loads(line) for line in kept.outlines.read_text().splitlines()]
    assert [[one[0] for one in frame] for frame in frames] == [[0, 1]] * 2 + [[0, 1, 2]] * 3
    assert [frame[0][1] for frame in frames] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    np.testing.assert_array_equal(drawn(frames[4][0][2]), ring())
    np.testing.assert_array_equal(drawn(frames[4][2][2]), ~ring())


def test_the_plain_video_has_every_frame(kept: KeptVideo) -> None:
    assert kept.fps == 8 and kept.size == (40, 56)
    frames = list(open_video(kept.plain))
    assert len(frames) == 5 and frames[0].shape == image(0).shape
