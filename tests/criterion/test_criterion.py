from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from instructseg.criterion import CriterionConfig, SegCriterion
from instructseg.structures import IGNORE_LABEL, MaskTargets, SegOutput
from tests.criterion.oracle import slow_losses

Q, H, W = 4, 6, 8
CONFIG = CriterionConfig(num_points=12, selection_weight=0.5)
PARTS = ("mask", "dice", "class", "selection", "text")


def output(rows: int, layers: int = 2, scale: float = 3.0) -> SegOutput:
    """Random leaves that want gradients."""

    def layer() -> tuple[torch.Tensor, torch.Tensor]:
        masks, scores = scale * torch.randn(rows, Q, H, W), torch.randn(rows, Q)
        return masks.requires_grad_(), scores.requires_grad_()

    return SegOutput(*layer(), aux=tuple(layer() for _ in range(layers - 1)))


def tensors(output: SegOutput) -> list[torch.Tensor]:
    layers = [(output.mask_logits, output.seg_logits), *output.aux]
    return [tensor for layer in layers for tensor in layer]


def masks(count: int, scale: int = 2) -> torch.Tensor:
    return torch.rand(count, H * scale, W * scale) > 0.6


def seeded(criterion: SegCriterion, *args, seed: int = 0):
    torch.manual_seed(seed)
    return criterion(*args)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.lists(st.booleans(), max_size=3), min_size=1, max_size=3), st.integers(0, 99))
def test_as_the_plain_loop(answers, seed):
    torch.manual_seed(seed)
    targets = [MaskTargets(masks(len(row)), torch.tensor(row, dtype=torch.bool)) for row in answers]
    said, criterion = output(len(answers)), SegCriterion(CONFIG)
    losses = seeded(criterion, said, targets, seed=seed)
    torch.manual_seed(seed)
    expected = slow_losses(CONFIG, criterion.sampler, said, targets)
    for name, value in expected.items():
        torch.testing.assert_close(losses.raw[name], value, atol=1e-5, rtol=1e-4)
    assert losses.raw.keys() == {*expected, "text"}

    weights = {"mask": 5.0, "dice": 5.0, "class": 2.0, "selection": 0.5}
    total = sum(weights[name.partition("_")[0]] * value for name, value in expected.items())
    torch.testing.assert_close(losses.total, total, atol=1e-4, rtol=1e-4)
    for ours, theirs in zip(
        torch.autograd.grad(losses.total, tensors(said)),
        torch.autograd.grad(total, tensors(said), materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)


@settings(max_examples=12, deadline=None)
@given(st.permutations(range(3)), st.permutations(range(Q)), st.permutations(range(3)), st.integers(0, 99))
def test_order_of_rows_queries_and_masks_does_not_matter(rows, queries, order, seed):
    class SamePoints:
        def uniform(self, rows, device):
            return points.expand(rows, -1, -1)

        def uncertain(self, logits):
            return points.expand(len(logits), -1, -1)

    torch.manual_seed(seed)
    points = torch.rand(1, 30, 2)
    said, ignore = output(3), torch.rand(2 * H, 2 * W) > 0.9
    targets = [MaskTargets(masks(3), torch.tensor([True, False, True]), ignore) for _ in range(3)]
    criterion = SegCriterion(CONFIG, SamePoints())
    shuffled = [
        (a[rows][:, queries], b[rows][:, queries]) for a, b in zip(*[iter(tensors(said))] * 2, strict=True)
    ]
    answer = [
        MaskTargets(targets[row].masks[order], targets[row].is_answer[order], targets[row].ignore)
        for row in rows
    ]
    again = criterion(SegOutput(*shuffled[0], aux=tuple(shuffled[1:])), answer)
    for name, value in criterion(said, targets).raw.items():
        torch.testing.assert_close(again.raw[name], value, atol=1e-5, rtol=1e-5)


def test_parts_are_weighted_sums_of_the_layers():
    said = replace(output(1, layers=3), text_logits=torch.randn(2, 11))
    labels = torch.tensor([[IGNORE_LABEL, 3, 4]])
    config = replace(CONFIG, class_weight=3.0, mask_weight=7.0, dice_weight=11.0, text_weight=13.0)
    losses = SegCriterion(config)(said, [MaskTargets(masks(2))], labels)
    assert tuple(losses.parts) == PARTS
    for name in ("mask", "dice", "class", "selection"):
        layers = losses.raw[name] + losses.raw[f"{name}_0"] + losses.raw[f"{name}_1"]
        torch.testing.assert_close(losses.parts[name], getattr(config, f"{name}_weight") * layers)
    torch.testing.assert_close(losses.raw["text"], F.cross_entropy(said.text_logits, torch.tensor([3, 4])))
    torch.testing.assert_close(losses.parts["text"], 13 * losses.raw["text"])
    torch.testing.assert_close(losses.total, sum(losses.parts.values()))


def test_without_deep_supervision_the_last_layer_counts_alone():
    said, targets = output(2), [MaskTargets(masks(1)), MaskTargets(masks(2))]
    alone = replace(said, aux=())
    losses = seeded(SegCriterion(replace(CONFIG, deep_supervision=False)), said, targets)
    assert set(losses.raw) == set(PARTS)
    torch.testing.assert_close(losses.total, seeded(SegCriterion(CONFIG), alone, targets).total)


def test_a_batch_without_masks_only_pulls_scores_down():
    said = output(2)
    losses = SegCriterion(CONFIG)(said, [MaskTargets(masks(0))] * 2)
    assert losses.parts["mask"] == losses.parts["dice"] == losses.parts["selection"] == 0
    torch.testing.assert_close(losses.raw["class"], F.softplus(said.seg_logits).mean())
    losses.total.backward()
    for tensor in tensors(said):
        assert tensor.grad.isfinite().all()
        assert tensor.grad.any() == (tensor.dim() == 2)


def test_a_batch_without_rows_is_0():
    said = output(0)
    losses = SegCriterion(CONFIG)(said, [])
    losses.total.backward()
    assert losses.total == 0 and all(tensor.grad is not None for tensor in tensors(said))


def test_rows_without_masks_take_part_in_the_score_only():
    said = output(2)
    SegCriterion(CONFIG)(said, [MaskTargets(masks(0)), MaskTargets(masks(1))]).total.backward()
    assert not said.mask_logits.grad[0].any() and said.mask_logits.grad[1].any()
    assert (said.seg_logits.grad[0] > 0).all() and (said.seg_logits.grad[1] < 0).sum() == 1


def test_a_distractor_teaches_its_mask_and_lowers_its_score():
    answer, distractor = torch.zeros(2, 1, H, W, dtype=torch.bool)
    answer[..., :3] = distractor[..., 5:] = True
    both = torch.cat([answer, distractor])
    said = output(1, layers=1)
    with torch.no_grad():
        said.mask_logits[0, :2] = torch.where(both, 1.0, -1.0)
        said.mask_logits[0, 2:] = -1.0
    targets = [MaskTargets(both, torch.tensor([True, False]))]
    losses = seeded(SegCriterion(CONFIG), said, targets)
    losses.total.backward()
    assert [said.mask_logits.grad[0, query].any().item() for query in range(Q)] == [True, True, False, False]
    assert [grad < 0 for grad in said.seg_logits.grad[0]] == [True, False, False, False]
    # one answer among 4 queries, though 2 masks
    positive = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    expected = F.binary_cross_entropy_with_logits(said.seg_logits, positive, pos_weight=torch.tensor(3.0))
    torch.testing.assert_close(losses.raw["class"], expected)
    # the masks themselves are learned as if both were answers
    as_answers = seeded(SegCriterion(CONFIG), said, [MaskTargets(both)])
    assert losses.raw["mask"] == as_answers.raw["mask"] and losses.raw["dice"] == as_answers.raw["dice"]


def test_ignored_pixels_have_no_gradient():
    ignore = torch.zeros(H, W, dtype=torch.bool)
    ignore[:, :5] = True
    target, said = masks(2, scale=1), output(1, layers=1)
    other = target.clone()
    other[..., :4] = ~other[..., :4]  # not the last ignored column: points beyond it read it too
    criterion = SegCriterion(replace(CONFIG, num_points=200))
    first = seeded(criterion, said, [MaskTargets(target, ignore=ignore)])
    second = seeded(criterion, said, [MaskTargets(other, ignore=ignore)])
    assert first.total == second.total
    first.total.backward()
    assert not said.mask_logits.grad[..., :4].any() and said.mask_logits.grad[..., 5:].any()
    assert seeded(criterion, said, [MaskTargets(target, ignore=torch.ones_like(ignore))]).raw["mask"] == 0


def test_more_masks_than_queries():
    said = output(1)
    losses = SegCriterion(CONFIG)(said, [MaskTargets(masks(Q + 3))])
    losses.total.backward()
    assert all(tensor.grad.isfinite().all() for tensor in tensors(said))
    assert losses.raw["class"] >= 0 and said.mask_logits.grad.flatten(2).any(-1).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    said, targets = output(2), [MaskTargets(masks(1)), MaskTargets(masks(2))]
    half = [tensor.detach().to(dtype) for tensor in tensors(said)]
    single = [tensor.float() for tensor in half]
    with torch.autocast("cpu", torch.bfloat16):
        found = seeded(SegCriterion(CONFIG), SegOutput(*half[:2], aux=(tuple(half[2:]),)), targets)
    expected = seeded(SegCriterion(CONFIG), SegOutput(*single[:2], aux=(tuple(single[2:]),)), targets)
    assert found.total.dtype == torch.float32
    assert found.total == expected.total


def test_text_alone():
    text = torch.randn(2, 11, requires_grad=True)
    losses = SegCriterion(CONFIG)(SegOutput(None, None, text_logits=text), [], torch.tensor([[0, 3, 4]]))
    torch.testing.assert_close(losses.total, F.cross_entropy(text, torch.tensor([3, 4])))
    assert set(losses.raw) == set(losses.parts) == set(PARTS)
    losses.total.backward()
    assert text.grad.any()


def test_masks_with_text_that_is_not_learned():
    said = replace(output(1), text_logits=torch.randn(0, 11, requires_grad=True))
    losses = SegCriterion(CONFIG)(said, [MaskTargets(masks(1))], torch.full((1, 5), IGNORE_LABEL))
    losses.total.backward()
    assert losses.parts["text"] == 0 and said.text_logits.grad is not None


@pytest.mark.parametrize("share", [2.0, 0.5])
def test_losses_are_divided_by_the_counts_of_the_step(share):
    said, targets = output(1, layers=1), [MaskTargets(masks(1))]
    said = replace(said, text_logits=torch.randn(2, 11))
    labels = torch.tensor([[IGNORE_LABEL, 3, 4]])
    criterion = SegCriterion(replace(CONFIG, selection_weight=1.0))
    counts = criterion.count(targets, labels)
    assert counts.tolist() == [1, 1, 1, 1, 2]  # masks, answers, rows, answered rows, tokens
    alone = seeded(criterion, said, targets, labels)
    together = seeded(criterion, said, targets, labels, counts * share)
    for name in ("mask", "dice", "class", "selection", "text"):
        torch.testing.assert_close(together.raw[name], alone.raw[name] / share)
    nothing = seeded(criterion, said, targets, labels, counts * 0)  # a step that has nothing is divided by 1
    assert nothing.total.isfinite()


def test_counts_are_those_of_a_plain_loop():
    answers = torch.tensor([True, False, False])
    targets = [MaskTargets(masks(3), answers), MaskTargets(masks(0)), MaskTargets(masks(2), answers[1:])]
    labels = torch.tensor([[5, IGNORE_LABEL, 6], [7, 8, 9]])
    assert SegCriterion(CONFIG).count(targets, labels).tolist() == [5, 1, 3, 1, 3]
    assert SegCriterion(CONFIG).count([]).tolist() == [0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("said", "targets", "labels", "message"),
    [
        (SegOutput(None, None), [], None, "neither mask logits nor text logits"),
        (
            SegOutput(None, None, text_logits=torch.zeros(0, 11)),
            [MaskTargets(masks(1))],
            None,
            "1 targets for an",
        ),
        (output(2), [MaskTargets(masks(1))], None, "1 targets for 2 rows"),
        (
            output(1),
            [MaskTargets(masks(1))],
            torch.zeros(1, 3, dtype=torch.int64),
            "labels without text logits",
        ),
    ],
)
def test_misfitting_outputs_are_named(said, targets, labels, message):
    with pytest.raises(ValueError, match=message):
        SegCriterion(CONFIG)(said, targets, labels)


def test_defaults_are_the_released_weights_and_paper_the_stated_ones():
    released, paper = CriterionConfig(), CriterionConfig.paper()
    assert (released.class_weight, released.mask_weight, released.dice_weight, released.text_weight) == (
        2,
        5,
        5,
        1,
    )
    assert (paper.class_weight, paper.mask_weight, paper.dice_weight, paper.text_weight) == (1, 1, 1, 1)
    assert released.num_points == paper.num_points == 12544
    assert released.selection_weight == paper.selection_weight == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"class_weight": -1.0}, "class_weight must be a number not below 0, got -1.0"),
        ({"text_weight": float("nan")}, "text_weight must be a number not below 0, got nan"),
        ({"mask_weight": 0.0, "dice_weight": 0.0}, "mask_weight and dice_weight must not both be 0"),
        ({"num_points": 0}, "num_points must be at least 1, got 0"),
        ({"num_points": 10**11}, "num_points times oversample_ratio must be at most 4,194,304"),
        ({"oversample_ratio": 0.5}, "oversample_ratio must be at least 1, got 0.5"),
        ({"importance_sample_ratio": 1.5}, r"importance_sample_ratio must be in \[0, 1\], got 1.5"),
    ],
)
def test_invalid_config_values_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        CriterionConfig(**wrong)
