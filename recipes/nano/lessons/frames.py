"""Single frames with the truth of every patch and object, for the lessons of seeing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from instructseg.processing import InstructSegProcessor
from instructseg.structures import MaskTargets
from recipes.lesson import moved
from recipes.nano.language.meaning import MIN_AREA
from recipes.nano.lessons.codes import object_codes, patch_codes
from recipes.nano.scenes.scenes import Scene, SceneConfig, draw_scene

SMALLEST_VIEW = 0.8
"""Side of the smallest view of a scene, as a share of the scene's."""
VIEWS = 2
"""Views of one scene in a batch: drawing it costs more than cutting another piece of it."""


@dataclass(frozen=True, eq=False)
class Frames:
    """A batch of F frames; N objects in the fullest of them.

    Attributes:
        clip_pixels: ``float[F, 3, S, S]`` of the SigLIP side.
        seg_pixels: ``float[F, 3, H, W]`` of the mask branch.
        patches: ``float[F, P, PATCH_DIM]``, what the SigLIP side is to say.
        codes: ``float[F, N, CODE_DIM]`` of the objects in sight, filled up with zeros.
        labels: ``None``: no text is learned.
    """

    clip_pixels: torch.Tensor
    seg_pixels: torch.Tensor
    patches: torch.Tensor
    codes: torch.Tensor
    targets: tuple[MaskTargets, ...]
    labels: None = None

    def __len__(self) -> int:
        return len(self.clip_pixels)

    def to(self, device: torch.device | str) -> Frames:
        """Moves the tensors to ``device``."""
        return replace(
            moved(self, device), targets=tuple(MaskTargets(one.masks.to(device)) for one in self.targets)
        )


@dataclass(frozen=True)
class FrameSource:
    """Batch ``i`` of drawn frames (see ``engine.BatchSource``).

    Attributes:
        processor: brings frames to the model's sizes.
        config: what the scenes look like; ``frames`` is 1.
        count: frames of a batch.
    """

    processor: InstructSegProcessor
    config: SceneConfig
    count: int
    seed: int = 0

    def batch(self, index: int) -> tuple[Frames, list[MaskTargets]]:
        """Frames; the truth is in the batch, so there are no targets beside it."""
        processor = self.processor
        grid = round(processor.config.num_image_tokens**0.5)
        clips, segs, patches, codes, targets = [], [], [], [], []
        for scene in self._scenes(index):
            frame, known = scene.frames[0], object_codes(scene, 0)
            seen = [i for i in range(len(scene.objects)) if scene.area(i, 0) >= MIN_AREA]
            pixels, geometry = processor.encode_key_frame(frame)
            masks = [processor.mask_branch.resize_mask(scene.mask(i, 0), geometry) for i in seen]
            stacked = np.stack(masks) if masks else np.zeros((0, *geometry.padded), np.uint8)
            clips.append(processor.encode_clip(frame))
            segs.append(pixels)
            patches.append(torch.from_numpy(patch_codes(scene, 0, grid, known)))
            codes.append(torch.from_numpy(known[seen]))
            targets.append(MaskTargets(torch.from_numpy(stacked == 1)))
        padded = torch.nn.utils.rnn.pad_sequence(codes, batch_first=True)
        return Frames(torch.stack(clips), torch.stack(segs), torch.stack(patches), padded, tuple(targets)), []

    def names(self, index: int) -> Sequence[str]:
        """Names of the frames of batch ``index``."""
        return [f"pictures/{self.seed}/{index}/{number}" for number in range(self.count)]

    def _scenes(self, index: int) -> list[Scene]:
        views: list[Scene] = []
        while len(views) < self.count:
            rng = np.random.default_rng([self.seed, index, len(views)])
            scene = draw_scene(rng, self.config)
            views += [view_of(rng, scene, mirrored=bool(v % 2)) for v in range(VIEWS)]
        return views[: self.count]


def view_of(rng: np.random.Generator, scene: Scene, mirrored: bool) -> Scene:
    """A piece of an image, cut out anywhere; of objects at its rim only the truth of what is seen is used."""
    height, width = scene.ids.shape[1:]
    share = rng.uniform(SMALLEST_VIEW, 1)
    h, w = int(height * share), int(width * share)
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    across = slice(None, None, -1) if mirrored else slice(None)
    frames = scene.frames[:, top : top + h, left : left + w][:, :, across]
    ids = scene.ids[:, top : top + h, left : left + w][:, :, across]
    return replace(scene, frames=np.ascontiguousarray(frames), ids=np.ascontiguousarray(ids))
