from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from instructseg.data.data_files import fit, missing_files, read_image, read_json
from instructseg.data.dataset import Concatenated, Dataset, check_parts
from instructseg.data.records import DataError, Fault, MissingFile, Problem
from instructseg.structures import Sample, Task


class Numbers(Dataset):
    def __init__(self, name: str, values: list[int], broken: int = -1) -> None:
        self.name, self.values, self.broken = name, values, broken
        self.published = {"numbers": 3}

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Sample:
        if self.values[index] == self.broken:
            raise DataError(Fault.IMAGE, f"{self.name}.jpg", "broken")
        return Sample(np.zeros((1, 1, 3), np.uint8), str(self.values[index]), Task.RES)

    def image_key(self, index: int) -> str:
        return f"{self.name}-{index}"

    def counts(self) -> dict[str, int]:
        return {"numbers": len(self.values), "halves": 2 * len(self.values)}

    def inspect(self) -> Iterator[Problem]:
        yield Problem(Fault.ID, "shared", "wrong")


def test_concatenated_keeps_the_order() -> None:
    whole = Concatenated([Numbers("a", [0, 1]), Numbers("b", []), Numbers("c", [2, 3, 4])], "all")
    assert [whole[i].instruction for i in range(len(whole))] == list("01234")
    assert [whole.draw(i, np.random.default_rng()).instruction for i in range(5)] == list("01234")
    assert [whole.image_key(i) for i in range(5)] == ["a-0", "a-1", "c-0", "c-1", "c-2"]
    assert whole.counts() == {"numbers": 5, "halves": 10}
    assert whole.describe() == "all: 5 numbers, 10 halves"
    for index in (-1, 5):
        with pytest.raises(IndexError, match=f"sample {index} of 5 in all"):
            whole[index]
    with pytest.raises(ValueError, match="nothing to concatenate"):
        Concatenated([])


def test_check_collects_everything(tmp_path: Path) -> None:
    def missing() -> Dataset:
        raise MissingFile(tmp_path / "gone.json")

    parts = {"a": lambda: Numbers("a", [1, 2, 3]), "b": lambda: Numbers("b", [1, 2], broken=2), "c": missing}
    report = check_parts("numbers", tmp_path, parts)
    assert [(c.part, c.what, c.found, c.expected) for c in report.counts] == [
        ("a", "numbers", 3, 3),
        ("a", "halves", 6, None),
        ("b", "numbers", 2, 3),
        ("b", "halves", 4, None),
    ]
    assert [p.fault for p in report.problems] == [Fault.ID, Fault.COUNT, Fault.FILE]  # the shared one once
    assert str(report.problems[1]).startswith("b: 2 numbers, expected 3")
    assert report.problems[2] == Problem(Fault.FILE, str(tmp_path / "gone.json"), "the file is missing")
    deep = check_parts("numbers", tmp_path, parts, deep=True)
    assert Problem(Fault.IMAGE, "b.jpg", "broken") in deep.problems


def test_counts_of_a_generated_copy_replace_the_published_ones(tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_text(json.dumps({"a": {"numbers": 2, "halves": 5}}))
    report = check_parts("numbers", tmp_path, {"a": lambda: Numbers("a", [1, 2])})
    assert [str(p) for p in report.problems if p.fault is Fault.COUNT] == [
        "a: 4 halves, expected 5: a file is incomplete or another version"
    ]


def test_missing_files_tell_a_missing_folder_once(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.jpg").touch()
    files = [tmp_path / "here" / "a.jpg", tmp_path / "here" / "b.jpg"]
    files += [tmp_path / "gone" / f"{i}.jpg" for i in range(1200)]
    assert [str(problem) for problem in missing_files(files)] == [
        f"{tmp_path}/here/b.jpg: the file is missing",
        f"{tmp_path}/gone: the folder is missing; it should hold 1,200 files",
    ]


def test_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1")
    (tmp_path / "b.json").write_text("{}")
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8\xff\xe0 not an image")
    with pytest.raises(DataError, match=r"a\.json: not valid JSON"):
        read_json(tmp_path / "a.json", list)
    with pytest.raises(DataError, match=r"b\.json: holds a dict, expected a list"):
        read_json(tmp_path / "b.json", list)
    with pytest.raises(FileNotFoundError, match=r"d\.json: the file is missing"):
        read_json(tmp_path / "d.json", list)
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "c.jpg")
    assert caught.value.problem.fault is Fault.IMAGE
    assert str(caught.value).count("c.jpg") == 1
    with pytest.raises(FileNotFoundError, match=r"e\.jpg: the file is missing"):
        read_image(tmp_path / "e.jpg")


def test_fit() -> None:
    picture = np.zeros((4, 5, 3), np.uint8)
    mask = np.zeros((2, 4, 5), np.uint8)
    assert fit(mask, picture, "x") is mask
    with pytest.raises(DataError, match="x: a mask of 5 x 4 on an image of 4 x 5") as caught:
        fit(np.zeros((5, 4), np.uint8), picture, "x")
    assert caught.value.problem.fault is Fault.MASK


@pytest.mark.parametrize("error", [DataError(Fault.MASK, "here", "wrong"), MissingFile("/a/b")])
def test_errors_cross_process_borders(error: DataError | MissingFile) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.problem) == (type(error), str(error), error.problem)
