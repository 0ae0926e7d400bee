from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from instructseg.data.dataset import Dataset
from instructseg.data.mixture import RELEASED_RATIO, RELEASED_SWITCH, Mixture, parse_ratio, shuffled
from instructseg.structures import Sample, Task


class Numbers(Dataset):
    """Samples that say where they come from and what was drawn."""

    def __init__(self, name: str, length: int) -> None:
        self.name, self.length = name, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return Sample(np.zeros((1, 1, 3), np.uint8), f"{self.name} {index}", Task.RES)

    def draw(self, index, rng):
        return Sample(np.zeros((1, 1, 3), np.uint8), f"{self.name} {index} {rng.integers(10**9)}", Task.RES)

    def image_key(self, index):
        return str(index)

    def counts(self):
        return {"samples": self.length}


def numbers(*lengths: int) -> list[Dataset]:
    return [Numbers(f"set{k}", length) for k, length in enumerate(lengths)]


def words(mixture: Mixture, index: int) -> list[str]:
    return [sample.instruction for sample in mixture.samples(index)]


def released_sources(ratio, batch_size, switch, batches):
    """The released rule of one loader worker, sample by sample."""
    slots = [k for k, count in enumerate(ratio) for _ in range(count)]
    current, served, found = 0, 0, []
    for _ in range(batches):
        batch = []
        for _ in range(batch_size):
            batch.append(slots[current])
            served += 1
            if served == switch:
                served, current = 0, (current + 1) % len(slots)
        assert len(set(batch)) == 1
        found.append(batch[0])
    return found


@pytest.mark.parametrize(
    ("ratio", "batch_size", "switch"), [(RELEASED_RATIO, 4, 16), ("1||3", 2, 2), ("2", 3, 6)]
)
def test_data_sets_take_turns_as_released(ratio, batch_size, switch):
    parsed = parse_ratio(ratio)
    mixture = Mixture(numbers(*[50] * len(parsed)), ratio, batch_size, switch)
    expected = released_sources(parsed, batch_size, switch, 200)
    assert [mixture.source(index) for index in range(200)] == expected


def test_shares_are_those_of_the_ratio():
    mixture = Mixture(numbers(*[9] * 5), RELEASED_RATIO, 4, RELEASED_SWITCH)
    count = Counter(mixture.source(index) for index in range(14 * 4 * 10))
    assert [count[k] / (14 * 4 * 10) for k in range(5)] == pytest.approx(
        [4 / 14, 2 / 14, 4 / 14, 1 / 14, 3 / 14]
    )


def test_the_batches_of_a_step_are_of_one_data_set():
    mixture = Mixture(numbers(9, 9, 9), "1||2||1", 2, 4, step_batches=3)
    alone = Mixture(numbers(9, 9, 9), "1||2||1", 2, 4)
    for step in range(40):
        assert {mixture.source(3 * step + rank) for rank in range(3)} == {alone.source(step)}


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 23), min_size=1, max_size=4),
    data=st.data(),
    batch_size=st.integers(1, 5),
    slots=st.integers(1, 3),
    step_batches=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
def test_every_sample_comes_once_before_any_comes_again(lengths, data, batch_size, slots, step_batches, seed):
    ratio = [data.draw(st.integers(1, 3)) for _ in lengths]
    mixture = Mixture(numbers(*lengths), ratio, batch_size, batch_size * slots, step_batches, seed)
    read: dict[int, list[int]] = {k: [] for k in range(len(lengths))}
    for index in range(120):
        which, items = mixture.items(index)
        assert len(items) == batch_size and which == mixture.source(index)
        read[which] += items
    for k, length in enumerate(lengths):
        epochs = [read[k][i : i + length] for i in range(0, len(read[k]), length)]
        assert all(sorted(epoch) == list(range(length)) for epoch in epochs if len(epoch) == length)
        assert len(set(epochs[-1])) == len(epochs[-1])


@given(st.integers(1, 300), st.integers(0, 10**9), st.integers(0, 5))
def test_shuffled_is_a_permutation(length, seed, epoch):
    order = [shuffled(place, length, (seed, epoch)) for place in range(length)]
    assert sorted(order) == list(range(length))


def test_shuffled_has_no_favourites():
    orders = Counter(tuple(shuffled(place, 4, (0, epoch)) for place in range(4)) for epoch in range(4800))
    assert len(orders) == 24
    # 200 each; the deviation of a fair draw is 14
    assert max(abs(count - 200) for count in orders.values()) < 70
    places = np.array([[shuffled(place, 50, (1, epoch)) for place in range(50)] for epoch in range(400)])
    assert abs(np.corrcoef(places[:-1].ravel(), places[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(places[:, :-1].ravel(), places[:, 1:].ravel())[0, 1]) < 0.05


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), order=st.permutations(range(12)))
def test_a_batch_is_a_function_of_seed_and_index_alone(seed, order):
    one = Mixture(numbers(7, 11), "1||2", 3, 6, seed=seed)
    forwards = [words(one, index) for index in range(12)]
    other = pickle.loads(pickle.dumps(Mixture(numbers(7, 11), "1||2", 3, 6, seed=seed)))
    assert {index: words(other, index) for index in order} == dict(enumerate(forwards))


def test_seeds_batches_and_rows_draw_differently():
    one, other = (Mixture(numbers(1), "1", 4, 4, seed=seed) for seed in (0, 1))
    drawn = [word for mixture in (one, other) for index in range(50) for word in words(mixture, index)]
    assert len(set(drawn)) == len(drawn)


class Batches:
    def __init__(self, mixture):
        self.mixture = mixture

    def __getitem__(self, index):
        return words(self.mixture, index)


def first(batch):
    return batch[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_samples(workers):
    mixture = Mixture(numbers(7, 11, 4), "2||1||1", 2, 4)
    loader = DataLoader(Batches(mixture), sampler=range(5, 17), num_workers=workers, collate_fn=first)
    assert list(loader) == [words(mixture, index) for index in range(5, 17)]


def test_names_and_description_tell_where_samples_come_from():
    mixture = Mixture(numbers(70, 30), "3||1", 2, 4)
    assert [name.replace("[", " ").rstrip("]") for name in mixture.names(0)] == [
        " ".join(word.split()[:2]) for word in words(mixture, 0)
    ]
    assert mixture.describe() == "set0 3/4 (47 batches), set1 1/4 (60 batches)"


@pytest.mark.parametrize("ratio", ["4||x", "4||0", "", "4|2", "-1", [1.5], [0]])
def test_a_ratio_of_anything_but_whole_numbers_is_refused(ratio):
    with pytest.raises(ValueError, match=r"a ratio is whole numbers of at least 1 such as 4\|\|2"):
        parse_ratio(ratio)


def test_ratios_are_read_from_text_and_numbers():
    assert parse_ratio(RELEASED_RATIO) == parse_ratio([4, 2, 4, 1, 3]) == (4, 2, 4, 1, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratio": "1||2||3"}, r"2 data sets, but the ratio '1\|\|2\|\|3' has 3 entries"),
        ({"switch_bs": 6}, "switch_bs must be a multiple of batch_size.*got 6 and 4"),
        ({"batch_size": 0}, "got 16 and 0"),
        ({"step_batches": 0}, "step_batches must be at least 1"),
        ({"seed": -1}, "seed not be negative, got 1 and -1"),
        ({"datasets": numbers(5, 0)}, "set1 has no samples"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    arguments = {"datasets": numbers(5, 5), "ratio": "1||2", "batch_size": 4, **arguments}
    with pytest.raises(ValueError, match=message):
        Mixture(**arguments)


def test_a_negative_batch_is_refused():
    with pytest.raises(IndexError, match="batch -1"):
        Mixture(numbers(3), "1", 1, 1).samples(-1)


def test_losses_are_logged_under_the_label_of_the_data_set():
    named = Mixture(numbers(9, 9), "1||1", 2, 2, labels=["refcoco", "llava"])
    assert [named.task(index) for index in range(3)] == ["refcoco", "llava", "refcoco"]
    assert Mixture(numbers(9, 9), "1||1", 2, 2).task(1) == "set1"
