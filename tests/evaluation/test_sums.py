"""Means that are the same in any order and over any processes."""

import random
from fractions import Fraction
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st

from instructseg.evaluation.iou import IouSums
from instructseg.evaluation.sums import mean, merged


@given(st.lists(st.floats(0, 1), min_size=1), st.randoms())
def test_the_order_does_not_matter(values: list[float], generator: random.Random) -> None:
    shuffled = generator.sample(values, len(values))
    assert mean(values) == mean(shuffled)
    assert mean(values) == pytest.approx(float(sum(map(Fraction, values)) / len(values)), rel=1e-15)


def test_the_mean_of_nothing_is_0() -> None:
    assert mean([]) == 0


def test_alone_nothing_is_merged() -> None:
    sums = IouSums()
    assert merged(sums) is sums


def in_process(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    own, whole = IouSums(), IouSums()
    for number in range(7):
        whole.add_counts(number, 7 + number)
        if number % 2 == rank:
            own.add_counts(number, 7 + number)
    total = merged(own)
    assert (total.ciou, total.giou, total.count) == (whole.ciou, whole.giou, 7)
    assert own.count == 4 - rank
    torch.distributed.destroy_process_group()


def test_two_processes(tmp_path: Path) -> None:
    mp.start_processes(in_process, (str(tmp_path),), nprocs=2, start_method="fork")
