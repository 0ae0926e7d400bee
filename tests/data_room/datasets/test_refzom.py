from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instructseg.data import catalog
from instructseg.data.datasets.refzom import RefZom
from instructseg.data.records import DataError
from recipes.nano.layouts.newer_images import write_refzom
from recipes.nano.layouts.scenes import draw_images

COUNT, SEED = 2, 3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_refzom(tmp_path, COUNT, SEED)
    return tmp_path


@pytest.mark.parametrize(("split", "first"), [("test", 0), ("train", COUNT)])
def test_no_one_and_many_targets(root: Path, split: str, first: int) -> None:
    pictures = draw_images(2 * COUNT, SEED)[first : first + COUNT]
    dataset = RefZom.open(root, split, sentences="joined")
    assert len(dataset) == 3 * COUNT
    for place, picture in enumerate(pictures):
        one, many, none = (dataset[3 * place + i] for i in range(3))
        i = next(iter(picture.said))
        np.testing.assert_array_equal(one.masks, picture.mask(i)[None])
        np.testing.assert_array_equal(many.masks, np.stack([picture.mask(i) for i in picture.visible]))
        assert none.masks is not None and none.masks.shape == (0, *picture.pixels.shape[:2])
        assert (many.instruction, none.instruction) == ("Everything, please", picture.absent())
    assert not catalog.check("ref-zom", root, deep=True).problems


def test_damage_is_named(root: Path) -> None:
    with pytest.raises(ValueError, match="Ref-ZOM has no split 'val': there are test, train"):
        RefZom.open(root, "val")
    (root / "ref-zom" / "refs(final).p").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    with pytest.raises(DataError, match=r"refs\(final\)\.p: not a list of refs .*os\.system"):
        RefZom.open(root)
