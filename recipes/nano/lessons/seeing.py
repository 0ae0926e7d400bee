"""Lessons of seeing: both image encoders and the mask decoder learn what stands where, before any language.

The SigLIP side learns to say the code of each patch (:class:`PatchLesson`); the mask branch to name what is
under each cell of its maps, and to propose every object of a scene with its mask and its code
(:class:`MaskLesson`). The code is said where later the text is compared, so that proposals can
be chosen among from the first joint step on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from instructseg.criterion.losses import dice_loss, mask_loss
from instructseg.criterion.matcher import Matches, match
from instructseg.criterion.points import PointSampler, sample_points
from instructseg.criterion.targets import TargetBatch
from instructseg.model import InstructSeg
from recipes.lesson import LessonOutput
from recipes.nano.lessons.codes import CODE_DIM, FIELDS, NOTHING, PATCH_DIM
from recipes.nano.lessons.frames import Frames

CLASS_WEIGHTS = {"colour": 1.0, "shape": 3.0, "size": 1.0, "texture": 1.0}
"""Weight of each field's cross-entropy; shape is what is learned last."""
_SHARPNESS = 8.0
_MASK_WEIGHT = _DICE_WEIGHT = 2.0
_POINTS = 1024


class PatchLesson(nn.Module):
    """The SigLIP side: the first channels of each patch's token become the code of the patch."""

    def __init__(self, model: InstructSeg) -> None:
        super().__init__()
        width = model.config.vision_config.hidden_size
        if width < PATCH_DIM:
            raise ValueError(f"tokens of {width} channels cannot hold a code of {PATCH_DIM}")
        self.model = model

    def forward(self, batch: Frames, aux: bool = True) -> LessonOutput:
        """Losses of the patches of a batch."""
        said = self.model.vision(batch.clip_pixels)[..., :PATCH_DIM]
        obj = batch.patches[..., 0] > 0
        weight = torch.where(obj, 1.0, 0.3)[..., None]
        square = ((said - batch.patches) ** 2 * weight).sum(-1).mean()
        said, wanted = said[obj], batch.patches[obj]
        losses = {"patch": 0.15 * square, "patch_classes": 0.3 * class_losses(said, wanted)}
        return LessonOutput(losses, figures(said, wanted))


class MaskLesson(nn.Module):
    """The mask branch: names cells of the backbone's maps and, with ``propose``, proposes all objects.

    Args:
        propose: whether the decoders run too; naming alone is several times cheaper and comes first.
    """

    def __init__(self, model: InstructSeg, propose: bool = True) -> None:
        super().__init__()
        if model.config.decoder_dim < CODE_DIM:
            raise ValueError(f"queries of {model.config.decoder_dim} channels cannot hold a code of {CODE_DIM}")
        self.model, self.propose = model, propose
        coarse = {level: dim for level, dim in model.backbone.dims.items() if level != "res2"}
        self.heads = nn.ModuleDict({level: nn.Conv2d(dim, CODE_DIM, 1) for level, dim in coarse.items()})
        if propose:
            self.heads["mask_features"] = nn.Conv2d(model.config.mask_dim, CODE_DIM, 1)
        self.sampler = PointSampler(_POINTS, 3.0, 0.75)
        self.register_buffer("nothing", torch.from_numpy(NOTHING), persistent=False)
        self.nothing: torch.Tensor

    def forward(self, batch: Frames, aux: bool = True) -> LessonOutput:
        """Losses of the cells and, with ``propose``, of the queries of a batch."""
        model = self.model
        maps = dict(model.backbone(batch.seg_pixels))
        stride = batch.seg_pixels.new_zeros(len(batch), 1, *(side // 4 for side in batch.seg_pixels.shape[-2:]))
        truth = TargetBatch.pack(batch.targets, stride)
        losses: dict[str, torch.Tensor] = {}
        seen: dict[str, float] = {}
        if self.propose:
            levels, maps["mask_features"] = model.pixel_decoder(maps)
            losses, seen = self._proposals(levels, maps["mask_features"], batch.codes, truth)
        for level, head in self.heads.items():
            said, wanted = self._cells(head(maps[level]), batch.codes, truth)
            place = (said - wanted)[:, FIELDS["place"]].square().sum(-1)
            losses[level] = 0.5 * class_losses(said, wanted) + 0.3 * (place.mean() if len(said) else said.sum())
            if level == "res5":
                seen |= {f"cell_{name}": value for name, value in figures(said, wanted).items()}
        return LessonOutput(losses, seen)

    def _cells(
        self, said: torch.Tensor, codes: torch.Tensor, truth: TargetBatch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``float[M, CODE_DIM]`` said and wanted at the cells that an object covers for the most part."""
        said = said.permute(0, 2, 3, 1)
        share, which = F.interpolate(truth.masks, said.shape[1:3], mode="area").max(1)
        inside = share > (0.5 if said.shape[1] > 8 else 0.3)
        image = torch.arange(len(said), device=said.device)[:, None, None].expand(which.shape)
        return said[inside], codes[image[inside], which[inside]]

    def _proposals(
        self,
        levels: Sequence[torch.Tensor],
        mask_features: torch.Tensor,
        codes: torch.Tensor,
        truth: TargetBatch,
    ) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
        """Losses of masks and codes of every decoder layer; the language model's mask tokens are zero."""
        model, decoder = self.model, self.model.mask_decoder
        pictures = len(mask_features)
        tokens = model.mask_queries.new_zeros(pictures, *model.mask_queries.shape)
        classifier = tokens.new_zeros(pictures, model.config.decoder_dim)
        said: list[torch.Tensor] = []
        listener = decoder.score_proj.register_forward_hook(lambda _module, _inputs, out: said.append(out))
        try:
            layers = decoder(tokens, classifier, levels, mask_features, None, True)
        finally:
            listener.remove()
        objects = codes.new_tensor(float(max(1, sum(truth.counts))))
        sums = dict.fromkeys(("mask", "dice", "code", "place", "classes"), mask_features.new_zeros(()))
        for number, ((logits, _), code) in enumerate(zip(layers, said, strict=True)):
            found = match(logits, truth, self.sampler.uniform(pictures, logits.device), 5.0, 5.0)
            sums["mask"], sums["dice"] = (
                past + new
                for past, new in zip(
                    (sums["mask"], sums["dice"]), self._mask_losses(logits, truth, found, objects), strict=True
                )
            )
            if number:  # before the first layer a query has seen nothing
                code = code[..., :CODE_DIM]
                wanted, there = self._wanted(code, codes, found)
                square = (code - wanted).square()
                off = square.sum(-1) * torch.where(there, 1.0, 0.2)
                sums["code"] = sums["code"] + 0.1 * off.sum() / objects
                place = square[there][:, FIELDS["place"]]
                sums["place"] = sums["place"] + 2.0 * place.sum() / objects
                sums["classes"] = sums["classes"] + 0.3 * class_losses(code[there], wanted[there])
        return sums, {f"query_{name}": value for name, value in figures(code[there], wanted[there]).items()}

    def _mask_losses(
        self, logits: torch.Tensor, truth: TargetBatch, found: Matches, objects: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        masks = logits[found.row, found.query].float()
        points = self.sampler.uncertain(masks.detach())
        labels, weights = truth.sample_some(found.row, found.mask, points)
        at = sample_points(masks[:, None], points)[:, 0]
        return (
            _MASK_WEIGHT * mask_loss(at, labels, weights, objects),
            _DICE_WEIGHT * dice_loss(at, labels, weights, objects),
        )

    def _wanted(
        self, code: torch.Tensor, codes: torch.Tensor, found: Matches
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The codes of all queries ``float[F, Q, CODE_DIM]``, and ``bool[F, Q]``: which one has an object."""
        wanted = self.nothing.expand(*code.shape[:2], CODE_DIM).clone()
        wanted[found.row, found.query] = codes[found.row, found.mask]
        there = torch.zeros(code.shape[:2], dtype=torch.bool, device=code.device)
        there[found.row, found.query] = True
        return wanted, there


def class_losses(said: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Cross-entropies of the one-hot fields of ``float[M, >= CODE_DIM]``, weighted and summed.

    A field is read as logits, eight times as sharp, so that what is uncertain is said as such.
    """
    if not len(said):
        return said.sum()
    losses = [
        weight * F.cross_entropy(_SHARPNESS * said[:, FIELDS[name]], wanted[:, FIELDS[name]].argmax(1))
        for name, weight in CLASS_WEIGHTS.items()
    ]
    return torch.stack(losses).sum()


@torch.no_grad()
def figures(said: torch.Tensor, wanted: torch.Tensor) -> dict[str, float]:
    """Share of right classes by field, and the mean error of the middle as a share of the frame."""
    if not len(said):
        return {}
    shares = {
        name: (said[:, FIELDS[name]].argmax(1) == wanted[:, FIELDS[name]].argmax(1)).float().mean().item()
        for name in CLASS_WEIGHTS
    }
    first = FIELDS["place"].start
    return shares | {"place": (said - wanted)[:, first].abs().mean().item() / 2}
