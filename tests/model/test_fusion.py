"""Placeholders to embeddings and back, against a plain loop."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from instructseg.model.fusion import fill, take
from instructseg.structures import Role

ROLES = st.lists(st.lists(st.sampled_from(list(Role)), min_size=7, max_size=7), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(ROLES)
def test_fill_then_take_gives_the_vectors_back(rows: list[list[Role]]) -> None:
    roles = torch.tensor([[int(role) for role in row] for row in rows])
    embeds = torch.randn(*roles.shape, 3)
    count = int((roles == Role.IMAGE).sum())
    values = torch.randn(count, 3)
    filled = fill(embeds, roles, Role.IMAGE, values)
    expected, used = embeds.clone(), 0
    for b, row in enumerate(rows):
        for i, role in enumerate(row):
            if role is Role.IMAGE:
                expected[b, i] = values[used]
                used += 1
    assert torch.equal(filled, expected)
    taken, mask = take(filled, roles, Role.IMAGE)
    assert torch.equal(taken[mask], values)
    assert mask.sum(1).tolist() == [row.count(Role.IMAGE) for row in rows]
    assert bool((taken[~mask] == 0).all())


def test_a_wrong_number_of_vectors_names_both() -> None:
    roles = torch.tensor([[Role.IMAGE, Role.IMAGE, Role.TEXT]])
    with pytest.raises(ValueError, match="2 image positions but 3 vectors"):
        fill(torch.zeros(1, 3, 4), roles, Role.IMAGE, torch.zeros(3, 4))
