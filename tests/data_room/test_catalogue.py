from __future__ import annotations

from pathlib import Path

import pytest

from instructseg.data import catalogue
from instructseg.data.reasonseg import ReasonSeg


def test_the_usual_split_is_the_first() -> None:
    assert {entry.splits[0] for entry in catalogue.CATALOGUE.values() if entry.splits} >= {"val", "valid_u"}
    for name, entry in catalogue.CATALOGUE.items():
        assert len(set(entry.splits)) == len(entry.splits), name


def test_copies_are_written_into_an_empty_folder_only(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    made = catalogue.write_copies(tmp_path / "empty", ["reasonseg"], pictures=2)
    assert made == {"reasonseg": [tmp_path / "empty" / "ReasonSeg"]}
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["ReasonSeg"]
    before = (tmp_path / "empty" / "ReasonSeg" / "counts.json").read_bytes()
    with pytest.raises(FileExistsError, match="is not empty: choose another folder"):
        catalogue.write_copies(tmp_path / "empty", ["reasonseg"], pictures=1)
    assert (tmp_path / "empty" / "ReasonSeg" / "counts.json").read_bytes() == before


def test_a_split_is_opened_by_its_adapter(tmp_path: Path) -> None:
    ((root,),) = catalogue.write_copies(tmp_path / "copies", ["reasonseg"], pictures=2).values()
    opened = catalogue.open_split("reasonseg", root, "train")
    expected = ReasonSeg(root, "train")
    assert isinstance(opened, ReasonSeg) and opened.name == expected.name
    assert [opened[i].instruction for i in range(2)] == [expected[i].instruction for i in range(2)]
    with pytest.raises(ValueError, match="reasonseg has no split 'valid': there are val, train, test"):
        catalogue.open_split("reasonseg", root, "valid")
    with pytest.raises(ValueError, match="the closest is 'reasonseg'"):
        catalogue.open_split("reasonsg", root)
    with pytest.raises(FileNotFoundError, match="give the folder of the data set"):
        catalogue.check("reasonseg", root / "none")


def test_the_original_files_go_before_converted_ones(tmp_path: Path) -> None:
    roots = catalogue.write_copies(tmp_path / "copies", ["refytvos", "refdavis"])
    names = [[catalogue.open_split(name, root).name for root in found] for name, found in roots.items()]
    assert names[0] == ["refytvos/valid", "refytvos/valid", "refytvos/converted/valid"]
    assert names[1] == ["refdavis/valid", "refdavis/valid", "refdavis/converted/valid"]
