"""What carrying masks from frame to frame (``track``) changes, beside the same predictions without it.

    OMP_NUM_THREADS=1 python -m perf.track --keep KEPT --videos VIDEO --json perf/results/track.json

Drawn clips are those of :mod:`perf.stride`, with two instructions each that name what can be seen and one that
nothing answers, and are segmented by nano. Filmed sequences (``VIDEO/NAME/frames``, ``VIDEO/NAME/masks``,
``VIDEO/expressions.json``) are segmented by mini, the first frames of each by its first expression. The model
runs once on each case and stride; its predictions are kept in a folder, so that a run that was broken off
continues, and every setting sees the same ones.

J and F are means over the frames of an instruction, then over the instructions, as DAVIS has them; the interval
of a difference is a bootstrap over videos. Where nothing answers, the share of frames that are left empty
counts; so that both can be weighed, there is also what ``off`` reaches at the threshold with as many of them
left empty. The bound has true masks on every 4th or 8th frame and carries them to the frames between. Times are
processor seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from instructseg.evaluation.jf import region_and_boundary
from instructseg.files import atomic_path, read_json
from instructseg.inference import VideoPredictor
from instructseg.inference.propagation.flow_tracker import FlowTracker
from instructseg.inference.propagation.propagation import LOOKAHEAD, Propagation
from instructseg.prediction import FrameResult, Prediction
from perf.stride import draw_clip
from perf.workload import save, weights_digest
from recipes.filmed import read_filmed
from recipes.nano.config import load_config
from recipes.nano.evaluation.bootstrap import interval
from recipes.nano.scenes.scenes import SceneConfig

STRIDES = (1, 4, 8)
FILMED_FRAMES = 40
"""Of each filmed sequence, from its start."""


@dataclass(frozen=True, eq=False)
class Case:
    """An instruction on a video.

    Attributes:
        name: of the file of its predictions.
        video: name of the video.
        frames: ``uint8[T, H, W, 3]``.
        text: the instruction.
        truth: ``bool[T, H, W]``; empty throughout where nothing answers.
    """

    name: str
    video: str
    frames: np.ndarray
    text: str
    truth: np.ndarray


@dataclass(frozen=True, eq=False)
class Kept:
    """Predictions of the model on a video, with a mask in any case.

    Attributes:
        masks: ``bool[T, H, W]``.
        score, presence: ``float[T]``, 0..1.
        key: ``bool[T]``, where the language model ran.
    """

    masks: np.ndarray
    score: np.ndarray
    presence: np.ndarray
    key: np.ndarray


def drawn(count: int, frames: int = 24) -> Iterator[Case]:
    """The instructions on the first clips of :mod:`perf.stride`, and one on each that nothing answers."""
    scene = {**load_config("configs/nano/test.yaml").data.scene, "travel": (0.3, 0.7), "frames": frames}
    for index in range(count):
        for kind, texts in (("attribute", 2), ("absent", 1)):
            clip = draw_clip(index, SceneConfig(**scene), texts, (kind,))
            for place, (text, truth) in enumerate(zip(clip.texts, clip.masks, strict=True)):
                yield Case(f"{kind}-{index}-{place}", f"{index}", clip.frames, text, truth)


def filmed(folder: Path, frames: int = FILMED_FRAMES) -> Iterator[Case]:
    """The first expression about each sequence of a folder."""
    for one in read_filmed(folder, frames):
        yield Case(f"filmed-{one.name}", one.name, one.frames, one.texts[0], one.masks)


def kept(predictor: VideoPredictor, case: Case, stride: int, folder: Path) -> Kept:
    """Predictions on a case, computed unless they lie in the folder."""
    file = folder / f"{case.name}-{stride}.npz"
    if not file.exists():
        results = list(predictor.predict(list(case.frames), case.text, llm_stride=stride, threshold=0))
        best = [result.predictions[0] for result in results]
        found = {
            "masks": np.packbits([one.mask for one in best], axis=-1),
            "score": np.array([one.score for one in best]),
            "presence": np.array([one.presence for one in best]),
            "key": np.array([result.keys[0] == result.index for result in results]),
        }
        with atomic_path(file) as temporary, temporary.open("wb") as out:
            np.savez_compressed(out, **found)  # type: ignore[arg-type]
    with np.load(file) as stored:
        masks = np.unpackbits(stored["masks"], axis=-1, count=case.frames.shape[2]).astype(bool)
        return Kept(masks, stored["score"], stored["presence"], stored["key"])


def results_of(case: Case, found: Kept, threshold: float) -> list[FrameResult]:
    """The kept predictions as a session gives them; masks below the threshold are empty."""
    results = []
    for t, frame in enumerate(case.frames):
        mask = found.masks[t] & (found.presence[t] >= threshold)
        one = Prediction(mask, float(found.score[t]), float(found.presence[t]), case.text, id=1)
        results.append(FrameResult(t, frame, [one], keys={0: t if found.key[t] else -1}))
    return results


def tracked(results: Sequence[FrameResult], lookahead: int) -> np.ndarray:
    """Masks ``bool[T, H, W]`` with ``track="flow"``."""
    propagation = Propagation(FlowTracker, lookahead)
    found = [one for result in results for one in propagation.add(result)] + propagation.end()
    return np.stack([one.predictions[0].mask for one in found])


def between(frames: np.ndarray, masks: np.ndarray, stride: int, moving: bool = True) -> np.ndarray:
    """Masks of every ``stride``-th frame, carried to the frames between, each from the nearest of them.

    Args:
        frames: ``uint8[T, H, W, 3]``.
        masks: ``bool[T, H, W]``; only those of every ``stride``-th frame are read.
        stride: in frames.
        moving: along the optical flow; otherwise they stay where they are.
    """
    out = np.zeros_like(masks)
    for key in range(0, len(frames), stride):
        last = key + stride > len(frames) - 1  # no key frame follows
        ahead = range(key + 1, len(frames) if last else key + stride // 2 + 1)
        behind = range(key - 1, max(-1, key - (stride + 1) // 2), -1)
        out[key] = masks[key]
        for way in (ahead, behind):
            tracker = FlowTracker()
            tracker.advance(frames[key])
            tracker.anchor(1, masks[key], 1.0)
            for t in way:
                out[t] = tracker.advance(frames[t])[1].probability > 0.5 if moving else masks[key]
    return out


def jf(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean J&F over the frames, 0..1."""
    region, boundary = region_and_boundary(found, truth)
    return float((region.mean() + boundary.mean()) / 2)


def left_empty(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of frames without a mask, 0..1."""
    return float(np.mean(~found.any((1, 2))))


def bound(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """J&F with true masks on every 4th and every 8th frame."""
    rows = []
    for stride in STRIDES[1:]:
        for name, moving in (("held", False), ("flow", True)):
            values = [jf(between(one.frames, one.truth, stride, moving), one.truth) for one in cases]
            rows.append({"stride": stride, "between": name, "jf": float(np.mean(values)), "n": len(values)})
    return rows


def compared(
    cases: Sequence[Case],
    settings: Mapping[str, Callable[[Case], np.ndarray]],
    measure: Callable[[np.ndarray, np.ndarray], float],
) -> list[dict[str, Any]]:
    """A row per setting: its mean, and its mean difference to the first with the interval of that."""
    rows, first = [], list[float]()
    for name, masks in settings.items():
        start = time.process_time()
        found = [masks(case) for case in cases]
        spent = time.process_time() - start
        values = [measure(mask, case.truth) for mask, case in zip(found, cases, strict=True)]
        first = first or values
        gain = [value - other for value, other in zip(values, first, strict=True)]
        low, high = interval(gain, [1.0] * len(gain), [case.video for case in cases])
        row = {"setting": name, "value": float(np.mean(values)), "difference": float(np.mean(gain))}
        frames = sum(len(case.frames) for case in cases)
        rows.append({**row, "low": low, "high": high, "n": len(values), "s_per_frame": spent / frames})
    return rows


def rows_of(cases: Sequence[Case], stride: int, found: Mapping[str, Kept], threshold: float) -> dict[str, Any]:
    """Everything about one stride and threshold."""

    def results(case: Case) -> list[FrameResult]:
        return results_of(case, found[case.name], threshold)

    settings: dict[str, Callable[[Case], np.ndarray]] = {
        "off": lambda case: np.stack([one.predictions[0].mask for one in results(case)]),
        "flow": lambda case: tracked(results(case), LOOKAHEAD),
        "flow, forward": lambda case: tracked(results(case), 0),
    }
    there = [case for case in cases if case.truth.any()]
    absent = [case for case in cases if not case.truth.any()]
    told: dict[str, Any] = {"stride": stride, "threshold": threshold}
    if absent and threshold:
        told["left_empty"] = compared(absent, settings, left_empty)
        # a lower threshold finds more, too: what it finds where it leaves as many frames empty as flow does
        shown = np.concatenate([found[case.name].presence for case in absent])
        lower = float(np.quantile(shown, told["left_empty"][1]["value"], method="lower"))
        masks = [found[case.name].masks & (found[case.name].presence >= lower)[:, None, None] for case in there]
        values = [jf(mask, case.truth) for mask, case in zip(masks, there, strict=True)]
        told["off_as_empty"] = {"threshold": lower, "jf": float(np.mean(values))}
    if stride > 1 and not threshold:
        settings["flow alone between key frames"] = lambda case: between(
            case.frames, found[case.name].masks, stride
        )
    return {**told, "jf": compared(there, settings, jf)}


def measured(model: str, cases: Sequence[Case], folder: Path) -> dict[str, Any]:
    """Everything about one model."""
    predictor = VideoPredictor.from_pretrained(model)
    rows = []
    for stride in STRIDES:
        found = {}
        for case in cases:
            found[case.name] = kept(predictor, case, stride, folder)
            print(model, stride, case.name, flush=True)
        own = predictor.processor.config.presence_threshold or 0.0
        rows += [rows_of(cases, stride, found, threshold) for threshold in (0.0, own)]
        print(json.dumps(rows[-2:], indent=1), flush=True)
    size = {
        "frames": len(cases[0].frames),
        "height": cases[0].frames.shape[1],
        "width": cases[0].frames.shape[2],
    }
    there = [case for case in cases if case.truth.any()]
    return {"weights": weights_digest(model), **size, "bound": bound(there), "rows": rows}


def main() -> None:
    """Measures every setting."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--keep", type=Path, required=True, help="folder of the model's predictions")
    parser.add_argument("--videos", type=Path, help="folder of filmed sequences")
    parser.add_argument("--clips", type=int, default=20, help="drawn ones; 0 for none")
    parser.add_argument("--json", type=Path, help="what it has of the other videos is kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    options.keep.mkdir(parents=True, exist_ok=True)
    found = {} if options.json is None or not options.json.exists() else read_json(options.json)
    if options.clips:
        found["drawn"] = measured("nano", list(drawn(options.clips)), options.keep)
    if options.videos:
        found["filmed"] = measured("mini", list(filmed(options.videos)), options.keep)
    found.pop("machine", None)
    save(options.json, found)


if __name__ == "__main__":
    main()
