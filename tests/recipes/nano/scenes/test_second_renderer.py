"""The second renderer: the same truth as the first one's, drawn otherwise."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from instructseg.structures import Task
from recipes.nano.scenes.objects import SHAPES
from recipes.nano.scenes.photos import read_photos
from recipes.nano.scenes.scenes import SceneConfig
from recipes.nano.scenes.second_outlines import draw_outline
from recipes.nano.scenes.second_renderer import STYLES
from recipes.nano.synthetic import RENDERERS, SyntheticDataset

CONFIG = SceneConfig(radius=(0.12, 0.3), objects=(3, 4))


def dataset(renderer: str, kind: str = "attribute", clips: bool = False) -> SyntheticDataset:
    tasks = (Task.RVOS,) if clips else (Task.RES,)
    return SyntheticDataset(50, 5, CONFIG, tasks, 2, "test", (kind,), renderer=renderer)


@pytest.mark.parametrize("style", STYLES)
def test_a_scene_is_a_function_of_seed_and_index(style: str) -> None:
    one, other = (dataset(style, clips=True).scene(3) for _ in range(2))
    assert np.array_equal(one.scene.frames, other.scene.frames)
    assert np.array_equal(one.scene.ids, other.scene.ids)
    assert [said.text for said in one.expressions] == [said.text for said in other.expressions]
    assert not np.array_equal(one.scene.frames[0], dataset(style, clips=True).scene(4).scene.frames[0])


@pytest.mark.parametrize("style", STYLES)
def test_objects_lie_where_the_ids_say_and_have_their_colour(style: str) -> None:
    found = []
    for index in range(12):
        scene = dataset(style).scene(index).scene
        for i, obj in enumerate(scene.objects):
            mask = scene.mask(i, 0)
            if scene.visibility[0, i] < 0.95 or obj.texture != "plain":
                continue
            y, x = np.argwhere(mask).mean(axis=0) + 0.5
            assert np.hypot(*(obj.centres[0] - (x, y))) < 0.3 * obj.radius + 1
            inside = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=2).astype(bool)
            if inside.sum() > 30:
                seen = np.median(scene.frames[0][inside], axis=0)
                found.append(np.abs(seen - obj.rgb).max())
    assert len(found) > 10
    assert np.median(found) < (60 if style == "paper" else 12)  # uneven light darkens paper


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_resemble_the_first_ones_but_are_others(shape: str) -> None:
    def filled(solids: tuple[np.ndarray, ...], holes: tuple[np.ndarray, ...]) -> np.ndarray:
        canvas = np.zeros((160, 160), np.uint8)
        for parts, value in ((solids, 1), (holes, 0)):
            for contour in parts:
                cv2.fillPoly(canvas, [np.rint(contour * 50 + 80).astype(np.int32)], value)
        return canvas.astype(bool)

    contours = SHAPES[shape].contours
    first = filled(contours[:1], contours[1:])
    for seed in range(5):
        outline = draw_outline(np.random.default_rng(seed), shape, 0.04)
        second = filled(outline.solids, outline.holes)
        overlap = (first & second).sum() / (first | second).sum()
        assert 0.6 < overlap < 0.995
        holes = cv2.connectedComponents((~second).astype(np.uint8))[0] - 2
        assert (cv2.connectedComponents(second.astype(np.uint8))[0], holes) == (2, int(shape == "ring"))


@pytest.mark.parametrize("style", STYLES)
def test_visibility_is_the_seen_share_of_the_whole(style: str) -> None:
    shares = []
    for index in range(10):
        scene = dataset(style).scene(index).scene
        assert ((scene.visibility >= 0) & (scene.visibility <= 1)).all()
        assert scene.ids.max() <= len(scene.objects)
        shares += [scene.visibility[0, i] == 1 for i in range(len(scene.objects))]
    assert np.mean(shares) > 0.5  # most things are whole


def test_every_kind_can_be_asked_of_every_style() -> None:
    for style in STYLES:
        for kind, clips in (("relation", False), ("odd", False), ("motion", True), ("leaving", True)):
            drawn = dataset(style, kind, clips).scene(0)
            assert drawn.expressions[0].kind == kind


def test_twins_look_the_same() -> None:
    scene = dataset("second", "motion", clips=True).scene(1).scene
    areas: dict[tuple[object, ...], list[int]] = {}
    for i, obj in enumerate(scene.objects):
        if (scene.visibility[:, i] == 1).all():
            areas.setdefault((obj.shape, obj.rgb, obj.radius), []).append(scene.area(i, 0))
    twins = [found for found in areas.values() if len(found) > 1]
    assert twins
    for found in twins:
        assert max(found) <= 1.1 * min(found)


def test_an_unknown_renderer_is_an_error() -> None:
    assert RENDERERS[0] == "own"
    with pytest.raises(
        ValueError, match="unknown renderer 'third': there are own, second, paper, flat, digital, coloured"
    ):
        dataset("third")


def test_photos_are_read_by_name_and_shrunk(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    Image.new("RGB", (1024, 100), "red").save(tmp_path / "more" / "a.png")
    Image.new("RGB", (30, 40), "blue").save(tmp_path / "b.jpg")
    (tmp_path / "notes.txt").write_text("no picture")
    photos = read_photos(tmp_path)
    assert [photo.shape for photo in photos] == [(40, 30, 3), (50, 512, 3)]
    with pytest.raises(FileNotFoundError, match="no folder of photographs"):
        read_photos(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no picture in"):
        read_photos(tmp_path / "empty")
