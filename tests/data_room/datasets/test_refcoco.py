from __future__ import annotations

import json
import resource
import time
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instructseg.data import catalog
from instructseg.data.dataset import Concatenated
from instructseg.data.datasets import refcoco
from instructseg.data.datasets.refcoco import PUBLISHED, SPLITS, RefCoco, in_split
from instructseg.data.records import DataError, Fault
from instructseg.masks import mask_to_rle, polygons_to_mask
from instructseg.media import save_image
from instructseg.structures import Task
from recipes.nano.layouts.images import write_python2_pickle, write_refcoco
from recipes.nano.layouts.scenes import coco_polygons, draw_images

COUNT, SEED = 2, 5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refer")
    write_refcoco(folder, COUNT, SEED)
    return folder


def tiny(root: Path, ref: dict[str, Any] | None = None, annotation: dict[str, Any] | None = None) -> Path:
    """One image of 4 x 6, one annotation, one ref with two sentences."""
    record = {
        "id": 7,
        "image_id": 3,
        "iscrowd": 0,
        "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]],
        **(annotation or {}),
    }
    image: dict[str, Any] = {"id": 3, "file_name": "COCO_train2014_000000000003.jpg", "height": 4, "width": 6}
    sentences = [
        {"sent_id": i, "sent": text, "raw": text.upper(), "tokens": []} for i, text in enumerate(["a b", "c"])
    ]
    entry = {"ref_id": 9, "ann_id": 7, "image_id": 3, "split": "val", "sentences": sentences, **(ref or {})}
    write_python2_pickle(root / "refcoco" / "refs(unc).p", [entry])
    (root / "refcoco" / "instances.json").write_text(json.dumps({"images": [image], "annotations": [record]}))
    save_image(root / refcoco.IMAGES[0] / image["file_name"], np.zeros((4, 6, 3), np.uint8))
    return root


@pytest.mark.parametrize(("name", "split_by"), list(SPLITS))
def test_masks_and_sentences_are_the_drawn_ones(root: Path, name: str, split_by: str) -> None:
    drawn = {picture.number: picture for picture in draw_images(4 * COUNT, SEED)}
    kinds, seen = set(), set()
    for split in SPLITS[name, split_by]:
        part = RefCoco.open(root, name, split, split_by)
        for index in range(len(part)):
            sample = part[index]
            picture = drawn[sample.meta["image_id"]]
            i = sample.meta["ann_ids"][0] - 1000 * picture.number
            assert sample.masks is not None
            (mask,) = sample.masks
            assert mask.dtype == np.uint8
            np.testing.assert_array_equal(mask, picture.mask(i))
            clean = [text.replace("?", "") for text in picture.said[i]]
            assert sample.instruction in clean
            assert sample.task is Task.RES
            assert sample.key_frame.shape == picture.pixels.shape
            assert np.abs(sample.key_frame.astype(int) - picture.pixels).mean() < 8  # it is that image
            assert part.image_key(index).endswith(f"{picture.number:012d}.jpg")
            kinds.add(coco_polygons(mask) is None)
            seen.add((split, sample.name))
    assert kinds == {False, True}  # polygons and run lengths
    assert len(seen) == sum(len(RefCoco.open(root, name, s, split_by)) for s in SPLITS[name, split_by])


def test_converted_files_hold_the_same(root: Path) -> None:
    for (name, split_by), splits in SPLITS.items():
        if split_by == "google":
            continue
        for split in splits:
            one = RefCoco.open(root, name, split, split_by)
            other = RefCoco.open_converted(root / "RES", name, split, root / refcoco.IMAGES[0])
            assert len(one) == len(other)
            for index in range(len(one)):
                a, b = one[index], other[index]
                assert (a.instruction, a.meta["image_id"]) == (b.instruction, b.meta["image_id"])
                np.testing.assert_array_equal(a.masks, b.masks)
    psalm = root / "RES" / "refcoco" / "refcoco_val.json"
    psalm.rename(psalm.with_name("val_psalm.json"))
    assert len(RefCoco.open_converted(root / "RES", "refcoco", "val", root / refcoco.IMAGES[0])) > 0
    psalm.with_name("val_psalm.json").rename(psalm)


def test_joined_sentences(tmp_path: Path) -> None:
    tiny(tmp_path)
    joined = RefCoco.open(tmp_path, sentences="joined")
    assert [joined[i].instruction for i in range(len(joined))] == ["a b. c"]
    assert joined[0].name == "refcoco/unc/val/9"
    each = RefCoco.open(tmp_path)
    assert [each[i].instruction for i in range(len(each))] == ["a b", "c"]
    assert [each[i].name for i in range(2)] == ["refcoco/unc/val/9/0", "refcoco/unc/val/9/1"]
    assert each.counts() == joined.counts() == {"refs": 1, "sentences": 2, "images": 1}
    with pytest.raises(ValueError, match="sentences must be 'each' or 'joined', got 'all'"):
        RefCoco.open(tmp_path, sentences="all")  # type: ignore[arg-type]


def test_training_concatenates_the_three(root: Path) -> None:
    parts = [
        RefCoco.open(root, name, "train", sentences="joined") for name in ("refcoco", "refcoco+", "refcocog")
    ]
    whole = Concatenated(parts)
    names = [sample.name for part in parts for sample in (part[i] for i in range(len(part)))]
    assert [whole[i].name for i in range(len(whole))] == names


@pytest.mark.parametrize(
    ("field", "split", "expected"),
    [
        ("testA", "testA", True),
        ("testB", "testA", False),
        ("testAB", "testA", True),
        ("testAB", "testB", True),
        ("testBC", "testC", True),
        ("testA", "test", True),
        ("test", "test", True),
        ("train", "test", False),
        ("train", "train", True),
        ("trainval", "train", False),
        ("val", "val", True),
    ],
)
def test_split_rule_of_the_official_reader(field: str, split: str, expected: bool) -> None:
    assert in_split(field, split) is expected


def test_published_counts_add_up() -> None:
    def total(name: str, what: str) -> int:
        return sum(counts[what] for key, counts in PUBLISHED.items() if key[0] == name)

    sums = {name: tuple(total(name, what) for what in ("refs", "sentences", "images")) for name, _ in SPLITS}
    assert sums["refcoco"] == (50_000, 142_210, 19_994)
    assert sums["refcoco+"] == (49_856, 141_564, 19_992)
    assert sums["refcocog"] == (49_822, 95_010, 25_799)


OVERLAPPING = [[0.0, 0, 3, 0, 3, 3, 0, 3], [2.0, 0, 6, 0, 6, 4, 2, 4]]


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        (OVERLAPPING, polygons_to_mask(OVERLAPPING, 4, 6)),
        ([], np.zeros((4, 6))),
        (
            [mask_to_rle(np.eye(4, 6)), mask_to_rle(np.eye(4, 6)[::-1])],
            np.maximum(np.eye(4, 6), np.eye(4, 6)[::-1]),
        ),
        (mask_to_rle(np.eye(4, 6)), np.eye(4, 6)),
        ({"size": [4, 6], "counts": [4, 2, 18]}, np.arange(24).reshape(6, 4).T // 2 == 2),
    ],
)
def test_every_kind_of_segmentation_is_0_or_1(tmp_path: Path, segmentation: Any, expected: np.ndarray) -> None:
    part = RefCoco.open(tiny(tmp_path, annotation={"segmentation": segmentation}))
    np.testing.assert_array_equal(part[0].masks, expected[None])
    assert not list(part.inspect())


def test_official_polygons_cover_their_edges(tmp_path: Path) -> None:
    tiny(tmp_path)
    found = [RefCoco.open(tmp_path, official_polygons=value)[0].masks for value in (False, True)]
    expected = np.zeros((2, 4, 6), np.uint8)
    expected[0, 1:3, 1:4] = 1
    expected[1, 1:4, 1:5] = 1
    np.testing.assert_array_equal(found, expected[:, None])


@pytest.mark.parametrize(
    ("ref", "annotation", "fault", "message"),
    [
        ({"image_id": 4}, {}, Fault.ID, r"ref 9: image_id 4 is not in 'images'"),
        ({"ann_id": 8}, {}, Fault.ID, r"ref 9: ann_id 8 is not in 'annotations'"),
        ({}, {"image_id": 5}, Fault.ID, r"ref 9: ann_id 7 belongs to image 5, not to 3"),
        ({}, {"segmentation": mask_to_rle(np.eye(6, 4))}, Fault.MASK, r"annotation 7: .*6 ?x ?4"),
        ({}, {"segmentation": [[0, 0, 6, 0]]}, Fault.MASK, r"annotation 7: .*4 numbers"),
    ],
)
def test_misfits_are_reported(
    tmp_path: Path, ref: dict[str, Any], annotation: dict[str, Any], fault: Fault, message: str
) -> None:
    part = RefCoco.open(tiny(tmp_path, ref, annotation))
    with pytest.raises(DataError, match=message) as caught:
        part[0]
    assert caught.value.problem.fault is fault
    (found,) = part.inspect()
    assert found.fault is fault


def test_a_polygon_outside_its_image_is_reported(tmp_path: Path) -> None:
    part = RefCoco.open(tiny(tmp_path, annotation={"segmentation": [[0, 0, 60, 0, 60, 3]]}))
    assert [problem.fault for problem in part.inspect()] == [Fault.MASK]


def test_a_image_of_another_size_is_reported(tmp_path: Path) -> None:
    part = RefCoco.open(tiny(tmp_path))
    save_image(Path(part.image_key(0)), np.zeros((8, 6, 3), np.uint8))
    with pytest.raises(DataError, match="a mask of 4 x 6 on an image of 8 x 6"):
        part[0]


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"refcoco/refs\(unc\)\.p: the file is missing"):
        RefCoco.open(tmp_path)
    tiny(tmp_path)
    (tmp_path / "refcoco" / "instances.json").write_text('{"images": []}')
    with pytest.raises(DataError, match=r"instances\.json: not a COCO instances file: no 'annotations'"):
        RefCoco.open(tmp_path)
    write_python2_pickle(tmp_path / "refcoco" / "refs(unc).p", [{"ref_id": 1}])
    with pytest.raises(DataError, match=r"refs\(unc\)\.p: not a list of refs"):
        RefCoco.open(tmp_path)
    with pytest.raises(ValueError, match=r"there is no refcoco\(umd\): there are refcoco\(unc\)"):
        RefCoco.open(tmp_path, split_by="umd")
    with pytest.raises(ValueError, match="unknown name 'coco': there are refcoco, refcoco"):
        RefCoco.open(tmp_path, "coco")
    with pytest.raises(ValueError, match="has no split 'test': there are train, val, testA, testB"):
        RefCoco.open(tiny(tmp_path), split="test")


def test_check(root: Path, tmp_path: Path) -> None:
    report = catalog.check("refcoco", root, deep=True)
    assert {problem.fault for problem in report.problems} == {Fault.COUNT}  # a small copy without counts.json
    assert len({count.part for count in report.counts}) == sum(len(splits) for splits in SPLITS.values())
    converted = catalog.check(
        "refcoco-converted", root / "RES", True, {"images": str(root / refcoco.IMAGES[0])}
    )
    assert not converted.problems
    empty = catalog.check("refcoco", tmp_path)
    missing = [f"{tmp_path}/{name}/refs({by}).p" for name, by in SPLITS if by != "google"]
    assert [problem.where for problem in empty.problems] == missing


@pytest.mark.slow
def test_opening_is_quick_and_lean(tmp_path: Path) -> None:
    """As large as RefCOCO(unc): 50,000 refs, 142,210 sentences, 196,771 annotations of 40 points."""
    rng = np.random.default_rng(0)
    annotations = [
        {"id": k, "image_id": 1 + k % 19994, "iscrowd": 0, "area": 1.0, "bbox": [1.0, 2.0, 3.0, 4.0],
         "segmentation": [rng.integers(0, 48000, 80).astype(float).round(2).tolist()]}
        for k in range(196_771)
    ]  # fmt: skip
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 480, "width": 640} for i in range(1, 19995)]
    refs = []
    ends = list(accumulate(142_210 * (k + 1) // 50_000 - 142_210 * k // 50_000 for k in range(50_000)))
    for k, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        said = [
            {"sent_id": i, "sent": "the lady in blue", "raw": "", "tokens": ["the"]} for i in range(start, end)
        ]
        refs.append({"ref_id": k, "ann_id": k, "image_id": 1 + k % 19994, "split": "val", "sentences": said})
    write_python2_pickle(tmp_path / "refcoco" / "refs(unc).p", refs)
    (tmp_path / "refcoco" / "instances.json").write_text(
        json.dumps({"images": images, "annotations": annotations})
    )
    del annotations, images, refs
    before, start_time = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter()
    part = RefCoco.open(tmp_path)
    print(f"{time.perf_counter() - start_time:.1f} s")
    assert len(part) == 142_210
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 30
