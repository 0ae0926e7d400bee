"""The figure is well-formed, its outlines are the masks, and words of a visitor stay words."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from instructseg.prediction import Prediction
from instructseg.serve.figure import SIDE, Figure
from tests.serve.conftest import image

VOID = {"img", "input", "br"}


class Tree(HTMLParser):
    """Tags with their attributes; an end that fits no start is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def ring() -> np.ndarray:
    mask = np.zeros((40, 56), bool)
    mask[5:30, 10:40] = True
    mask[12:20, 18:30] = False
    mask[33:38, 45:50] = True
    return mask


def figure() -> Figure:
    found = [
        Prediction(ring(), 0.9, 0.8, "the ring", id=1, instruction_id=0),
        Prediction(~ring(), 0.4, 0.3, "<script>alert('x')</script>", id=2, instruction_id=1),
        Prediction(np.zeros((40, 56), bool), 0.0, 0.0, "how many?", text="two & a half", instruction_id=2),
    ]
    return Figure.of(Path('a"b.png'), image(0), found)


def drawn(path: str) -> np.ndarray:
    """An SVG path on pixels, by the even-odd rule."""
    lines = [
        np.array([list(map(float, point.split(","))) for point in part[1:].split("L")])
        for part in path.split("Z")[:-1]
    ]
    scaled = [np.rint(line * 8).astype(np.int32) for line in lines]
    large = np.zeros((40 * 8, 56 * 8), np.uint8)
    for line in scaled:
        one = np.zeros_like(large)
        cv2.fillPoly(one, [line], 1)
        large ^= one
    return large[4::8, 4::8].astype(bool)


def test_outlines_are_the_masks_with_their_holes() -> None:
    paths = Tree(figure().html(0.0)).all("path")
    assert len(paths) == 2 and all(path["fill-rule"] == "evenodd" for path in paths)
    np.testing.assert_array_equal(drawn(str(paths[0]["d"])), ring())


def test_the_threshold_hides_masks_and_says_so() -> None:
    tree = Tree(figure().html(0.5))
    assert [path["class"] for path in tree.all("path")] == ["m0"] and len(tree.all("input")) == 1
    (shown,) = tree.all("img")
    assert shown["alt"] == 'a"b.png with masks: the ring'
    assert "nothing found, presence 0.30" in figure().html(0.5) and "nothing found" in figure().html(1.0)
    assert Tree(figure().html(1.0)).all("img")[0]["alt"] == 'a"b.png with masks: nothing found'


def test_words_of_a_visitor_are_no_markup() -> None:
    text = figure().html(0.0)
    assert not Tree(text).all("script") and "&lt;script&gt;" in text and "two &amp; a half" in text


def test_a_large_image_is_shown_small_with_the_outlines_of_the_large_one() -> None:
    mask = np.zeros((3000, 4000), bool)
    mask[1000:2000, 500:3500] = True
    large = Figure.of(Path("x"), np.zeros((3000, 4000, 3), np.uint8), [Prediction(mask, 1.0, 1.0, "x", id=1)])
    source = re.search(r"base64,([^\"]+)", large.html(0.0))
    assert source and Image.open(BytesIO(base64.b64decode(source[1]))).size == (SIDE, 1200)
    assert "0 0 4000 3000" in large.html(0.0) and large.size == (3000, 4000)
    np.testing.assert_array_equal(large.regions[0].prediction(0.0).mask, mask)
    assert not large.regions[0].prediction(1.0).mask.any() or large.regions[0].presence == 1.0


def test_every_mask_has_a_switch_however_many_there_are() -> None:
    found = [Prediction(ring(), 0.9, 0.8, "all rings", id=number) for number in range(1, 41)]
    text = Figure.of(Path("x"), image(0), found).html(0.0)
    (rules,) = re.findall("<style>(.*)</style>", text)
    assert rules.count("display:none") == 40 == len(Tree(text).all("input"))
    assert ".found:has(input.m39:not(:checked)) path.m39{display:none}" in rules


def test_an_answer_that_is_an_image_is_shown_and_kept_to_the_bit() -> None:
    depth = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    nothing = np.zeros((40, 56), bool)
    found = [
        Prediction(nothing, 1.0, 1.0, "the depth", drawn=depth, id=1),
        Prediction(nothing, 1.0, 1.0, "is there a cat?", text="no", drawn=depth, instruction_id=1),
        Prediction(ring(), 0.9, 0.8, "detect the <ring>", drawn=depth, id=2, instruction_id=2),
    ]
    shown = Figure.of(Path("x.png"), image(0), found)
    tree = Tree(shown.html(0.5))
    alts = [str(one["alt"]) for one in tree.all("img")[1:]]
    assert alts == ["answer to: the depth", "answer to: is there a cat?", "answer to: detect the <ring>"]
    source = str(tree.all("img")[1]["src"]).partition("base64,")[2]
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(base64.b64decode(source)))), depth)
    assert len(tree.all("input")) == 1 and "nothing found" not in shown.html(0.5)
    again = [one.prediction(0.5) for one in shown.regions]
    assert all(np.array_equal(one.drawn, depth) for one in again)  # type: ignore[arg-type]
    assert figure().regions[0].prediction(0.5).drawn is None
