"""What a stream keeps and when a frame's result can come, against the rule itself."""

from __future__ import annotations

import numpy as np
import pytest

from instructseg.data.frames import neighbour_references
from instructseg.inference.frame_window import FrameWindow, most_held, spacing_of

FRAME = np.zeros((1, 1, 3), np.uint8)


def streamed(
    length: int, references: int, delay: int | None, most: int = 1, spacing: int = 1
) -> list[tuple[int, int, list[int]]]:
    """Of each frame of a stream: its number, how many were read when it came, and its references."""
    window = FrameWindow(references, delay, spacing)
    out = []
    for read in range(length + 1):
        if read < length:
            window.append(FRAME)
        else:
            window.ended = True
        while ready := window.ready(most):
            for t in ready:
                neighbours = window.neighbours(t)
                assert all(window[i].frame is FRAME for i in (t, *neighbours))
                out.append((t, window.read, neighbours))
                window.advance()
        assert len(window) <= (references + 1) * spacing + window.delay
    return out


@pytest.mark.parametrize("references", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 6, 7, 20])
@pytest.mark.parametrize("most", [1, 4])
@pytest.mark.parametrize("more", [None, 3])
def test_the_released_rule(length: int, references: int, most: int, more: int | None) -> None:
    delay = None if more is None else max(references // 2, 1) + more
    found = streamed(length, references, delay, most)
    assert [(t, seen) for t, _, seen in found] == [
        (t, neighbour_references(t, length, references)) for t in range(length)
    ]


@pytest.mark.parametrize("length", range(1, 60))
@pytest.mark.parametrize("fps", [6, 25, 30, 60])
def test_a_short_clip_has_all_its_references(length: int, fps: int) -> None:
    spacing = spacing_of(fps, length)
    assert spacing <= max(1, round(fps / 6))
    for _, _, seen in streamed(length, 4, None, 1, spacing):
        assert len(seen) == min(4, length - 1) or (spacing == 1 and length < 5)


@pytest.mark.parametrize("references", [0, 2, 4])
@pytest.mark.parametrize("spacing", [1, 2, 5])
@pytest.mark.parametrize("chunk", [1, 4])
def test_the_most_frames_that_are_held(references: int, spacing: int, chunk: int) -> None:
    window, most = FrameWindow(references, None, spacing), 0
    for _ in range(60):
        for _ in range(chunk):
            window.append(FRAME)
        most = max(most, len(window))
        while ready := window.ready(chunk):
            for _ in ready:
                window.advance()
    assert most == most_held(spacing, references, chunk)


def test_no_frame_waits_longer_than_it_must() -> None:
    assert [read for _, read, _ in streamed(20, 4, None)][:5] == [5, 5, 5, 6, 7]
    assert [read for _, read, _ in streamed(20, 4, 3)][:5] == [5, 5, 6, 7, 8]
    for delay in (0, 1):
        reads = [read for _, read, _ in streamed(20, 4, delay)]
        assert reads == [min(20, t + 1 + delay) for t in range(20)]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 12])
@pytest.mark.parametrize(("references", "delay"), [(4, 0), (4, 1), (1, 0), (3, 0), (6, 2)])
def test_with_less_delay_the_window_moves_into_the_past(length: int, references: int, delay: int) -> None:
    for t, _, seen in streamed(length, references, delay):
        last = min(t + delay, length - 1)
        nearest = sorted((i for i in range(last + 1) if i != t), key=lambda i: (abs(i - t), i))[:references]
        assert set(seen) >= set(nearest[: references // 2])
        assert seen == [i for i in range(max(0, last - references), last + 1) if i != t]
        assert len(seen) == min(references, last)


@pytest.mark.parametrize("references", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("length", [0, 1, 4, 7, 11, 31])
@pytest.mark.parametrize("most", [1, 4])
@pytest.mark.parametrize("spacing", [2, 3, 5])
@pytest.mark.parametrize("more", [None, 0, 3])
def test_a_spaced_clip_is_that_many_clips_in_turn(
    length: int, references: int, most: int, spacing: int, more: int | None
) -> None:
    delay = None if more is None else max(references // 2, 1) * spacing + more
    found = {t: seen for t, _, seen in streamed(length, references, delay, most, spacing)}
    assert list(found) == list(range(length))
    for first in range(spacing):
        clip = range(first, length, spacing)
        for place, t in enumerate(clip):
            assert found[t] == [clip[i] for i in neighbour_references(place, len(clip), references)]


@pytest.mark.parametrize("delay", [0, 2, 3, 5])
def test_with_less_delay_a_spaced_window_moves_into_the_past(delay: int) -> None:
    for t, read, seen in streamed(40, 4, delay, spacing=3):
        assert read == min(40, t + 1 + delay)
        last = t + min(delay // 3, 2) * 3
        last -= 3 * -(-max(0, last - 39) // 3)
        assert seen == [i for i in range(last - 12, last + 1, 3) if i >= 0 and i != t]


def test_a_spaced_stream_answers_as_soon_as_it_can() -> None:
    reads = [read for _, read, _ in streamed(40, 4, None, spacing=3)]
    assert reads[:11] == [13, 14, 15, 15, 15, 15, 15, 15, 15, 16, 17]  # frame 6 has two references behind it
    assert reads[-7:] == [40] * 7


def test_wrong_numbers() -> None:
    for arguments, name in (((-1, None), "references"), ((4, -1), "delay")):
        with pytest.raises(ValueError, match=f"{name} must not be negative, got -1"):
            FrameWindow(*arguments)
    with pytest.raises(ValueError, match="spacing must be at least 1, got 0"):
        FrameWindow(4, None, 0)


@pytest.mark.parametrize(
    ("fps", "length", "spacing"),
    [
        (6, None, 1),
        (1, None, 1),
        (12, 32, 2),
        (23.976, 1000, 4),
        (30, 1000, 5),
        (30, 12, 2),
        (60, 4, 1),
        (60, None, 10),
    ],
)
def test_references_show_as_much_time_at_any_frame_rate(fps: float, length: int | None, spacing: int) -> None:
    assert spacing_of(fps, length) == spacing


def test_without_references_there_is_nothing_to_fit() -> None:
    assert spacing_of(30, 2, references=0) == 5
