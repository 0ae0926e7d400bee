"""Guidance of attention in the lesson of reading, which trial and error does not find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F

from instructseg.structures import IGNORE_LABEL, Role
from recipes.nano.lessons.attention import log_attention
from recipes.nano.lessons.pages import Pages
from recipes.nano.lessons.standing import STILL_DIM, TRAVEL_DIM


@dataclass(frozen=True, eq=False)
class Read:
    """A batch as the language model read it.

    Attributes:
        roles: ``int64[B, L]`` of the positions that were read.
        positions: ``int64[B, L]``, where they stand in the whole sequence.
        hidden: ``float[B, L, D]``, last states.
        middle: ``float[B, L, D]``, those at patches that are to say what is true of objects.
        late: ``float[B, L, D]``, those in front of the layer that looks at what is meant.
        normed: of watched layers, see :func:`watched`.
        under: ``int64[B, P]``, the object under each patch that was read, -1 for none.
        leads: ``bool[B]``, one row of each image that has perceiver tokens.
    """

    roles: torch.Tensor
    positions: torch.Tensor
    hidden: torch.Tensor
    middle: torch.Tensor
    late: torch.Tensor
    normed: dict[int, torch.Tensor]
    under: torch.Tensor
    leads: torch.Tensor


def ends(roles: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """``int64[B]``: the end of each instruction; of a question the position before the reply."""
    places = torch.arange(labels.shape[1], device=labels.device)
    last = torch.where(roles == Role.REFER, places, -1).max(1).values
    learned = labels != IGNORE_LABEL
    before = torch.where(learned.any(1), learned.float().argmax(1) - 1, 0)
    return torch.where(last < 0, before, last)


def point(phi: Any, batch: Pages, read: Read, last: torch.Tensor, layers: tuple[int, int]) -> torch.Tensor:
    """At the end of an instruction half of the heads are to look at the patches of what is meant. In an earlier
    layer they look at what a question is about, and from whichever token of an instruction comes closest, at
    what a relation names.

    Before the reply to a question, and where nothing is meant, they are to look at each object alike, and as
    much at the first token: what falls to it tells how many there are.

    Args:
        phi: the language model without its head.
        last: ``int64[B]`` of :func:`ends`.
        layers: the earlier layer and the later one.
    """
    total = read.hidden.new_zeros(())
    asks = ~(read.roles == Role.REFER).any(1)
    under = F.one_hot(read.under + 1, batch.answers.shape[1] + 1)[..., 1:].float()  # (B, P, N + 1)
    for layer, objects, counted, asking in (
        (layers[0], torch.where(asks[:, None], batch.answers, batch.anchors), asks, _words(read, last)),
        (layers[1], batch.answers, asks | ~batch.answers.any(1), last[:, None]),
    ):
        weights = _attended(phi, read, layer, slice(None), asking)
        weights = weights[:, : max(1, weights.shape[1] // 2)].exp().mean(1)  # (B, T, L)
        on_patches = weights.transpose(1, 2)[read.roles == Role.IMAGE].unflatten(0, read.under.shape)
        on_objects = torch.einsum("bpt,bpn->btn", on_patches, under)
        meant = (objects > 0) & under.any(1)
        closest = (on_objects * meant[:, None]).sum(-1).argmax(1)
        rows = torch.arange(len(closest), device=closest.device)
        off = missed(on_objects[rows, closest], weights[rows, closest, 0], meant, counted)
        if len(off):
            total = total + off.mean()
    return total


def _words(read: Read, last: torch.Tensor) -> torch.Tensor:
    """``int64[B, T]``, the places of an instruction's tokens; of a question, and as filling, the end."""
    said = read.roles == Role.REFER
    places = (~said).to(torch.int8).argsort(dim=1, stable=True)[:, : max(1, int(said.sum(1).max()))]
    return torch.where(said.gather(1, places), places, last[:, None])


def missed(
    on_objects: torch.Tensor, on_first: torch.Tensor, meant: torch.Tensor, counted: torch.Tensor
) -> torch.Tensor:
    """Distance of attention from the target objects.

    Args:
        on_objects: ``float[B, N]``, shares of the attention.
        on_first: ``float[B]``, the share of the first token, which says nothing.
        meant: ``bool[B, N]``.
        counted: ``bool[B]``: each object is to get as much as the first token. Of other rows the objects may
            share as they like, and those that mean nothing are left out.

    Returns:
        ``float[M]``, negative logarithms of the rows that are not left out.
    """
    logs = torch.where(meant, on_objects.clamp(min=1e-6).log(), 0)
    each = (logs.sum(1) + on_first.clamp(min=1e-6).log()) / (1 + meant.sum(1))
    together = (on_objects * meant).sum(1).clamp(min=1e-6).log()
    return -torch.where(counted, each, together)[counted | meant.any(1)]


def look(
    phi: Any, batch: Pages, read: Read, slots: torch.Tensor, layers: Sequence[int]
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Attention from objects to the tokens that name them: losses by name, and shares that are right.

    With one head for each of what is listed:

    * the first layer, from an object's token in the last reference: at the same thing in each reference before;
      from its patches in the key frame: at others of its shape, and of its colour;
    * the second, from its patches: at the same thing in each reference;
    * the third, from its patches: at those before it in an order, see ``ORDERS`` in
      :mod:`~recipes.nano.lessons.standing`.

    Args:
        phi: the language model without its head.
        slots: ``int64[B', R, N]``, which token of a reference says each object, of the rows ``read.leads``.
        layers: numbers of the three.
    """
    losses: dict[str, torch.Tensor] = {}
    figures: dict[str, float] = {}
    rows = read.leads
    roles, under, image = read.roles[rows], read.under[rows], batch.image[rows]
    tokens = (roles == Role.TEMPORAL).nonzero()[:, 1].reshape(*slots.shape[:2], -1)  # (B', R, K)
    saying = tokens.gather(2, slots.clamp(min=0))  # (B', R, N)
    patches = (roles == Role.IMAGE).nonzero()[:, 1].reshape(under.shape)
    weights = {layer: _attended(phi, read, layer, rows, patches) for layer in layers}
    for name, layer, others in (("kin", layers[0], batch.kin), ("order", layers[2], batch.orders)):
        wanted = others[image] & (slots[:, -1:, None] >= 0)
        losses[name] = 0.3 * gather_around(weights[layer], saying[:, -1], wanted, under)
    if slots.shape[1] == 1:
        return losses, figures
    objects = under.clamp(min=0)[:, None].expand(-1, slots.shape[1], -1)  # (B', R, P)
    in_both = (slots >= 0) & (slots[:, -1:] >= 0)
    seen = (slots.gather(2, objects) >= 0) & (under >= 0)[:, None]
    traced = _attended(phi, read, layers[0], rows, saying[:, -1])
    for name, shares, where, known in (
        ("trace", traced, saying[:, :-1], in_both[:, :-1]),
        ("look", weights[layers[1]], saying.gather(2, objects), seen),
    ):
        heads = min(shares.shape[1], where.shape[1])
        there = shares[:, :heads].gather(3, where[:, :heads, :, None])[..., 0][known[:, :heads]]
        losses[name] = -0.5 * there.sum() / max(1, len(there))
        figures[f"{name}s right"] = there.exp().sum().item() / max(1, len(there))
    return losses, figures


def _attended(
    phi: Any, read: Read, layer: int, rows: torch.Tensor | slice, asking: torch.Tensor
) -> torch.Tensor:
    return log_attention(phi, layer, read.normed[layer][rows], read.positions[rows], asking)


def gather_around(
    weights: torch.Tensor, saying: torch.Tensor, wanted: torch.Tensor, under: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of attention spread evenly over some objects and the first token.

    The share of the first token, which says nothing, tells how many there are.

    Args:
        weights: ``float[B, >= heads, P, L]``, logarithms.
        saying: ``int64[B, N]``, where the objects are said.
        wanted: ``bool[B, heads, N, N]``: ``[h, i, j]`` says whether ``j`` is to be looked at from ``i``.
        under: ``int64[B, P]``, the object that is looked from; -1 for none.
    """
    heads, patches = min(wanted.shape[1], weights.shape[1]), under.shape[1]
    weights, wanted = weights[:, :heads], wanted[:, :heads]
    from_thing = under.clamp(min=0)[:, None, :, None].expand(-1, heads, -1, wanted.shape[-1])
    chosen = wanted.gather(2, from_thing)  # (B, heads, P, N)
    at = weights.gather(3, saying[:, None, None].expand(-1, heads, patches, -1))
    off = -(torch.where(chosen, at, 0).sum(3) + weights[..., 0]) / (chosen.sum(3) + 1)
    known = (under >= 0)[:, None].expand(-1, heads, -1)
    return off[known].sum() / known.sum().clamp(min=1)


def weighed(batch: Pages, off: torch.Tensor) -> torch.Tensor:
    """Of errors ``float[M, STANDING_DIM]``; those about motion count for videos alone, and those of the
    travel itself as much as all the rest."""
    if not len(off):
        return off.sum()
    parts = [off[:, :STILL_DIM]]
    if batch.shown.shape[1] > 1:
        parts += [off[:, STILL_DIM:-TRAVEL_DIM], off[:, -TRAVEL_DIM:]]
    return 1.5 * torch.stack([part.mean() for part in parts]).sum()


def assign(said: torch.Tensor, wanted: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The cheapest assignment of perceiver tokens to objects, by squared distance.

    Args:
        said: ``float[N, K, CODE_DIM]``.
        wanted: ``float[N, M, CODE_DIM]``.
        real: ``bool[N, M]``.

    Returns:
        ``int64[N, M]``, the token of each object; -1 where it is not real, or where there are too few tokens.
    """
    cost = torch.cdist(said, wanted).square().detach().cpu().numpy()
    found = torch.full(real.shape, -1)
    for row, there in enumerate(real.cpu().numpy()):
        known = there.nonzero()[0]
        token, obj = linear_sum_assignment(cost[row][:, known])
        found[row, known[obj]] = torch.from_numpy(token)
    return found.to(said.device)
