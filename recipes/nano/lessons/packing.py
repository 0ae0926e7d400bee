"""Several instructions on one image as one sequence; their common start is read once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from instructseg.structures import Role


@dataclass(frozen=True, eq=False)
class Packing:
    """Layout of B rows of length L in G sequences of length M: a common start, then each row's rest.

    Attributes:
        group: ``int64[B]``, the sequence of each row.
        leader: ``bool[B]``, one row of each sequence, drawn by chance: the start is its.
        where: ``int64[B, L]``, places in the sequence; 0 on padding.
        written: ``bool[B, L]``, which of the rows' positions make the sequences.
        positions: ``int64[G, M]`` of the rotary embedding.
        mask: ``bool[G, 1, M, M]``, what each place looks at: the start and its own row, up to itself.
    """

    group: torch.Tensor
    leader: torch.Tensor
    where: torch.Tensor
    written: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor

    def sequences(self, rows: torch.Tensor) -> torch.Tensor:
        """``float[B, L, D]`` to ``float[G, M, D]``."""
        flat = rows.new_zeros(self.positions.numel(), rows.shape[-1])
        return flat.index_copy(0, self._flat()[self.written], rows[self.written]).unflatten(
            0, self.positions.shape
        )

    def rows(self, sequences: torch.Tensor) -> torch.Tensor:
        """``float[G, M, D]`` to ``float[B, L, D]``."""
        return sequences.flatten(0, 1)[self._flat()]

    def _flat(self) -> torch.Tensor:
        return self.group[:, None] * self.positions.shape[1] + self.where


def pack(
    ids: torch.Tensor, roles: torch.Tensor, real: torch.Tensor, positions: torch.Tensor, image: torch.Tensor
) -> Packing:
    """Rows on one image with equal starts, up to the end of the image, share a sequence.

    Args:
        ids: ``int64[B, L]``, 0 where an embedding is filled in.
        roles: ``int64[B, L]``; every row shows an image.
        real: ``bool[B, L]``, false on padding, which stands behind.
        positions: ``int64[B, L]`` of the rotary embedding.
        image: ``int64[B]``.
    """
    places = torch.arange(ids.shape[1], device=ids.device)
    ends = torch.where(roles == Role.IMAGE, places, -1).max(1).values + 1
    members: dict[tuple[int, bytes, bytes], list[int]] = {}
    for row, end in enumerate(ends.tolist()):
        start = (ids[row, :end].cpu().numpy().tobytes(), roles[row, :end].cpu().numpy().tobytes())
        members.setdefault((int(image[row]), *start), []).append(row)
    group, offset = torch.zeros_like(ends), torch.zeros_like(ends)
    leader, size = torch.zeros(len(ids), dtype=torch.bool, device=ids.device), 0
    rests = real.sum(1) - ends
    for number, rows in enumerate(members.values()):
        group[rows] = number
        leader[rows[int(torch.randint(len(rows), ()))]] = True
        offset[rows] = rests[rows].cumsum(0) - rests[rows]
        size = max(size, int(ends[rows[0]] + rests[rows].sum()))
    shared = places < ends[:, None]
    where = torch.where(real, places + ~shared * offset[:, None], 0)
    written = real & (~shared | leader[:, None])
    index = group[:, None].expand_as(where)[written], where[written]
    owner = torch.full((len(members), size), -1, device=ids.device)
    owner[index] = torch.where(shared, 0, torch.arange(1, len(ids) + 1, device=ids.device)[:, None])[written]
    at = torch.zeros_like(owner)
    at[index] = positions[written]
    seen = (owner[:, None] == 0) | (owner[:, None] == owner[..., None])  # [g, q, k]
    mask = (seen & (owner[:, None] >= 0)).tril() | torch.eye(size, dtype=torch.bool, device=ids.device)
    return Packing(group, leader, where, written, at, mask[:, None])
