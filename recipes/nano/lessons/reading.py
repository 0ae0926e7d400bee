"""Lesson of reading: the language side learns the target of an instruction, from scenes given as codes.

Patches carry the codes that the SigLIP side learns to say (``PatchLesson``), and the classifier that comes out
is compared with the codes of the scene's objects, which the mask branch learns to say (``MaskLesson``). A step
costs a fraction of one with images, and what is to be understood is given exactly. Later the SigLIP side says
the codes itself, of images, with the errors that it makes.

What is hard to find by trial is shown (:mod:`~recipes.nano.lessons.guidance`): three layers of the language
model are taught where to look, later states say what is true of an object among the others
(:mod:`~recipes.nano.lessons.standing`), and behind the instruction a layer looks at what is meant.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from instructseg.model import InstructSeg, fusion
from instructseg.structures import IGNORE_LABEL, Role
from recipes.lesson import LessonOutput
from recipes.nano.lessons.attention import entered, watched
from recipes.nano.lessons.codes import CODE_DIM, FIELDS, PATCH_DIM
from recipes.nano.lessons.guidance import Read, assign, ends, look, point, weighed
from recipes.nano.lessons.packing import Packing, pack
from recipes.nano.lessons.pages import Pages
from recipes.nano.lessons.standing import STANDING_DIM

NOISE = 0.1
"""Standard deviation of what is added to codes: real encoders are not exact."""
HIDDEN = 0.25
"""Chance that a field of all objects of a row is hidden, so that the place is said, too."""
LOOKS = (1, 2, 3)
"""Numbers of the layers that are taught where to look."""
_VISUAL_TOKENS = 80


class ReadingLesson(nn.Module):
    """Projector, OVP, language model and VMTF on :class:`Pages`.

    Args:
        model: to be taught; its encoders and decoders do not run.
        patches: of a frame that are read; those of objects come first, the background's by chance. Fewer are
            faster, all are what is met later.
        guided: whether perceiver tokens, looks and standings are taught, too; the heads that do it begin at
            random, and would disturb a model that knows them already.
    """

    def __init__(self, model: InstructSeg, patches: int, guided: bool = True) -> None:
        super().__init__()
        if model.config.vmtf_mode == "off":
            raise ValueError("vmtf_mode is off: the lesson of reading needs the fusion's classifier")
        self.model, self.patches = model, min(patches, model.config.num_image_tokens)
        self.guided = guided
        dim, layers = model.config.text_config.hidden_size, model.config.text_config.num_hidden_layers
        self.looks = tuple(min(layer, layers - 1) for layer in LOOKS)
        self.says = min(LOOKS[-1] + 1, layers - 1)
        """Number of the layer that takes the states which say what is true of objects."""
        self.points = max(self.says, layers - 2)
        """Number of the layer that looks at what is meant."""
        self.slot_head = nn.Linear(dim, CODE_DIM)
        self.standing_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, STANDING_DIM))

    def forward(self, batch: Pages, aux: bool = True) -> LessonOutput:
        """Losses of a batch."""
        model = self.model
        codes = self._codes(batch)
        order = (batch.patches[..., 0] > 0) + 0.9 * torch.rand(codes.shape[:3], device=codes.device)
        which = order.topk(self.patches, dim=-1).indices.sort(-1).values  # (F, 1 + R, patches)
        tokens = model.projector(codes.gather(2, which[..., None].expand(-1, -1, -1, codes.shape[-1])))
        losses: dict[str, torch.Tensor] = {}
        index, real = self._kept(batch, which)
        labels = torch.where(real, batch.labels.gather(1, index), IGNORE_LABEL)
        roles = torch.where(real, batch.roles.gather(1, index), int(Role.PAD))
        packing = pack(batch.input_ids.gather(1, index), roles, real, index, batch.image)
        temporal, slots = self._perceive(batch, tokens, packing, losses)
        read = self._read(batch, index, roles, which, tokens, packing, temporal)
        figures = self._select(batch, read, losses)
        last = ends(read.roles, labels)
        losses["point"] = point(model.language.model, batch, read, last, (self.says, self.points))
        if self.guided:
            losses["asked"] = self._asked(batch, read, last)
        if slots is not None:
            losses["standing"] = self._standing(batch, read)
            looking, right = look(model.language.model, batch, read, slots, self.looks)
            losses |= looking
            figures |= right
        learned = labels[:, 1:] != IGNORE_LABEL
        if learned.any():
            logits, wanted = model.language.logits(read.hidden[:, :-1][learned]), labels[:, 1:][learned]
            losses["text"] = 1.5 * F.cross_entropy(logits, wanted)
            figures["replies"] = (logits.argmax(-1) == wanted).float().mean().item()
        return LessonOutput(losses, figures)

    def _codes(self, batch: Pages) -> torch.Tensor:
        """Output of the SigLIP side for each patch, or its target, ``float[F, 1 + R, P, D]``."""
        if batch.pixels is not None:
            return self.model.vision(batch.pixels.flatten(0, 1)).unflatten(0, batch.pixels.shape[:2])
        noisy = batch.patches + NOISE * torch.randn_like(batch.patches)
        return F.pad(noisy, (0, self.model.config.vision_config.hidden_size - PATCH_DIM))

    def _perceive(
        self, batch: Pages, tokens: torch.Tensor, packing: Packing, losses: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """OVP tokens of all rows with references, ``float[N, D]``, guided by the text of each one's leader; and
        which token of a frame is to say each object, ``int64[B', R, N]`` (-1 out of sight), of the leaders."""
        has_references = (batch.roles == Role.TEMPORAL).any(1)
        rows = has_references & packing.leader
        if not rows.any() or self.model.ovp is None:
            return None, None
        text, text_mask = self.model.embed_text(batch.input_ids[rows], batch.roles[rows])
        image, references = batch.image[rows], tokens.shape[1] - 1
        temporal = self.model.perceive(
            tokens[image, 1:].flatten(0, 1),
            text.repeat_interleave(references, 0),
            text_mask.repeat_interleave(references, 0),
        )
        slots = self._slots(batch, image, temporal, losses) if self.guided else None
        number = torch.zeros_like(packing.group)
        number[packing.group[rows]] = torch.arange(len(image), device=number.device)
        temporal = temporal.reshape(len(image), -1, temporal.shape[-1])[number[packing.group[has_references]]]
        return temporal.flatten(0, 1), None if slots is None else slots.unflatten(0, (-1, references))

    def _slots(
        self, batch: Pages, image: torch.Tensor, temporal: torch.Tensor, losses: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """Best-fitting token of each object in sight, ``int64[F * R, N]``."""
        wanted, real = batch.shown[image].flatten(0, 1), batch.in_sight[image].flatten(0, 1)
        said = self.slot_head(temporal)
        slots = assign(said, wanted, real)
        row, obj = (slots >= 0).nonzero(as_tuple=True)
        off = (said[row, slots[row, obj]] - wanted[row, obj]).square().sum(-1)
        losses["slots"] = 0.1 * off.sum() / max(1, len(off))
        return slots

    def _kept(self, batch: Pages, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions that are read ``int64[B, L']`` and which of them are real: the chosen patches, and of what
        stands behind an instruction only a reply that is learned."""
        roles, places = batch.roles, torch.arange(batch.roles.shape[1], device=batch.roles.device)
        kept = (roles != Role.PAD) & (roles != Role.IMAGE)
        asked = (roles == Role.MASK).any(1, keepdim=True)
        last = torch.where(roles == Role.REFER, places, -1).max(1, keepdim=True).values
        kept &= ~asked | (places <= last)
        first = (roles == Role.IMAGE).float().argmax(1, keepdim=True)
        kept.scatter_(1, first + which[batch.image, 0], True)
        index = (~kept).to(torch.int8).argsort(dim=1, stable=True)[:, : int(kept.sum(1).max())]
        return index, kept.gather(1, index)

    def _read(
        self,
        batch: Pages,
        index: torch.Tensor,
        roles: torch.Tensor,
        which: torch.Tensor,
        tokens: torch.Tensor,
        packing: Packing,
        temporal: torch.Tensor | None,
    ) -> Read:
        """Pass of the language model; the common start of instructions on an image is read once."""
        embeds = self.model.embed(batch.input_ids.gather(1, index), roles, tokens[batch.image, 0], temporal)
        phi = self.model.language.model
        with (
            watched(phi, (*self.looks, self.says, self.points)) as normed,
            entered(phi, (self.says, self.points)) as states,
        ):
            hidden = phi(
                inputs_embeds=packing.sequences(embeds), attention_mask=packing.mask,
                position_ids=packing.positions, use_cache=False,
            ).last_hidden_state  # fmt: skip
        under = batch.under.gather(1, which[:, 0])[batch.image]
        middle, late = (packing.rows(states[layer]) for layer in (self.says, self.points))
        watching = {layer: packing.rows(values) for layer, values in normed.items()}
        leads = packing.leader & (roles == Role.TEMPORAL).any(1)
        return Read(roles, index, packing.rows(hidden), middle, late, watching, under, leads)

    def _select(self, batch: Pages, read: Read, losses: dict[str, torch.Tensor]) -> dict[str, float]:
        """The classifier against the codes of all objects; returns the share of right choices by kind."""
        rows = (read.roles == Role.REFER).any(1)
        if not rows.any():
            return {}
        text, text_mask = fusion.take(read.hidden[rows], read.roles[rows], Role.REFER)
        visual = torch.randn(len(text), _VISUAL_TOKENS, self.model.config.vmtf_dim, device=text.device)
        classifier = self.model.vmtf(text, text_mask, visual)[:, :CODE_DIM]
        image, answers = batch.image[rows], batch.answers[rows]
        real = batch.real[image]
        scores = torch.einsum("bnc,bc->bn", blurred(batch.objects[image]), classifier)
        scores = scores.masked_fill(~real, -1e4)
        some = answers.sum(1) > 0
        right = (answers * scores.log_softmax(1)).sum(1) / answers.sum(1).clamp(min=1)
        losses["select"] = -2.0 * right.sum() / some.sum().clamp(min=1)
        meant = torch.einsum("bn,bnc->bc", answers, batch.objects[image])[:, FIELDS["place"]]
        said = classifier[:, FIELDS["place"]] - meant / answers.sum(1, keepdim=True).clamp(min=1)
        off = said.square().sum(1)
        losses["place"] = 0.3 * (off * some).sum() / some.sum().clamp(min=1)
        each = F.binary_cross_entropy_with_logits(scores, answers, reduction="none") * real * (1 + answers)
        losses["score"] = 0.5 * each.sum(1).mean()
        hit = answers.gather(1, scores.argmax(1, keepdim=True))[:, 0]
        hits = torch.where(some, hit, (scores.max(1).values < 0).float()).tolist()
        kinds = [kind for kind, row in zip(batch.kinds, rows.tolist(), strict=True) if row]
        found: dict[str, list[float]] = {}
        for kind, one in zip(kinds, hits, strict=True):
            found.setdefault(kind, []).append(one)
        return {kind: sum(ones) / len(ones) for kind, ones in found.items()}

    def _asked(self, batch: Pages, read: Read, last: torch.Tensor) -> torch.Tensor:
        """There, the state is to say what is true of what is meant, in the way in which patches say it."""
        meant = batch.answers[:, :-1]
        count = meant.sum(1)
        rows = (count > 0) & (read.roles == Role.TEMPORAL).any(1)
        said = self.standing_head(read.late[rows, last[rows]])
        wanted = torch.einsum("bn,bnc->bc", meant[rows], batch.standing[batch.image[rows]])
        off = (said - wanted / count[rows, None]).square()
        return weighed(batch, off)

    def _standing(self, batch: Pages, read: Read) -> torch.Tensor:
        """States at an object's patches are to say what is true of it; of an image what one frame tells. Only
        behind perceiver tokens: patches do not see those that come later."""
        rows = read.leads
        under = read.under[rows]
        said = self.standing_head(read.middle[rows][read.roles[rows] == Role.IMAGE]).unflatten(0, under.shape)
        index = under.clamp(min=0)[..., None].expand(-1, -1, STANDING_DIM)
        wanted = batch.standing[batch.image[rows]].gather(1, index)
        return weighed(batch, (said - wanted)[under >= 0].square())


def blurred(objects: torch.Tensor) -> torch.Tensor:
    """Codes ``float[B, N, CODE_DIM]`` with noise, and with fields hidden by chance, row by row."""
    objects = objects + NOISE * torch.randn_like(objects)
    for name in ("colour", "shape", "size", "texture", "radius"):
        shown = torch.rand(len(objects), 1, 1, device=objects.device) >= HIDDEN
        objects[..., FIELDS[name]] = objects[..., FIELDS[name]] * shown
    return objects
