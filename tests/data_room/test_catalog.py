from __future__ import annotations

from pathlib import Path

import pytest

from instructseg.data import catalog
from instructseg.data.datasets.reasonseg import ReasonSeg
from recipes.nano.layouts.copies import write_copies


def test_the_usual_split_is_the_first() -> None:
    assert {row.splits[0] for row in catalog.CATALOG.values() if row.splits} >= {"val", "valid_u"}
    for name, row in catalog.CATALOG.items():
        assert len(set(row.splits)) == len(row.splits), name


def test_a_split_is_opened_by_its_adapter(tmp_path: Path) -> None:
    ((root,),) = write_copies(tmp_path / "copies", ["reasonseg"], pictures=2).values()
    opened = catalog.open_split("reasonseg", root, "train")
    expected = ReasonSeg(root, "train")
    assert isinstance(opened, ReasonSeg) and opened.name == expected.name
    assert [opened[i].instruction for i in range(2)] == [expected[i].instruction for i in range(2)]
    with pytest.raises(ValueError, match="reasonseg has no split 'valid': there are val, train, test"):
        catalog.open_split("reasonseg", root, "valid")
    with pytest.raises(ValueError, match="the closest is 'reasonseg'"):
        catalog.open_split("reasonsg", root)
    with pytest.raises(FileNotFoundError, match="give the folder of the data set"):
        catalog.check("reasonseg", root / "none")


def test_the_original_files_go_before_converted_ones(tmp_path: Path) -> None:
    roots = write_copies(tmp_path / "copies", ["refytvos", "refdavis"])
    names = [[catalog.open_split(name, root).name for root in found] for name, found in roots.items()]
    assert names[0] == ["refytvos/valid", "refytvos/valid", "refytvos/converted/valid"]
    assert names[1] == ["refdavis/valid", "refdavis/valid", "refdavis/converted/valid"]
