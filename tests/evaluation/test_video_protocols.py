"""ReVOS, MeViS and Ref-YouTube-VOS: formulas against slow copies, folders written by the test."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from instructseg.evaluation.video_protocols import (
    ExpressionScores,
    ExpressionSums,
    evaluate_expressions,
    score_masks,
)
from instructseg.evaluation.video_truth import picture_expressions, rle_expressions
from instructseg.masks import mask_to_rle, save_binary_png, save_palette_png

from .masks_by_hand import label_maps, sizes, slow_f, slow_j


def slow_a_and_r(prediction: np.ndarray, truth: np.ndarray, objects: np.ndarray) -> tuple[float, float]:
    """The released A and R, which count in bytes."""
    accuracies, robustnesses = [], []
    for p, t, o in zip(prediction, truth, objects, strict=True):
        pixels = list(zip(p.flat, t.flat, strict=True))
        accuracies.append(sum(int(a) == int(b) for a, b in pixels) / len(pixels))
        wrong = sum((1 - int(b)) % 256 * int(a) % 256 for a, b in pixels)
        robustnesses.append(max(1 - wrong / (sum(map(int, o.flat)) + 1e-6), 0))
    return sum(accuracies) / len(accuracies), sum(robustnesses) / len(robustnesses)


@given(st.data(), sizes)
@settings(max_examples=50, deadline=None)
def test_scores_equal_the_slow_formulas(data: st.DataObject, shape: tuple[int, ...]) -> None:
    prediction = data.draw(label_maps(shape, 1)) * np.uint8(255)
    truth, objects = data.draw(label_maps(shape, 2)), data.draw(label_maps(shape, 1))
    scores = score_masks(prediction, truth, objects)
    nothing = np.zeros(shape[1:], np.uint8)
    frames = list(zip(prediction, truth, strict=True))
    assert scores.region == pytest.approx(np.mean([slow_j(p, t, nothing) for p, t in frames]))
    assert scores.boundary == pytest.approx(np.mean([slow_f(p, t, nothing) for p, t in frames]))
    official = slow_a_and_r(prediction, truth, objects)
    assert (scores.official_accuracy, scores.official_robustness) == pytest.approx(official)
    corrected = slow_a_and_r(prediction // 255, np.minimum(truth, 1), objects)
    assert (scores.accuracy, scores.robustness) == pytest.approx(corrected)
    assert score_masks(prediction == 255, truth, objects) == scores


def test_the_foreground_must_fit() -> None:
    masks = np.zeros((1, 2, 2), np.uint8)
    with pytest.raises(ValueError, match=r"v/0: the truth is \(1, 2, 2\) but the foreground is \(2, 2, 2\)"):
        score_masks(masks, masks, np.zeros((2, 2, 2), np.uint8), "v/0")


def test_revos_groups_and_rounding() -> None:
    sums = ExpressionSums()
    for number, (kind, region) in enumerate([(0, 0.123456), (0, 0.2), (1, 0.987654), (2, 1.0)]):
        sums.add(
            ExpressionScores(
                f"v/{number}", kind, region, region / 2, accuracy=region, official_robustness=region
            )
        )
    official, plain = sums.revos_results(), sums.revos_results(official=False)
    assert official["referring"]["J"] == pytest.approx((0.1235 + 0.2) / 2)
    assert plain["referring"]["J"] == pytest.approx((0.123456 + 0.2) / 2)
    assert official["reasoning"]["J"] == pytest.approx(0.9877)
    assert official["reasoning"]["F"] == pytest.approx(0.4938)
    assert official["reasoning"]["J&F"] == pytest.approx((0.9877 + 0.4938) / 2)
    assert official["overall"]["J"] == pytest.approx(((0.1235 + 0.2) / 2 + 0.9877) / 2)
    assert (official["reasoning"]["A"], official["reasoning"]["R"]) == pytest.approx((0, 0.9877))
    assert (plain["reasoning"]["A"], plain["reasoning"]["R"]) == pytest.approx((0.987654, 0))


def test_mevis_is_a_mean_over_expressions_and_none_counts_twice() -> None:
    first, second = ExpressionSums(), ExpressionSums()
    for sums, name, region in ((first, "a/0", 0.2), (first, "a/1", 0.4), (second, "a/1", 0.4)):
        sums.add(ExpressionScores(name, 0, region, 1.0))
    first.merge(second)
    assert first.results() == pytest.approx({"J&F": 0.65, "J": 0.3, "F": 1})


TRUTH = np.zeros((2, 6, 8), bool)
TRUTH[:, 1:4, 2:6] = True
OTHER = np.roll(TRUTH, 3, axis=2)


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def revos(tmp_path: Path) -> Path:
    """A nested video with a referring, a reasoning and a targetless expression; the second is not predicted."""
    expressions = {
        "0": {"exp": "both", "obj_id": [1, 2], "anno_id": [10, 11], "type_id": 0},
        "1": {"exp": "why?", "obj_id": [1], "anno_id": [10], "type_id": 1},
        "2": {"exp": "none", "obj_id": [], "anno_id": [], "type_id": 2},
    }
    video = {"vid_id": 1, "height": 6, "width": 8, "frames": ["00000", "00005"], "expressions": expressions}
    write(tmp_path / "meta.json", {"videos": {"UVO/all/x": video}})
    write(tmp_path / "masks.json", {"10": [mask_to_rle(m) for m in TRUTH], "11": [None, mask_to_rle(OTHER[1])]})
    union = TRUTH | OTHER
    foreground = [mask_to_rle(union[0]), [mask_to_rle(TRUTH[1]), mask_to_rle(OTHER[1] & ~TRUTH[1])]]
    write(tmp_path / "foreground.json", {"UVO/all/x": {"masks_rle": foreground, "foreground_ratio": [0, 0]}})
    for frame, name in enumerate(video["frames"]):
        save_binary_png(tmp_path / f"out/UVO/all/x/0/{name}.png", TRUTH[frame])
        save_binary_png(tmp_path / f"out/UVO/all/x/2/{name}.png", TRUTH[frame])
    return tmp_path


def test_revos_folder(revos: Path) -> None:
    files = (revos / "meta.json", revos / "masks.json", revos / "foreground.json")
    sums = evaluate_expressions(revos / "out", rle_expressions(*files))
    truth = np.stack([TRUTH[0].astype(np.uint8), TRUTH[1].astype(np.uint8) + OTHER[1]])
    objects = (TRUTH | OTHER).astype(np.uint8)
    assert sums.expressions["UVO/all/x/0"] == score_masks(TRUTH, truth, objects, "UVO/all/x/0", 0)
    assert sums.expressions["UVO/all/x/2"].region == 0
    (fault,) = sums.faults
    assert fault.startswith("UVO/all/x/1: ") and "00000.png" in fault
    assert sums.revos_results()["reasoning"]["J"] == 0
    together = evaluate_expressions(revos / "out", rle_expressions(*files), processes=2)
    assert together == sums


def test_pictures_of_any_mode_are_read_as_grey(revos: Path) -> None:
    folder = revos / "out/UVO/all/x/0"
    expected = evaluate_expressions(revos / "out", rle_expressions(revos / "meta.json", revos / "masks.json"))
    for mode in ("1", "RGB", "LA"):
        for frame, name in enumerate(("00000", "00005")):
            Image.fromarray(TRUTH[frame].astype(np.uint8) * 255).convert(mode).save(folder / f"{name}.png")
        found = evaluate_expressions(revos / "out", rle_expressions(revos / "meta.json", revos / "masks.json"))
        assert found == expected


def test_a_size_that_does_not_fit_is_a_fault(revos: Path) -> None:
    save_binary_png(revos / "out/UVO/all/x/0/00000.png", TRUTH[0, :3])
    sums = evaluate_expressions(revos / "out", rle_expressions(revos / "meta.json", revos / "masks.json"))
    assert [fault.partition(":")[0] for fault in sums.faults] == ["UVO/all/x/0", "UVO/all/x/1"]
    save_binary_png(revos / "out/UVO/all/x/0/00005.png", TRUTH[0, :3])
    sums = evaluate_expressions(revos / "out", rle_expressions(revos / "meta.json", revos / "masks.json"))
    assert "RLE mask of 6x8 pixels for a picture of 3x8" in sums.faults[0]


def test_fewer_masks_than_frames_are_a_fault(revos: Path) -> None:
    write(revos / "masks.json", {"10": [None], "11": [None]})
    sums = evaluate_expressions(revos / "out", rle_expressions(revos / "meta.json", revos / "masks.json"))
    assert "UVO/all/x has 1 masks of an object for 2 frames" in sums.faults[0]


def test_ref_youtube_vos_against_local_annotations(tmp_path: Path) -> None:
    labels = (TRUTH * 2).astype(np.uint8)
    expressions = {"0": {"exp": "it", "obj_id": "2"}}
    videos = {name: {"frames": ["00000", "00005"], "expressions": expressions} for name in ("a", "test")}
    meta = write(tmp_path / "meta.json", {"videos": videos})
    for frame, name in enumerate(("00000", "00005")):
        save_palette_png(tmp_path / f"Annotations/a/{name}.png", labels[frame])
        save_binary_png(tmp_path / f"out/a/0/{name}.png", TRUTH[frame])
    sums = evaluate_expressions(tmp_path / "out", picture_expressions(meta, tmp_path / "Annotations"))
    assert sums.results() == {"J&F": 1, "J": 1, "F": 1}
    assert list(sums.expressions) == ["a/0"]
    with pytest.raises(FileNotFoundError, match="holds none of the videos"):
        list(picture_expressions(meta, tmp_path / "out/a"))
    videos["a"]["expressions"] = {"0": {"exp": "it"}}
    with pytest.raises(ValueError, match="no obj_id for a/0: this split has no public truth"):
        list(picture_expressions(write(meta, {"videos": videos}), tmp_path / "Annotations"))


def test_files_that_do_not_fit_together(revos: Path) -> None:
    meta, masks = revos / "meta.json", revos / "masks.json"
    with pytest.raises(ValueError, match="has no masks of video UVO/all/x"):
        list(rle_expressions(meta, masks, write(revos / "other.json", {})))
    with pytest.raises(ValueError, match="has no masks of anno_id 10, which UVO/all/x/0 means"):
        list(rle_expressions(meta, write(revos / "none.json", {})))
    with pytest.raises(ValueError, match="no 'videos'"):
        list(rle_expressions(masks, masks))
    hidden = {"videos": {"v": {"frames": [], "expressions": {"0": {"exp": "it"}}}}}
    with pytest.raises(ValueError, match="no anno_id for v/0"):
        list(rle_expressions(write(revos / "hidden.json", hidden), masks))
    (revos / "cut.json").write_text('{"videos": ')
    with pytest.raises(ValueError, match=r"cut\.json is damaged"):
        list(rle_expressions(revos / "cut.json", masks))
    with pytest.raises(ValueError, match="holds a list"):
        list(rle_expressions(write(revos / "list.json", []), masks))
    with pytest.raises(FileNotFoundError, match="no folder of predictions"):
        evaluate_expressions(revos / "nowhere", [])
