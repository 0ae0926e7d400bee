"""How fast J and F are, beside a plain copy of the official DAVIS procedure in the same run.

    python perf/metrics.py [--json] [--frames 40] [--folders TRUTH PREDICTION]

Sequences are drawn at 854 x 480 (blobs that move and change), or read from two folders of palette pictures. The
plain procedure computes boundaries and dilations anew for every pair, at the full size, one frame at a time.
Both sides use one thread, start from label maps in memory, and must give the same numbers.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from instructseg.evaluation.davis import semi_supervised, unsupervised
from instructseg.masks import load_index_png

HEIGHT, WIDTH = 480, 854


def plain_j(prediction: np.ndarray, truth: np.ndarray, void: np.ndarray) -> np.ndarray:
    """IoU of ``bool[T, H, W]``."""
    both = np.sum(prediction & truth & ~void, axis=(1, 2))
    either = np.sum((prediction | truth) & ~void, axis=(1, 2))
    return np.where(either == 0, 1, both / np.maximum(either, 1))


def plain_boundary(mask: np.ndarray) -> np.ndarray:
    """Boundary of ``bool[H, W]``, half a pixel towards the origin."""
    right, below, corner = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    right[:, :-1], below[:-1], corner[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    boundary = (mask ^ right) | (mask ^ below) | (mask ^ corner)
    boundary[-1], boundary[:, -1] = mask[-1] ^ right[-1], mask[:, -1] ^ below[:, -1]
    boundary[-1, -1] = False
    return boundary


def plain_f(prediction: np.ndarray, truth: np.ndarray, void: np.ndarray) -> float:
    """Boundary measure of ``bool[H, W]``."""
    radius = int(np.ceil(0.008 * np.linalg.norm(truth.shape)))
    steps = np.arange(-radius, radius + 1)
    disc = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)
    ours, theirs = plain_boundary(prediction & ~void), plain_boundary(truth & ~void)
    near_ours, near_theirs = cv2.dilate(ours.astype(np.uint8), disc), cv2.dilate(theirs.astype(np.uint8), disc)
    if not ours.any() or not theirs.any():
        return float(not ours.any() and not theirs.any())
    precision, recall = np.sum(ours * near_theirs) / np.sum(ours), np.sum(theirs * near_ours) / np.sum(theirs)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def plain_scores(
    prediction: np.ndarray, truth: np.ndarray, void: np.ndarray, pairs: list[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """J and F, ``float[len(pairs), T]``."""
    region, boundary = [], []
    for one, other in pairs:
        ours, theirs = prediction == one, truth == other
        region.append(plain_j(ours, theirs, void))
        boundary.append([plain_f(*masks) for masks in zip(ours, theirs, void, strict=True)])
    return np.array(region), np.array(boundary)


def plain_semi_supervised(
    prediction: np.ndarray, truth: np.ndarray, objects: int
) -> tuple[np.ndarray, np.ndarray]:
    """J and F per object and frame."""
    pairs = [(label, label) for label in range(1, objects + 1)]
    return plain_scores(prediction, truth, np.zeros(truth.shape, bool), pairs)


def plain_unsupervised(
    prediction: np.ndarray, truth: np.ndarray, objects: int
) -> tuple[np.ndarray, np.ndarray]:
    """J and F per object and frame, of the proposals that suit best."""
    proposals = max(int(prediction.max()), objects)
    pairs = [(p, t) for p in range(1, proposals + 1) for t in range(1, objects + 1)]
    region, boundary = (
        values.reshape(proposals, objects, -1)
        for values in plain_scores(prediction, truth, truth == 255, pairs)
    )
    rows, columns = linear_sum_assignment(-(region.mean(2) + boundary.mean(2)) / 2)
    order = np.argsort(columns)
    return region[rows[order], columns[order]], boundary[rows[order], columns[order]]


def drawn(frames: int, labels: int, seed: int) -> np.ndarray:
    """``uint8[T, H, W]``: ellipses with ragged edges that drift, later labels in front."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((frames, HEIGHT, WIDTH), np.uint8)
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    for label in range(1, labels + 1):
        centre, speed = rng.uniform((150, 100), (700, 380)), rng.uniform(-3, 3, 2)
        radii = rng.uniform(30, 260 / np.sqrt(labels) + 40, 2)
        wobble = rng.uniform(0.85, 1.15, 60)
        for frame in range(frames):
            ragged = wobble * rng.uniform(0.97, 1.03, 60)
            outline = (
                centre + frame * speed + radii * np.stack([np.cos(angles), np.sin(angles)], 1) * ragged[:, None]
            )
            cv2.fillPoly(maps[frame], [outline.astype(np.int32)], label)
    return maps


def pair_of_sequences(frames: int, objects: int, proposals: int) -> tuple[np.ndarray, np.ndarray]:
    """A truth with void and a prediction that is the truth moved a little, with more proposals around it."""
    truth = drawn(frames, objects, seed=0)
    prediction = np.roll(truth, (2, 3), axis=(1, 2))
    if proposals > objects:
        others = drawn(frames, proposals - objects, seed=1)
        prediction = np.where(prediction == 0, np.where(others > 0, others + objects, 0), prediction)
    truth[:, :12, :200] = 255
    return prediction.astype(np.uint8), truth


def read(folder: Path, frames: int) -> np.ndarray:
    """``uint8[T, H, W]`` of a folder of palette pictures."""
    return np.stack([load_index_png(path) for path in sorted(folder.glob("*.png"))[:frames]])


def seconds(function: Callable[[], object], repeats: int) -> float:
    """The best time of several."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def compare(name: str, prediction: np.ndarray, truth: np.ndarray, matched: bool) -> dict[str, float | str]:
    """Times both procedures on a sequence and checks that they agree."""
    objects = int(np.where(truth[0] == 255, 0, truth[0]).max())
    if matched:
        fast, plain = unsupervised, plain_unsupervised
    else:
        fast, plain = semi_supervised, plain_semi_supervised
        prediction = np.where(prediction > objects, 0, prediction).astype(np.uint8)
    region, boundary = plain(prediction, truth, objects)
    scores = fast(prediction, truth, objects)
    difference = max(np.abs(scores.region - region).max(), np.abs(scores.boundary - boundary).max())
    if difference > 1e-9:
        raise SystemExit(f"{name}: the results differ by {difference}")
    slow = seconds(lambda: plain(prediction, truth, objects), 1 if matched else 3)
    quick = seconds(lambda: fast(prediction, truth, objects), 3)
    return {
        "name": name,
        "frames": len(truth),
        "plain_s": round(slow, 4),
        "ours_s": round(quick, 4),
        "ratio": round(slow / quick, 1),
        "ours_ms_per_frame": round(1000 * quick / len(truth), 3),
        "difference": float(difference),
    }


def main() -> None:
    """Prints a line per sequence."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--frames", type=int, default=40, help="frames per sequence")
    parser.add_argument("--folders", type=Path, nargs=2, metavar=("TRUTH", "PREDICTION"))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.folders:
        truth, prediction = (read(folder, options.frames) for folder in options.folders)
        rows = [
            compare("semi-supervised", prediction, truth, matched=False),
            compare("unsupervised", prediction, truth, matched=True),
        ]
    else:
        rows = [
            compare("semi-supervised, 1 object", *pair_of_sequences(options.frames, 1, 1), matched=False),
            compare("semi-supervised, 4 objects", *pair_of_sequences(options.frames, 4, 4), matched=False),
            compare(
                "unsupervised, 2 objects, 20 proposals",
                *pair_of_sequences(options.frames, 2, 20),
                matched=True,
            ),
        ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(
            f"{row['name']:40} plain {row['plain_s']:8.3f} s  ours {row['ours_s']:7.3f} s"
            f"  {row['ratio']:6.1f} times faster  {row['ours_ms_per_frame']:.3f} ms per frame"
        )


if __name__ == "__main__":
    main()
