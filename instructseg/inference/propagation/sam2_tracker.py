"""Tracker by SAM 2 (Ravi et al., arXiv 2408.00714), the video model of transformers, without its processor.

Each object has a session of its own, and all share the features of the current frame. The model keeps whatever
it has computed; here its two stores, frames and outputs, are emptied of what no later frame reads: memory does
not grow with the number of frames, and the results are the same.

Letters: ``H, W`` pixels of the frame, ``S`` side of the model's input.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import Sam2VideoConfig, Sam2VideoInferenceSession, Sam2VideoModel

from instructseg.hub import model_path
from instructseg.inference.propagation.anchors import MOST_ANCHORS, best_anchors
from instructseg.inference.propagation.mask_tracker import TrackedMask, TrackerMemory

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as SAM 2 was trained
_FILES = ("config.json", "*.safetensors")
_ID = 1  # of the only object of a session


@lru_cache(1)
def load_sam2(name: str, device: torch.device) -> Sam2VideoModel:
    """A SAM 2 video model in float32; the last one is kept.

    Args:
        name: a folder, or ``owner/name`` of a hub repository.
        device: where it runs.

    Raises:
        FileNotFoundError: there is no such folder or repository.
        ValueError: it holds no SAM 2 video model, or not all of its weights.
    """
    folder = model_path(name, _FILES)
    try:
        loaded: Any = Sam2VideoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except (OSError, TypeError, ValueError, RuntimeError, KeyError) as error:
        raise ValueError(f"{name}: no SAM 2 video model of transformers: {error}") from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"{name}: no SAM 2 video model: {len(missing)} weights are missing, as {missing[0]}")
    return model.eval().to(device)  # type: ignore[no-any-return]


def sam2_memory(name: str, objects: int) -> TrackerMemory:
    """Memory of a :class:`Sam2Tracker`, by its configuration.

    Args:
        name: as of :func:`load_sam2`.
        objects: that are tracked.

    Raises:
        FileNotFoundError, ValueError: as of :func:`load_sam2`.
    """
    folder = model_path(name, _FILES)
    try:
        config: Any = Sam2VideoConfig.from_pretrained(folder)
        with torch.device("meta"):
            model = Sam2VideoModel(config)
    except (OSError, TypeError, ValueError, RuntimeError, KeyError) as error:
        raise ValueError(f"{name}: no SAM 2 video model of transformers: {error}") from error
    side, width = config.image_size, config.vision_config.fpn_hidden_size
    levels = [math.prod(size) for size in config.vision_config.backbone_feature_sizes]
    # maps of 1/8, 1/4 and all of the channels, each with positions, and the frame
    maps = sum(cells * width * (1 + share) for cells, share in zip(levels, (1 / 8, 1 / 4, 1), strict=True))
    frame = round(4 * (maps + 3 * side**2))
    # a memory is kept in 16 bits, its positions in 32
    memories = _span(config) + MOST_ANCHORS
    each = memories * levels[-1] * config.memory_encoder_output_channels * 6
    weights = sum(one.nbytes for one in model.state_dict().values())
    return TrackerMemory(weights, frame + objects * each, _widest(config))


def _widest(config: Any) -> int:
    """Bytes of the widest block of the image encoder: queries, keys and values, or the feed-forward."""
    encoder = config.vision_config.backbone_config
    cells = config.vision_config.backbone_feature_sizes[0]
    largest = 0
    for stage, width in enumerate(encoder.embed_dim_per_stage):
        place = math.prod(cells) // 4**stage
        largest = max(largest, round(place * width * (2 + 2 * encoder.mlp_ratio)))
    return 4 * largest


def _span(config: Any) -> int:
    """Frames whose outputs later frames read."""
    return int(max(config.num_maskmem, config.max_object_pointers_in_encoder)) - 1


class Sam2Tracker:
    """Follows objects with a SAM 2 video model; see :class:`MaskTracker`.

    At most :data:`~instructseg.inference.propagation.anchors.MOST_ANCHORS` anchors of an object are remembered,
    the best that lie apart. Frames on which it is not seen leave no memory.

    Args:
        model: in evaluation mode.
    """

    refines = True

    def __init__(self, model: Sam2VideoModel) -> None:
        self._model = model
        config = model.config
        assert isinstance(config.image_size, int)
        self._side = config.image_size
        self._span = _span(config)
        self._sessions: dict[int, Sam2VideoInferenceSession] = {}
        self._anchors: dict[int, dict[int, float]] = {}  # quality by frame, by id
        self._features = self._new_session().cache
        self._now = -1
        self._size = (0, 0)
        self._pixels = torch.empty(0)

    @torch.inference_mode()
    def advance(self, frame: np.ndarray) -> dict[int, TrackedMask]:
        """Follows the objects to the next frame; see :class:`MaskTracker`."""
        self._now += 1
        self._size = (frame.shape[0], frame.shape[1])
        self._pixels = self._prepared(torch.from_numpy(frame.copy()).permute(2, 0, 1))
        return {number: self._followed(session) for number, session in self._sessions.items()}

    @torch.inference_mode()
    def anchor(self, number: int, mask: np.ndarray, quality: float) -> None:
        """Takes a mask of an object; see :class:`MaskTracker`."""
        known = {**self._anchors.get(number, {}), self._now: quality}
        kept = best_anchors(known) if len(known) > 1 else [self._now]
        if self._now not in kept:
            return
        self._anchors[number] = {frame: known[frame] for frame in kept}
        if number not in self._sessions:
            self._sessions[number] = self._new_session()
            self._sessions[number].cache = self._features
            self._sessions[number].obj_id_to_idx(_ID)
        session = self._sessions[number]
        outputs = session.output_dict_per_obj[0]
        outputs["non_cond_frame_outputs"].pop(self._now, None)
        for frame in set(outputs["cond_frame_outputs"]) - set(kept):
            del outputs["cond_frame_outputs"][frame]
        session.add_mask_inputs(0, self._now, self._at_input(mask))
        session.obj_with_new_inputs = [_ID]
        self._run(session)
        session.remove_mask_inputs(0, self._now)

    def drop(self, number: int) -> None:
        """Forgets an object."""
        self._sessions.pop(number, None)
        self._anchors.pop(number, None)

    def _followed(self, session: Sam2VideoInferenceSession) -> TrackedMask:
        """The object of a session on the current frame."""
        logits, score = self._run(session)
        if score <= 0:
            session.output_dict_per_obj[0]["non_cond_frame_outputs"].pop(self._now, None)
        soft = F.interpolate(logits.float(), self._size, mode="bilinear", align_corners=False).sigmoid()
        return TrackedMask(soft[0, 0].cpu().numpy(), float(torch.tensor(score).sigmoid()))

    def _run(self, session: Sam2VideoInferenceSession) -> tuple[torch.Tensor, float]:
        """Mask logits ``float[1, 1, h, w]`` and object score of a session on the current frame."""
        found = self._model(session, frame=self._pixels, frame_idx=self._now)
        self._prune(session)
        return found.pred_masks, float(found.object_score_logits)

    def _prune(self, session: Sam2VideoInferenceSession) -> None:
        """Removes what no later frame reads."""
        session.processed_frames = {}
        session.frames_tracked_per_obj[0].clear()
        outputs = session.output_dict_per_obj[0]
        past = outputs["non_cond_frame_outputs"]
        for frame in [frame for frame in past if frame <= self._now - self._span]:
            del past[frame]
        for kept in (*past.values(), *outputs["cond_frame_outputs"].values()):
            kept.pop("high_res_masks", None)
            kept.pop("pred_masks", None)

    def _new_session(self) -> Sam2VideoInferenceSession:
        """A session for one object, empty."""
        device = self._model.device
        return Sam2VideoInferenceSession(
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=self._model.dtype,
        )

    def _prepared(self, pixels: torch.Tensor) -> torch.Tensor:
        """A frame ``uint8[3, H, W]`` as the model takes it, ``float[3, S, S]``."""
        device, size = self._model.device, (self._side, self._side)
        values = pixels.to(device)[None].float() / 255
        values = F.interpolate(values, size, mode="bilinear", align_corners=False, antialias=True)[0]
        mean, std = (torch.tensor(one, device=device)[:, None, None] for one in (_MEAN, _STD))
        return (values - mean) / std

    def _at_input(self, mask: np.ndarray) -> torch.Tensor:
        """A mask ``bool[H, W]`` as the model takes it, ``float[1, 1, S, S]`` of 0 and 1."""
        values = torch.from_numpy(mask)[None, None].to(self._model.device, torch.float32)
        size = (self._side, self._side)
        reduced = F.interpolate(values, size, mode="bilinear", align_corners=False, antialias=True)
        return (reduced >= 0.5).float()
