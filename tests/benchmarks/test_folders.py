"""Folders of masks, written by the test, against the ground truth that the adapters read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from instructseg.benchmarks.folders import each, evaluate_davis, evaluate_expressions
from instructseg.data.datasets.refytvos import RefYtVos
from instructseg.data.datasets.revos import ReVos
from instructseg.evaluation.expressions import score_masks
from instructseg.masks import mask_to_rle, save_binary_png, save_palette_png

TRUTH = np.zeros((2, 6, 8), bool)
TRUTH[:, 1:4, 2:6] = True
OTHER = np.roll(TRUTH, 3, axis=2)
FRAMES = ("00000", "00005")


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A referring, a reasoning and a targetless expression; the second has no prediction."""
    expressions = {
        "0": {"exp": "both", "obj_id": [1, 2], "anno_id": [10, 11], "type_id": 0},
        "1": {"exp": "why?", "obj_id": [1], "anno_id": [10], "type_id": 1},
        "2": {"exp": "none", "obj_id": [], "anno_id": [], "type_id": 2},
    }
    video = {"vid_id": 1, "height": 6, "width": 8, "frames": FRAMES, "expressions": expressions}
    write(tmp_path / "meta_expressions_valid_.json", {"videos": {"UVO/all/x": video}})
    masks = {"10": [mask_to_rle(m) for m in TRUTH], "11": [None, mask_to_rle(OTHER[1])]}
    write(tmp_path / "mask_dict.json", masks)
    # a frame may hold several masks, which are joined
    union = [mask_to_rle((TRUTH | OTHER)[0]), [mask_to_rle(TRUTH[1]), mask_to_rle(OTHER[1])]]
    write(tmp_path / "mask_dict_foreground.json", {"UVO/all/x": {"masks_rle": union}})
    for frame, name in enumerate(FRAMES):
        save_binary_png(tmp_path / f"out/UVO/all/x/0/{name}.png", TRUTH[frame])
        save_binary_png(tmp_path / f"out/UVO/all/x/2/{name}.png", TRUTH[frame])
    return tmp_path


def test_revos_folder(root: Path) -> None:
    videos = ReVos.open(root)
    sums = evaluate_expressions(root / "out", videos)
    truth = np.stack([TRUTH[0].astype(np.uint8), TRUTH[1].astype(np.uint8) + OTHER[1]])
    objects = (TRUTH | OTHER).astype(np.uint8)
    assert sums.expressions["UVO/all/x/0"] == score_masks(TRUTH, truth, objects, "UVO/all/x/0", 0)
    assert sums.expressions["UVO/all/x/2"].region == 0
    (fault,) = sums.faults
    assert fault.startswith("UVO/all/x/1: ") and "00000.png" in fault
    assert sums.revos_results()["reasoning"]["J"] == 0
    assert evaluate_expressions(root / "out", videos, processes=2) == sums


def test_masks_of_any_mode_are_read_as_grey(root: Path) -> None:
    folder, videos = root / "out/UVO/all/x/0", ReVos.open(root, foreground=False)
    expected = evaluate_expressions(root / "out", videos)
    for mode in ("1", "RGB", "LA"):
        for frame, name in enumerate(FRAMES):
            Image.fromarray(TRUTH[frame].astype(np.uint8) * 255).convert(mode).save(folder / f"{name}.png")
        assert evaluate_expressions(root / "out", videos) == expected


def test_a_size_that_does_not_fit_is_a_fault(root: Path) -> None:
    save_binary_png(root / "out/UVO/all/x/0/00000.png", TRUTH[0, :3])
    sums = evaluate_expressions(root / "out", ReVos.open(root))
    assert [fault.partition(":")[0] for fault in sums.faults] == ["UVO/all/x/0", "UVO/all/x/1"]
    save_binary_png(root / "out/UVO/all/x/0/00005.png", TRUTH[0, :3])
    sums = evaluate_expressions(root / "out", ReVos.open(root))
    assert "a mask of 6 x 8 for frames of 3 x 8" in sums.faults[0]


def test_fewer_masks_than_frames_are_a_fault(root: Path) -> None:
    write(root / "mask_dict.json", {"10": [None], "11": [None]})
    sums = evaluate_expressions(root / "out", ReVos.open(root))
    assert "there are masks of 1 frames only" in sums.faults[0]


def test_ref_youtube_vos_against_local_annotations(tmp_path: Path) -> None:
    labels = (TRUTH * 2).astype(np.uint8)
    expressions = {"0": {"exp": "it", "obj_id": "2"}}
    videos = {name: {"frames": FRAMES, "expressions": expressions} for name in ("a", "b")}
    write(tmp_path / "meta_expressions/valid/meta_expressions.json", {"videos": videos})
    write(tmp_path / "meta_expressions/test/meta_expressions.json", {"videos": {}})
    for frame, name in enumerate(FRAMES):
        save_palette_png(tmp_path / f"valid/Annotations/a/{name}.png", labels[frame])
        save_binary_png(tmp_path / f"out/a/0/{name}.png", TRUTH[frame])
    opened = RefYtVos.open(tmp_path, official_count=False)
    sums = evaluate_expressions(tmp_path / "out", opened)
    assert sums.results() == {"J&F": 1, "J": 1, "F": 1}
    assert list(sums.expressions) == ["a/0"]
    (tmp_path / "valid/Annotations").rename(tmp_path / "elsewhere")
    opened = RefYtVos.open(tmp_path, official_count=False)
    with pytest.raises(ValueError, match="refytvos/valid: no video has public ground truth"):
        evaluate_expressions(tmp_path / "out", opened)
    with pytest.raises(FileNotFoundError, match="no folder of predictions"):
        evaluate_expressions(tmp_path / "nowhere", opened)


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """Two sequences with void; the predictions swap the labels of the second."""
    (tmp_path / "ImageSets/2017").mkdir(parents=True)
    (tmp_path / "ImageSets/2017/val.txt").write_text("swan\ncows\n")
    for sequence in ("swan", "cows"):
        for number in range(5):
            truth = np.zeros((30, 40), np.uint8)
            truth[5:15, 5 + number : 20 + number] = 1
            if sequence == "cows":
                truth[18:28, 20:35] = 2
            prediction = np.where(truth == 0, 0, truth.max() + 1 - truth).astype(np.uint8)
            prediction[5:15, 5:10] = prediction.max() * (number > 2)
            truth[:3] = 255
            for folder in ("Annotations", "Annotations_unsupervised"):
                save_palette_png(tmp_path / folder / "480p" / sequence / f"{number:05d}.png", truth)
            save_palette_png(tmp_path / "out" / sequence / f"{number:05d}.png", prediction)
    return tmp_path


def test_a_folder_is_scored(davis: Path) -> None:
    free, fixed = (evaluate_davis(davis, davis / "out", task) for task in ("unsupervised", "semi-supervised"))
    assert list(free.objects) == ["swan_1", "cows_1", "cows_2"]
    assert free.results()["J-Mean"] > 0.8
    assert fixed.results()["J-Mean"] < 0.5  # the swapped labels
    only = evaluate_davis(davis, davis / "out", sequences=["swan"])
    assert only.objects["swan_1"] == free.objects["swan_1"]


def test_processes_change_nothing(davis: Path) -> None:
    alone, together = (evaluate_davis(davis, davis / "out", processes=count) for count in (1, 2))
    assert alone == together


def test_missing_files_and_tensors_are_named(davis: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no list of sequences at .*test-dev\.txt"):
        evaluate_davis(davis, davis / "out", split="test-dev")
    with pytest.raises(FileNotFoundError, match=r"no annotations in .*dogs"):
        evaluate_davis(davis, davis / "out", sequences=["dogs"])
    with pytest.raises(ValueError, match="no DAVIS task 'interactive': use one of semi-supervised, unsup"):
        evaluate_davis(davis, davis / "out", task="interactive")  # type: ignore[arg-type]
    (davis / "out/cows/00003.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"cows/00003\.png"):
        evaluate_davis(davis, davis / "out")


def test_each_needs_a_process() -> None:
    assert list(each(abs, [-1, 2])) == [1, 2]
    with pytest.raises(ValueError, match="0 processes"):
        list(each(abs, [1], processes=0))
