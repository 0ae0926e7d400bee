"""Output format as query: the numbers of all objects, decoded in parallel (section 3.4 of the paper).

The language model reads ``text, M image tokens, K blocks``. A block holds the format of one object, ``<cls>
<x1> <y1> ...``. Blocks do not see each other, and stand at the same positions: each is decoded as if
it were alone.

Letters: ``B`` rows, ``T`` text tokens, ``M`` image tokens, ``K`` blocks, ``F`` queries of a block, and
``S = T + M + K F``.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from instructseg.systems.visionllm.class_dictionary import OutputFormat

_KINDS = 5  # class; x and y of a box; x and y of a polygon
_WAVES = 4


class FormatQueries(nn.Module):
    """Embeddings of the queries, in ``channels`` of the language model.

    A point is told by its share of the way around the outline, so that one table serves every number of points
    (ours: the paper has a token for each).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kinds = nn.Embedding(_KINDS, channels)
        self.around = nn.Linear(2 * _WAVES, channels)
        nn.init.normal_(self.kinds.weight, std=0.02)

    def forward(self, output: OutputFormat) -> torch.Tensor:
        """``float[F, C]``: the class, then x and y of each corner."""
        axes, device = [1, 2] if output.points is None else [3, 4], self.kinds.weight.device
        kinds = torch.tensor([0, *axes * output.corners], device=device)
        turn = torch.arange(output.corners, device=device).repeat_interleave(2) / output.corners
        angles = 2 * math.pi * turn[:, None] * torch.arange(1, _WAVES + 1, device=device)
        waves = self.around(torch.cat([angles.sin(), angles.cos()], dim=1).to(self.around.weight.dtype))
        return self.kinds(kinds) + torch.cat([torch.zeros_like(waves[:1]), waves])


def bound_names(rows: torch.Tensor, classes: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the class tokens of a prompt stand for: the sum of the three embeddings before each, its name.

    It is added to the class token's own embedding, and an image token's likeness to it to the class's logit:
    a small model binds a class to a token without learning to look back first (ours).

    Args:
        rows: ``float[B, T, C]``, embeddings of the prompt.
        classes: ``int64[B, T]``, numbers of class tokens; outside of 0..count-1 for other tokens.
        count: number of class tokens.

    Returns:
        Places ``float[B, T, count]``, 0 or 1, and names ``float[B, count, C]``, zero for a class not asked.
    """
    spots = nn.functional.one_hot(classes.clamp(-1, count) + 1, count + 2)[..., 1:-1].to(rows.dtype)
    before = [nn.functional.pad(rows, (0, 0, step, 0))[:, : rows.shape[1]] for step in (1, 2, 3)]
    return spots, spots.mT @ torch.stack(before).sum(0)


def attention_mask(text: torch.Tensor, tokens: torch.Tensor, count: int, length: int) -> torch.Tensor:
    """What each position of the language model sees.

    Text sees the text before it; an image token sees the text and all image tokens; a query sees the text, the
    image token of its block, and its block up to itself.

    Args:
        text: ``bool[B, T]``, true where there is a token.
        tokens: ``int64[B, K]``, the image token of each block.
        count: M.
        length: F.

    Returns:
        ``bool[B, 1, S, S]``, true where row sees column.
    """
    (rows, words), blocks = text.shape, tokens.shape[1]
    size = words + count + blocks * length
    mask = torch.zeros(rows, size, size, dtype=torch.bool, device=text.device)
    mask[:, :, :words] = text[:, None]
    mask[:, :words, :words] &= torch.ones(words, words, dtype=torch.bool, device=text.device).tril()
    images, queries = slice(words, words + count), slice(words + count, size)
    mask[:, images, images] = True
    own = tokens[..., None] == torch.arange(count, device=text.device)  # (B, K, M)
    mask[:, queries, images] = own.repeat_interleave(length, dim=1)
    block = torch.ones(length, length, dtype=torch.bool, device=text.device).tril()
    mask[:, queries, queries] = torch.block_diag(*[block] * blocks)
    mask.diagonal(dim1=1, dim2=2).fill_(True)  # padding sees itself: no row of a softmax is empty
    return mask[:, None]


def positions(text: torch.Tensor, count: int, blocks: int, length: int) -> torch.Tensor:
    """Positions ``int64[B, S]``: image tokens are a set, all at one; blocks start after them, all alike."""
    words = (text.cumsum(1) - 1).clamp(min=0)
    end = text.sum(1, keepdim=True)
    queries = torch.arange(1, length + 1, device=text.device).repeat(blocks)
    return torch.cat([words, end.expand(-1, count), end + queries], dim=1)
