from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from instructseg.data import catalog
from instructseg.data.datasets.multitarget import FILES, MultiTarget
from instructseg.data.records import DataError
from instructseg.structures import Task
from recipes.nano.layouts.newer_images import write_mmr, write_muse
from recipes.nano.layouts.scenes import draw_images

COUNT, SEED = 2, 4
WRITERS = {"muse": write_muse, "mmr": write_mmr}


@pytest.mark.parametrize("name", WRITERS)
def test_answers_are_all_their_objects(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path, COUNT, SEED)
    drawn = iter(draw_images(len(FILES[name]) * COUNT, SEED))
    for split in FILES[name]:
        dataset = MultiTarget.open(tmp_path, name, split)
        index = 0
        for _ in range(COUNT):
            picture = next(drawn)
            for objects in [*([i] for i in picture.said), picture.visible]:
                sample = dataset[index]
                np.testing.assert_array_equal(sample.masks, np.stack([picture.mask(i) for i in objects]))
                assert sample.task is Task.REASON_SEG
                assert np.abs(sample.key_frame.astype(int) - picture.pixels).mean() < 8
                index += 1
            assert sample.instruction == "Which objects are there?"
        assert index == len(dataset)
    assert not catalog.check(name, tmp_path, deep=True).problems


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    write_mmr(tmp_path / "mmr", 1, SEED)
    (tmp_path / "mmr" / "images").rename(tmp_path / "coco")
    dataset = MultiTarget.open(tmp_path / "mmr", "mmr", "val", tmp_path / "coco")
    assert dataset[0].key_frame.ndim == 3
    found = catalog.open_split("mmr", tmp_path / "mmr", "val", {"images": str(tmp_path / "coco")})
    assert found.image_key(0) == dataset.image_key(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"questions": []}, "0 questions but"),
        ({"answers": 3}, "answers is no list, but 3"),
        ({"height": 0}, "height and width: a size is"),
        ({"file_name": "../a.jpg"}, "file_name"),
        ({"answers": [[{}]], "questions": ["which?"]}, "no 'segmentation'"),
        ({"answers": [7], "questions": ["which?"]}, "it is no list of objects, but 7"),
    ],
)
def test_damage_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    write_mmr(tmp_path, 1, SEED)
    file = tmp_path / "MMR_val.json"
    content = json.loads(file.read_text())
    content[0] |= change
    file.write_text(json.dumps(content))
    with pytest.raises(DataError) as found:
        MultiTarget.open(tmp_path, "mmr", "val")
    assert message in str(found.value) and str(file) in str(found.value)
    with pytest.raises(ValueError, match="mmr has no split 'test': there are val, test_mixed"):
        MultiTarget.open(tmp_path, "mmr", "test")
