from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from instructseg.data import catalog
from instructseg.data.datasets.mmbench import FILE, MMBench
from instructseg.data.datasets.vqa import LETTER_ANSWER
from instructseg.data.records import DataError, Fault
from recipes.nano.layouts.scenes import draw_images
from recipes.nano.layouts.text import colour_choice, write_mmbench

COUNT, SEED = 3, 9


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_mmbench(tmp_path, COUNT, SEED)
    return tmp_path


def test_questions_and_images(root: Path) -> None:
    limit = csv.field_size_limit()
    part = MMBench(root)
    assert csv.field_size_limit() == limit
    assert part.counts() == {"questions": 2 * COUNT, "images": COUNT}
    for place, picture in enumerate(draw_images(COUNT, SEED)):
        text, choices, right = colour_choice(picture)
        options = "".join(f"\n{letter}. {choice}" for letter, choice in zip("ABCD", choices, strict=True))
        first, second = part[2 * place], part[2 * place + 1]
        assert first.instruction == f'Look at the\n"shape".\n{text}{options}{LETTER_ANSWER}'
        assert (first.answer, second.answer) == ("ABCD"[right], "A")
        assert list(second.meta["options"]) == ["A", "B"]  # nan ends the list
        assert second.instruction.startswith(f"{text}\nA. {choices[right]}")  # a hint of nan is none
        assert first.meta["category"] == "colour" and first.meta["question_id"] == str(picture.number)
        assert first.key_frame.shape == picture.pixels.shape
        np.testing.assert_array_equal(first.key_frame, second.key_frame)
        assert part.image_key(2 * place) == part.image_key(2 * place + 1)


def test_errors(root: Path, tmp_path: Path) -> None:
    file = root / "mmbench" / FILE
    with pytest.raises(FileNotFoundError, match=rf"{FILE}: the file is missing"):
        MMBench(tmp_path / "gone")
    file.write_text("index\tquestion\tA\n")
    with pytest.raises(DataError, match=rf"{FILE}: no column B, image"):
        MMBench(root)
    file.write_text(f"index\tquestion\tA\tB\timage\n1\tq\ta\tb\t7\n2\tq\ta\tb\t{'!' * 80}\n")
    part = MMBench(root)
    with pytest.raises(DataError, match="index 1: its image should be in row '7', which has none"):
        part[0]
    with pytest.raises(DataError, match="index 2: the image cannot be decoded"):
        part[1]
    assert [problem.fault for problem in catalog.check("mmbench", root).problems] == [Fault.ID]
    assert [problem.fault for problem in catalog.check("mmbench", root, deep=True).problems] == [
        Fault.ID,
        Fault.IMAGE,
    ]
