"""The lesson of reading: the language side learns which thing an instruction means, from scenes given as codes.

No picture is encoded: patches carry the codes that the SigLIP side learns to say (``PatchLesson``), and the
classifier that comes out is compared with the codes of the scene's things, which the mask branch learns to say
(``MaskLesson``). A step costs a fraction of one with pictures, and what is to be understood is given exactly.
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn import functional as F

from instructseg.curriculum.codes import CODE_DIM, FIELDS, PATCH_DIM
from instructseg.curriculum.pages import Pages
from instructseg.curriculum.seeing import LessonOutput
from instructseg.model import InstructSeg, fusion
from instructseg.structures import IGNORE_LABEL, Role

NOISE = 0.1
"""Standard deviation of what is added to codes: real encoders are not exact."""
HIDDEN = 0.4
"""Chance that a field of all things of a row is hidden, so that the place is said, too."""
_VISUAL_TOKENS = 80


class ReadingLesson(nn.Module):
    """Projector, OVP, language model and VMTF on :class:`Pages`.

    Args:
        model: to be taught; its encoders and decoders do not run.
        patches: of a frame that are read; those of things come first, the background's by chance. Fewer are
            faster, all are what is met later.
    """

    def __init__(self, model: InstructSeg, patches: int) -> None:
        super().__init__()
        if model.config.vmtf_mode == "off":
            raise ValueError("vmtf_mode is off: the lesson of reading needs the fusion's classifier")
        self.model, self.patches = model, min(patches, model.config.num_image_tokens)
        dim = model.config.text_config.hidden_size
        self.slot_head = nn.Linear(dim, CODE_DIM)
        self.motion_head = nn.Linear(dim, 2)

    def forward(self, batch: Pages, aux: bool = True) -> LessonOutput:
        """Losses of a batch."""
        model = self.model
        codes = batch.patches + NOISE * torch.randn_like(batch.patches)
        order = (batch.patches[..., 0] > 0) + 0.9 * torch.rand(codes.shape[:3], device=codes.device)
        which = order.topk(self.patches, dim=-1).indices.sort(-1).values  # (F, 1 + R, patches)
        codes = codes.gather(2, which[..., None].expand(-1, -1, -1, PATCH_DIM))
        tokens = model.projector(F.pad(codes, (0, model.config.vision_config.hidden_size - PATCH_DIM)))
        losses: dict[str, torch.Tensor] = {}
        temporal = self._perceive(batch, tokens, losses)
        index, real = self._kept(batch, which)
        roles = torch.where(real, batch.roles.gather(1, index), int(Role.PAD))
        labels = torch.where(real, batch.labels.gather(1, index), IGNORE_LABEL)
        embeds = model.embed(batch.input_ids.gather(1, index), roles, tokens[batch.picture, 0], temporal)
        hidden = model.language.model(
            inputs_embeds=embeds, attention_mask=real, position_ids=index, use_cache=False
        ).last_hidden_state
        hits = self._select(batch, hidden, roles, losses)
        if batch.shown.shape[1] > 1:
            losses["motion"] = self._motion(batch, hidden, roles, which)
        learned = labels[:, 1:] != IGNORE_LABEL
        if learned.any():
            logits = model.language.lm_head(hidden[:, :-1][learned])
            losses["text"] = F.cross_entropy(logits, labels[:, 1:][learned])
        return LessonOutput(losses, hits)

    def _perceive(
        self, batch: Pages, tokens: torch.Tensor, losses: dict[str, torch.Tensor]
    ) -> torch.Tensor | None:
        """OVP tokens of all references; of clips, each thing of a frame is to be said by one of them."""
        rows = (batch.roles == Role.TEMPORAL).any(1)
        if not rows.any() or self.model.ovp is None:
            return None
        text, text_mask = self.model.embed_text(batch.input_ids[rows], batch.roles[rows])
        picture, references = batch.picture[rows], tokens.shape[1] - 1
        temporal = self.model.perceive(
            tokens[picture, 1:].flatten(0, 1),
            text.repeat_interleave(references, 0),
            text_mask.repeat_interleave(references, 0),
        )
        if references > 1:
            wanted, real = batch.shown[picture].flatten(0, 1), batch.in_sight[picture].flatten(0, 1)
            losses["slots"] = 0.1 * slot_loss(self.slot_head(temporal), wanted, real)
        return temporal.reshape(-1, temporal.shape[-1])

    def _kept(self, batch: Pages, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions that are read ``int64[B, L']`` and which of them are real: the chosen patches, and of what
        stands behind an instruction only a reply that is learned."""
        roles, places = batch.roles, torch.arange(batch.roles.shape[1], device=batch.roles.device)
        kept = (roles != Role.PAD) & (roles != Role.IMAGE)
        asked = (roles == Role.MASK).any(1, keepdim=True)
        last = torch.where(roles == Role.REFER, places, -1).max(1, keepdim=True).values
        kept &= ~asked | (places <= last)
        first = (roles == Role.IMAGE).float().argmax(1, keepdim=True)
        kept.scatter_(1, first + which[batch.picture, 0], True)
        index = (~kept).to(torch.int8).argsort(dim=1, stable=True)[:, : int(kept.sum(1).max())]
        return index, kept.gather(1, index)

    def _select(
        self, batch: Pages, hidden: torch.Tensor, roles: torch.Tensor, losses: dict[str, torch.Tensor]
    ) -> dict[str, float]:
        """The classifier against the codes of all things; returns the share of right choices by kind."""
        rows = (roles == Role.REFER).any(1)
        if not rows.any():
            return {}
        text, text_mask = fusion.take(hidden[rows], roles[rows], Role.REFER)
        visual = torch.randn(len(text), _VISUAL_TOKENS, self.model.config.vmtf_dim, device=text.device)
        classifier = self.model.vmtf(text, text_mask, visual)[:, :CODE_DIM]
        picture, answers = batch.picture[rows], batch.answers[rows]
        real = batch.real[picture]
        scores = torch.einsum("bnc,bc->bn", blurred(batch.things[picture]), classifier)
        scores = scores.masked_fill(~real, -1e4)
        some = answers.sum(1) > 0
        right = (answers * scores.log_softmax(1)).sum(1) / answers.sum(1).clamp(min=1)
        losses["select"] = -right.sum() / some.sum().clamp(min=1)
        each = F.binary_cross_entropy_with_logits(scores, answers, reduction="none") * real * (1 + answers)
        losses["score"] = 0.5 * each.sum(1).mean()
        hit = answers.gather(1, scores.argmax(1, keepdim=True))[:, 0]
        hits = torch.where(some, hit, (scores.max(1).values < 0).float()).tolist()
        kinds = [kind for kind, row in zip(batch.kinds, rows.tolist(), strict=True) if row]
        found: dict[str, list[float]] = {}
        for kind, one in zip(kinds, hits, strict=True):
            found.setdefault(kind, []).append(one)
        return {kind: sum(ones) / len(ones) for kind, ones in found.items()}

    def _motion(
        self, batch: Pages, hidden: torch.Tensor, roles: torch.Tensor, which: torch.Tensor
    ) -> torch.Tensor:
        """The hidden states of the key frame's patches are to say how the thing under them moves."""
        rows = (roles == Role.TEMPORAL).any(1)
        picture = batch.picture[rows]
        index = which[picture, 0][..., None].expand(-1, -1, 2)
        wanted = 4 * batch.velocity[picture].gather(1, index)
        said = self.motion_head(hidden[rows][roles[rows] == Role.IMAGE]).reshape(wanted.shape)
        return 3.0 * (said - wanted).abs().mean()


def blurred(things: torch.Tensor) -> torch.Tensor:
    """Codes ``float[B, N, CODE_DIM]`` with noise, and with fields hidden by chance, row by row."""
    things = things + NOISE * torch.randn_like(things)
    for name in ("colour", "shape", "size", "texture", "radius"):
        shown = torch.rand(len(things), 1, 1, device=things.device) >= HIDDEN
        things[..., FIELDS[name]] = things[..., FIELDS[name]] * shown
    return things


def slot_loss(said: torch.Tensor, wanted: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Squared error of the cheapest assignment of perceiver tokens to things.

    Args:
        said: ``float[N, K, CODE_DIM]``.
        wanted: ``float[N, M, CODE_DIM]``.
        real: ``bool[N, M]``.
    """
    cost = torch.cdist(said, wanted).detach().cpu().numpy()
    rows, tokens, things = [], [], []
    for row, there in enumerate(real.cpu().numpy()):
        known = there.nonzero()[0]
        token, thing = linear_sum_assignment(cost[row][:, known])
        rows += [row] * len(token)
        tokens += token.tolist()
        things += known[thing].tolist()
    if not rows:
        return said.sum() * 0
    return (said[rows, tokens] - wanted[rows, things]).square().sum(-1).mean()
