import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from instructseg.processing.conversation import pad_sequences
from instructseg.processing.pixels import stack_frames


@given(st.lists(st.lists(st.integers(0, 50), max_size=6), min_size=1, max_size=5))
def test_padding_never_changes_real_positions(rows: list[list[int]]) -> None:
    padded = pad_sequences(rows, -1)
    assert padded.shape == (len(rows), max(map(len, rows))) and padded.dtype == torch.int64
    for row, line in zip(rows, padded.tolist(), strict=True):
        assert line == row + [-1] * (len(line) - len(row))


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="empty batch"):
        pad_sequences([], 0)


def test_missing_references_are_zeros() -> None:
    frames = [torch.full((3, 2, 2), float(value)) for value in range(1, 5)]
    stacked, num_references = stack_frames([frames[:1], frames[1:]])
    assert stacked.shape == (2, 3, 3, 2, 2)
    assert num_references.tolist() == [0, 2]
    assert stacked[0, 1:].abs().sum() == 0
    assert stacked[:, :, 0, 0, 0].tolist() == [[1, 0, 0], [2, 3, 4]]
