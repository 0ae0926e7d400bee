"""SAM 2 without its processor: against the model's own use, which keeps everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import Sam2VideoConfig, Sam2VideoInferenceSession, Sam2VideoModel

from instructseg.inference import VideoPredictor
from instructseg.inference.propagation.flow_tracker import FlowTracker
from instructseg.inference.propagation.mask_tracker import TrackedMask
from instructseg.inference.propagation.sam2_tracker import Sam2Tracker, load_sam2, sam2_memory
from instructseg.inference.propagation.tracker_names import SAM2, tracker_maker, tracker_memory
from tests.inference.propagation.tiny_sam2 import SIDE, tiny_sam2

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> Sam2VideoModel:
    return tiny_sam2()


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Different frames of the size of the model's input."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8) for _ in range(40)]


def square(left: int, top: int, size: int = 24, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[top : top + size, left : left + size] = True
    return mask


def tracked(tracker: Sam2Tracker, frames: list[np.ndarray], masks: dict[int, np.ndarray]) -> list[TrackedMask]:
    """Object 1 on every frame, with anchors on some; the first frame has one."""
    found = []
    for t, frame in enumerate(frames):
        seen = tracker.advance(frame)
        if t in masks:
            tracker.anchor(1, masks[t], 0.5)
        found.append(seen.get(1, TrackedMask(np.zeros(0, np.float32), 0.0)))
    return found


@torch.inference_mode()
def plain(model: Sam2VideoModel, frames: list[np.ndarray], mask: np.ndarray) -> list[torch.Tensor]:
    """Mask logits by the model's own loop over a whole video, which frees nothing."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (torch.from_numpy(np.stack(frames)).float() / 255 - mean) / std
    session = Sam2VideoInferenceSession(pixels.permute(0, 3, 1, 2), SIDE, SIDE, dtype=torch.float32)
    session.add_mask_inputs(session.obj_id_to_idx(1), 0, torch.from_numpy(mask).float()[None, None])
    session.obj_with_new_inputs = [1]
    model(session, frame_idx=0)
    found = [one.pred_masks for one in model.propagate_in_video_iterator(session)]
    assert len(session.processed_frames) == len(frames)
    return found


def test_results_are_those_of_the_model_that_keeps_everything(
    model: Sam2VideoModel, frames: list[np.ndarray]
) -> None:
    mask = square(10, 20)
    expected = plain(model, frames, mask)
    found = tracked(Sam2Tracker(model), frames, {0: mask})
    spread = max(float(one.std()) for one in expected[1:])
    assert spread > 1e-2  # there is something to differ in
    for one, other in zip(found[1:], expected[1:], strict=True):
        large = F.interpolate(other, (SIDE, SIDE), mode="bilinear", align_corners=False)[0, 0]
        np.testing.assert_allclose(one.probability, large.sigmoid().numpy(), rtol=0, atol=1e-5)
        assert one.seen == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert np.abs(found[1].probability - found[2].probability).max() > 1e-4


def test_memory_does_not_grow_with_the_video(model: Sam2VideoModel, frames: list[np.ndarray]) -> None:
    tracker = Sam2Tracker(model)
    tracked(tracker, frames, dict.fromkeys(range(0, 40, 2), square(4, 4)))
    (session,) = tracker._sessions.values()
    stores = session.output_dict_per_obj[0]
    assert len(stores["non_cond_frame_outputs"]) <= 15
    assert 1 <= len(stores["cond_frame_outputs"]) <= 4
    assert not session.processed_frames
    assert not session.mask_inputs_per_obj[0]
    assert not session.frames_tracked_per_obj[0]
    kept = [key for store in stores.values() for one in store.values() for key in one]
    assert not {"high_res_masks", "pred_masks"} & set(kept)
    tracker.drop(1)
    assert tracker.advance(frames[0]) == {}


def test_the_remembered_anchors_are_the_best_that_lie_apart(
    model: Sam2VideoModel, frames: list[np.ndarray]
) -> None:
    tracker = Sam2Tracker(model)
    for t, frame in enumerate(frames):
        tracker.advance(frame)
        if t in (0, 3, 8, 16, 24, 39):
            tracker.anchor(1, square(t, 4), {0: 0.5, 3: 0.4, 8: 0.1, 16: 0.8, 24: 0.7, 39: 0.3}[t])
    (session,) = tracker._sessions.values()
    assert sorted(session.output_dict_per_obj[0]["cond_frame_outputs"]) == [0, 16, 24, 39]


def test_an_anchor_changes_what_follows(model: Sam2VideoModel, frames: list[np.ndarray]) -> None:
    one = tracked(Sam2Tracker(model), frames[:14], {0: square(4, 4)})
    two = tracked(Sam2Tracker(model), frames[:14], {0: square(4, 4), 10: square(30, 30)})
    np.testing.assert_array_equal(one[10].probability, two[10].probability)
    assert np.abs(one[11].probability - two[11].probability).max() > 1e-4


def test_frames_on_which_an_object_is_not_seen_leave_no_memory(frames: list[np.ndarray]) -> None:
    tracker = Sam2Tracker(tiny_sam2(object_score=-2.0))
    found = tracked(tracker, frames[:5], {0: square(4, 4)})
    (session,) = tracker._sessions.values()
    assert not session.output_dict_per_obj[0]["non_cond_frame_outputs"]
    for one in found[1:]:
        assert one.seen == pytest.approx(1 / (1 + np.exp(2.0)))
        assert not (one.probability > 0.5).any()


def test_objects_do_not_depend_on_each_other(model: Sam2VideoModel, frames: list[np.ndarray]) -> None:
    both = Sam2Tracker(model)
    both.advance(frames[0])
    both.anchor(1, square(4, 4), 0.5)
    both.anchor(2, square(30, 30), 0.5)
    alone = tracked(Sam2Tracker(model), frames[:4], {0: square(30, 30)})
    for t in (1, 2, 3):
        found = both.advance(frames[t])
        np.testing.assert_array_equal(found[2].probability, alone[t].probability)
        assert np.abs(found[1].probability - found[2].probability).max() > 1e-4


def test_masks_have_the_size_of_the_frame(model: Sam2VideoModel) -> None:
    rng = np.random.default_rng(0)
    clip = [rng.integers(0, 256, (30, 50, 3), np.uint8) for _ in range(2)]
    found = tracked(Sam2Tracker(model), clip, {0: square(5, 5, 10, 30, 50)})
    assert found[1].probability.shape == (30, 50)
    assert found[1].probability.dtype == np.float32


def test_the_default_configuration_is_that_of_the_published_weights() -> None:
    with torch.device("meta"):
        published = Sam2VideoModel(Sam2VideoConfig())
    shapes = {name: tuple(values.shape) for name, values in published.state_dict().items()}
    assert sum(values.numel() for values in published.parameters()) == 38_962_498  # 38.9 M: README of SAM 2
    # names and shapes of the original checkpoint, renamed as transformers' conversion does
    assert shapes["memory_temporal_positional_encoding"] == (7, 1, 1, 64)
    assert shapes["occlusion_spatial_embedding_parameter"] == (1, 64)
    assert shapes["temporal_positional_encoding_projection_layer.weight"] == (64, 256)
    assert shapes["mask_decoder.upscale_conv2.weight"] == (64, 32, 2, 2)
    assert shapes["mask_decoder.iou_prediction_head.proj_out.weight"] == (4, 256)
    assert shapes["vision_encoder.backbone.blocks.11.mlp.proj_out.weight"] == (768, 3072)
    for layer in range(4):
        prefix = f"memory_attention.layers.{layer}"
        assert shapes[f"{prefix}.linear1.weight"] == (2048, 256)
        for part, width in (("self_attn", 256), ("cross_attn_image", 64)):
            assert shapes[f"{prefix}.{part}.k_proj.weight"] == shapes[f"{prefix}.{part}.v_proj.weight"]
            assert shapes[f"{prefix}.{part}.k_proj.weight"] == (256, width)
            assert shapes[f"{prefix}.{part}.o_proj.weight"] == (256, 256)


@pytest.mark.slow
def test_a_model_of_the_published_configuration_loads_by_its_folder_and_runs(tmp_path: Path) -> None:
    Sam2VideoModel(Sam2VideoConfig()).save_pretrained(tmp_path)
    make = tracker_maker(str(tmp_path), CPU)
    assert make is not None
    tracker, frame = make(), np.zeros((54, 96, 3), np.uint8)
    tracker.advance(frame)
    tracker.anchor(1, square(5, 5, 20, 54, 96), 0.5)
    assert tracker.advance(frame)[1].probability.shape == (54, 96)


@pytest.fixture(scope="module")
def folder(model: Sam2VideoModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sam2")
    model.save_pretrained(path)
    return path


def test_trackers_have_names(folder: Path) -> None:
    assert tracker_maker("off", CPU) is None
    assert tracker_maker("flow", CPU) is FlowTracker
    assert SAM2["sam2.1-tiny"] == "facebook/sam2.1-hiera-tiny"
    make = tracker_maker(str(folder), CPU)
    assert make is not None and isinstance(make(), Sam2Tracker)
    assert make() is not make()
    assert load_sam2(str(folder), CPU) is load_sam2(str(folder), CPU)


def test_a_name_that_is_none_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ValueError, match=r"unknown tracker 'flwo': use off, flow, sam2.1-tiny, .*, a folder, or owner"
    ):
        tracker_maker("flwo", CPU)
    with pytest.raises(ValueError, match="no SAM 2 video model"):
        tracker_maker(str(tmp_path), CPU)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match="facebook/sam2"):
        tracker_maker("sam2.1-tiny", CPU)


def test_weights_that_lack_a_part_are_refused(model: Sam2VideoModel, tmp_path: Path) -> None:
    weights = {name: values for name, values in model.state_dict().items() if "memory_encoder" not in name}
    model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(ValueError, match="weights are missing, as memory_encoder"):
        load_sam2(str(tmp_path), CPU)


def test_memory_is_what_the_sessions_hold(
    model: Sam2VideoModel, frames: list[np.ndarray], folder: Path
) -> None:
    tracker = Sam2Tracker(model)
    for t, frame in enumerate(frames):
        tracker.advance(frame)
        if t % 8 == 0:
            for number in (1, 2):
                tracker.anchor(number, square(8 * number, 20), 0.9)
    expected = sam2_memory(str(folder), 2)
    assert expected.weights == sum(values.nbytes for values in model.state_dict().values())
    sessions = tracker._sessions.values()
    shared = [one for part in tracker._features._vision_features.values() for one in _tensors(part)]
    own = [one for session in sessions for one in _tensors(session.output_dict_per_obj)]
    held = sum(one.nbytes for one in (*shared, *own)) + tracker._pixels.nbytes
    assert held == pytest.approx(expected.held, rel=0.1)


def _tensors(value: object) -> list[torch.Tensor]:
    """All tensors in nested dictionaries and lists."""
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [one for part in parts for one in _tensors(part)]


def test_tracking_adds_to_the_memory_of_its_device(folder: Path) -> None:
    size = (54, 96)
    assert tracker_memory("off", size, 3) == (0, 0, 0)
    stream, file = tracker_memory("flow", size, 3), tracker_memory("flow", size, 3, lookahead=32)
    assert file.held == 2 * stream.held + 32 * 54 * 96 * (3 + 2 * 3)  # both ways, and what waits
    assert tracker_memory("flow", size, 3, cpu=False) == (0, 0, 0)
    there = tracker_memory(str(folder), size, 3, lookahead=32, cpu=False)
    assert there.weights and there.held == 2 * sam2_memory(str(folder), 3).held
    with pytest.raises(ValueError, match="unknown tracker 'flwo'"):
        tracker_memory("flwo", size, 3)


def test_a_video_is_tracked_from_end_to_end(folder: Path) -> None:
    predictor = VideoPredictor.from_pretrained("nano")
    rng = np.random.default_rng(0)
    clip = [rng.integers(0, 256, (40, 56, 3), np.uint8) for _ in range(6)]
    plainly = list(predictor.predict(clip, "the red circle", threshold=0, llm_stride=2))
    found = list(predictor.predict(clip, "the red circle", threshold=0, llm_stride=2, track=str(folder)))
    assert [one.index for one in found] == list(range(6))
    assert [one.keys for one in found] == [one.keys for one in plainly]
    differ = [
        not np.array_equal(one.predictions[0].mask, other.predictions[0].mask)
        for one, other in zip(found, plainly, strict=True)
    ]
    assert any(differ)
    assert all(one.predictions[0].probability is None for one in found)
