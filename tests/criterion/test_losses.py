from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from instructseg.criterion.losses import class_loss, dice_loss, mask_loss, selection_loss, text_loss
from instructseg.structures import IGNORE_LABEL

ONE = torch.tensor(1.0)


def test_mask_losses_as_transformers():
    from transformers.models.mask2former import modeling_mask2former as mask2former

    logits, labels = 5 * torch.randn(4, 30), torch.rand(4, 30)
    everywhere, num_masks = torch.ones(4, 30), torch.tensor(3.0)
    ours = mask_loss(logits, labels, everywhere, num_masks)
    torch.testing.assert_close(ours, mask2former.sigmoid_cross_entropy_loss(logits, labels, 3))
    ours = dice_loss(logits, labels, everywhere, num_masks)
    torch.testing.assert_close(ours, mask2former.dice_loss(logits, labels, 3))


@pytest.mark.parametrize("loss", [mask_loss, dice_loss])
def test_points_of_weight_0_are_as_if_absent(loss):
    logits, labels = torch.randn(4, 30, requires_grad=True), torch.rand(4, 30)
    weights = torch.ones(4, 30)
    weights[:, 20:] = 0
    value = loss(logits, labels, weights, ONE)
    torch.testing.assert_close(value, loss(logits[:, :20], labels[:, :20], weights[:, :20], ONE))
    value.backward()
    assert logits.grad[:, :20].all() and not logits.grad[:, 20:].any()
    assert loss(logits, labels, torch.zeros(4, 30), ONE) == 0


@pytest.mark.parametrize("loss", [mask_loss, dice_loss])
def test_mask_gradients(loss):
    logits = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    labels, weights = torch.rand_like(logits), (torch.rand_like(logits) > 0.3).double()
    assert torch.autograd.gradcheck(lambda x: loss(x, labels, weights, torch.tensor(2.0)), logits)


def test_class_loss_by_hand():
    scores = torch.tensor([[2.0, -1.0, 0.5, 0.0]])
    positive = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    softplus = [3 * F.softplus(-scores[0, 0]), *(F.softplus(score) for score in scores[0, 1:])]
    torch.testing.assert_close(class_loss(scores, positive, ONE, 4 * ONE), sum(softplus) / 4)


def test_class_loss_without_positives_pulls_all_scores_down():
    scores = torch.randn(2, 4, requires_grad=True)
    loss = class_loss(scores, torch.zeros(2, 4), ONE, 8 * ONE)
    torch.testing.assert_close(loss, F.softplus(scores).mean())
    loss.backward()
    assert (scores.grad > 0).all()


def test_class_loss_is_never_negative():
    # 9 answers announced for 4 queries
    assert class_loss(torch.full((1, 4), 3.0), torch.ones(1, 4), torch.tensor(9.0), 4 * ONE) >= 0


def test_selection_loss_by_hand():
    scores = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0], [5.0, 5.0, 5.0]])
    positive = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    rows = scores.log_softmax(1)
    expected = -((rows[0, 0] + rows[0, 2]) / 2 + rows[1, 1]) / 2
    torch.testing.assert_close(selection_loss(scores, positive, 2 * ONE), expected)
    theirs = F.cross_entropy(scores[:2], positive[:2] / positive[:2].sum(1, keepdim=True))
    torch.testing.assert_close(selection_loss(scores, positive, 2 * ONE), theirs)


def test_selection_loss_without_answers():
    scores = torch.randn(2, 3, requires_grad=True)
    loss = selection_loss(scores, torch.zeros(2, 3), ONE)
    loss.backward()
    assert loss == 0 and not scores.grad.any()


def test_text_loss_is_that_of_the_next_token():
    vocabulary, labels = 11, torch.randint(0, 11, (3, 7))
    labels[0, :4] = labels[1, 2] = labels[2] = IGNORE_LABEL
    logits = torch.randn(3, 7, vocabulary)
    learned = labels[:, 1:] != IGNORE_LABEL
    theirs = F.cross_entropy(logits[:, :-1].reshape(-1, vocabulary), labels[:, 1:].reshape(-1))
    torch.testing.assert_close(text_loss(logits[:, :-1][learned], labels, learned.sum()), theirs)
    assert text_loss(logits[:, :-1][learned].bfloat16(), labels, ONE).dtype == torch.float32


def test_text_loss_of_no_token_is_0_with_a_graph():
    logits = torch.randn(0, 11, requires_grad=True)
    loss = text_loss(logits, torch.full((2, 5), IGNORE_LABEL), ONE)
    loss.backward()
    assert loss == 0 and logits.grad.shape == (0, 11)


def test_text_loss_names_numbers_that_differ():
    labels = torch.tensor([[5, IGNORE_LABEL, 6, 7]])
    with pytest.raises(ValueError, match="3 rows of text logits for 2 learned labels"):
        text_loss(torch.randn(3, 11), labels, ONE)
