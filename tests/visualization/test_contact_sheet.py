from __future__ import annotations

import numpy as np
import pytest

from instructseg.visualization import contact_sheet


def flat(value: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def test_frames_stand_in_rows() -> None:
    sheet = contact_sheet([flat(10), flat(20), flat(30)], 2, gap=1)
    assert sheet.shape == (4 + 1 + 4, 6 + 1 + 6, 3)
    assert (sheet[:4, :6] == 10).all()
    assert (sheet[:4, 7:] == 20).all()
    assert (sheet[5:, :6] == 30).all()
    assert (sheet[4] == 255).all()
    assert (sheet[:, 6] == 255).all()
    assert (sheet[5:, 7:] == 255).all()


def test_fewer_frames_than_columns_make_no_empty_cells() -> None:
    assert contact_sheet([flat(10)], 5).shape == (4, 6, 3)


def test_smaller_frames_are_centred() -> None:
    sheet = contact_sheet([flat(10), flat(20, 2, 2)], 2, gap=0, background=(0, 0, 0))
    expected = np.zeros((4, 6), dtype=np.uint8)
    expected[1:3, 2:4] = 20
    assert np.array_equal(sheet[:, 6:, 0], expected)


def test_the_width_is_a_limit() -> None:
    frames = [flat(10, 40, 60)] * 4
    sheet = contact_sheet(frames, 2, width=61, gap=2)
    assert sheet.shape == (41, 61, 3)
    assert sheet[20 - 5, 10].tolist() == [10, 10, 10]
    assert contact_sheet(frames, 2, width=500, gap=2).shape == (82, 122, 3)


@pytest.mark.parametrize(
    ("frames", "columns", "message"),
    [
        ([], 2, "at least one frame"),
        ([flat(1)], 0, "columns and width are at least 1"),
        ([flat(1), flat(1)[..., 0]], 2, r"frame 1 must be uint8\[H, W, 3\], got uint8\[4, 6\]"),
    ],
)
def test_what_makes_no_sheet(frames: list, columns: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        contact_sheet(frames, columns)
