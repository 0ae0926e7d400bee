"""Identities of several objects in video: HOTA, id switches and J&F, by ``python -m recipes.identities``.

HOTA, IDF1 and id switches are those of ``trackeval`` (``pip install --no-deps trackeval==1.3.0``), on masks;
J&F assigns a track to each object, as DAVIS 2017 unsupervised does. Three ways to give ids are compared on the
same videos: the package's, the rank of a mask by its score (what a user has without identities), and the
package's on the true masks, where nothing but the assignment can fail.

Drawn videos (``nano``) have two objects of a shape and another one: the two pass each other, or pass behind the
other one, or one leaves the frame and comes back. Filmed ones (``mini``) are sequences of ``FOLDER/video``
(``NAME/frames``, ``NAME/masks``) with a mirrored copy of the object, which plays backwards and crosses the
frame in front of it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from instructseg.evaluation.davis import MAX_PROPOSALS, unsupervised
from instructseg.files import write_json_atomic
from instructseg.inference import VideoPredictor
from instructseg.inference.tracking import Identities
from instructseg.prediction import Prediction
from recipes.filmed import FilmedVideo, read_filmed
from recipes.nano.scenes.objects import SHAPES, SceneObject
from recipes.nano.scenes.scenes import Scene, SceneConfig, draw_scene, render

KINDS = ("crossing", "hidden", "returning")
FRAMES, HEIGHT, WIDTH = 24, 128, 176
"""Of a drawn video."""
LEAST_PIXELS = 12
"""A smaller visible part of an object is background."""
DRAWS = 200
FILMED = {
    "breakdance": "all the people",
    "camel": "all the camels",
    "car-roundabout": "all the cars",
    "dog": "all the dogs",
    "goat": "all the goats",
    "horsejump-high": "all the horses",
    "libby": "all the dogs",
    "soapbox": "all the vehicles",
}
"""Instructions about the sequences; objects that they mean beside the annotated one count as wrong."""


@dataclass(frozen=True, eq=False)
class TrueVideo:
    """A video and the truth about the objects that an instruction means.

    Attributes:
        frames: ``uint8[T, H, W, 3]`` RGB.
        labels: ``uint8[T, H, W]``, 1 and more on objects.
        text: means them all.
    """

    name: str
    frames: np.ndarray
    labels: np.ndarray
    text: str

    @property
    def objects(self) -> list[int]:
        """Labels of the objects."""
        return [label for label in np.unique(self.labels).tolist() if label]


Tracks = Sequence[Sequence[Prediction]]
"""Predictions on each frame, with their ids."""


def drawn(rng: np.random.Generator, kind: str, name: str) -> TrueVideo:
    """A drawn video of one of :data:`KINDS`; half of the pairs have one colour."""
    shape, other = rng.choice(list(SHAPES), 2, replace=False).tolist()
    config = SceneConfig(
        height=(HEIGHT, HEIGHT), width=(WIDTH, WIDTH), frames=FRAMES, objects=(3, 3), shapes=(shape,),
        radius=(0.09, 0.24), travel=(0.0, 0.2), related=0.0,
    )  # fmt: skip
    scene = draw_scene(
        rng, config, rendered=lambda own, ground, objects: _played(own, ground, objects, kind, other)
    )
    kept = [i + 1 for i, one in enumerate(scene.objects) if one.shape == shape]
    labels = np.zeros_like(scene.ids)
    for number, own in enumerate(kept, 1):
        there = scene.ids == own
        labels[there & (there.sum((1, 2), keepdims=True) >= LEAST_PIXELS)] = number
    plural = "crosses" if shape == "cross" else f"{shape}s"
    return TrueVideo(name, scene.frames, labels, f"all the {plural}")


def _played(
    rng: np.random.Generator, background: np.ndarray, objects: Sequence[SceneObject], kind: str, other: str
) -> Scene:
    """The objects on the paths of a kind: two of a shape, and another one."""
    first, second, third = objects
    if rng.random() < 0.5:
        second = replace(second, colour=first.colour, rgb=first.rgb)
    radius = float(rng.uniform(0.11, 0.16)) * HEIGHT
    along = np.linspace(0.0, 1.0, FRAMES)
    across = WIDTH * (0.14 + 0.72 * along)
    rows = HEIGHT * np.array([0.5, 0.5] if kind == "crossing" else [0.3, 0.7])
    rows = rows + rng.uniform(-0.12, 0.12, 2) * HEIGHT * (1 if kind == "crossing" else 0.3)
    path = [across, across[::-1] if kind == "crossing" or rng.random() < 0.5 else across]
    if kind == "returning":  # out of the frame for about a quarter of the time
        path[0] = WIDTH * (0.75 + 0.55 * np.sin(np.pi * along))
    placed = [
        replace(one, radius=radius, centres=np.stack([x, np.full(FRAMES, y)], 1))
        for one, x, y in zip((first, second), path, rows, strict=True)
    ]
    hiding = kind == "hidden"
    place = (WIDTH / 2, HEIGHT / 2) if hiding else (WIDTH * 0.12, HEIGHT * 0.14)
    size = HEIGHT * (0.33 if hiding else 0.1)
    if hiding and first.shape != "square":
        other = "square"
    centres = np.tile(place, (FRAMES, 1))
    third = replace(third, shape=other, radius=size, centres=centres)
    return render(background, [*placed, third] if hiding else [third, *placed])


def mirrored(filmed: FilmedVideo) -> TrueVideo:
    """A filmed sequence with a mirrored copy of its object, which crosses the frame in front of it."""
    frames, masks = filmed.frames, filmed.masks
    labels, shown = masks.astype(np.uint8), frames.copy()
    height, width = masks.shape[1:]
    for t, share in enumerate(np.linspace(-0.5, 0.5, len(frames))):
        move = np.array([[1.0, 0.0, share * width], [0.0, 1.0, 0.0]], np.float32)
        then = len(frames) - 1 - t
        copy = cv2.warpAffine(np.ascontiguousarray(frames[then][:, ::-1]), move, (width, height))
        soft = cv2.warpAffine(masks[then][:, ::-1].astype(np.float32), move, (width, height))
        blend = cv2.GaussianBlur(soft, (3, 3), 0)[..., None]
        shown[t] = np.rint(shown[t] * (1 - blend) + copy * blend).astype(np.uint8)
        labels[t][soft > 0.5] = 2
    return TrueVideo(filmed.name, shown, labels, FILMED[filmed.name])


def by_package(predictor: VideoPredictor, video: TrueVideo) -> Tracks:
    """What a user gets."""
    found = predictor.predict(list(video.frames), video.text)
    return [[one for one in result.predictions if one.found] for result in found]


def by_rank(tracks: Tracks) -> Tracks:
    """The same masks, with their rank by score as the id."""
    ranked = [sorted(some, key=lambda one: -one.score) for some in tracks]
    return [[replace(one, id=rank) for rank, one in enumerate(some, 1)] for some in ranked]


def of_truth(video: TrueVideo) -> Tracks:
    """Ids of the package for the true masks."""
    identities, found = Identities(), []
    identities.add(0, True)
    for frame, labels in zip(video.frames, video.labels, strict=True):
        masks = [labels == label for label in video.objects if (labels == label).any()]
        found.append(identities.update(frame, {0: [Prediction(mask, 1.0, 1.0) for mask in masks]}))
    return found


def sequence(video: TrueVideo, tracks: Tracks) -> dict[str, Any]:
    """A sequence as trackeval reads it: ids from 0, and the IoU of each pair of masks by frame."""
    places: dict[int, int] = {}
    data: dict[str, Any] = {"gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    for labels, some in zip(video.labels, tracks, strict=True):
        there = [label for label in video.objects if (labels == label).any()]
        ious = np.zeros((len(there), len(some)))
        for row, label in enumerate(there):
            for column, one in enumerate(some):
                truth = labels == label
                ious[row, column] = (one.mask & truth).sum() / (one.mask | truth).sum()
        data["gt_ids"].append(np.array([video.objects.index(label) for label in there], int))
        data["tracker_ids"].append(np.array([places.setdefault(one.id, len(places)) for one in some], int))
        data["similarity_scores"].append(ious)
    data |= {"num_timesteps": len(tracks), "num_gt_ids": len(video.objects), "num_tracker_ids": len(places)}
    for own in ("gt", "tracker"):
        data[f"num_{own}_dets"] = sum(map(len, data[f"{own}_ids"]))
    return data


def region_boundary(video: TrueVideo, tracks: Tracks) -> float:
    """Mean J&F of the objects, each with the track that fits it best."""
    pixels: dict[int, int] = defaultdict(int)
    for one in (one for some in tracks for one in some):
        pixels[one.id] += one.area
    kept = sorted(pixels, key=lambda own: -pixels[own])[:MAX_PROPOSALS]
    labels = np.zeros_like(video.labels)
    for canvas, some in zip(labels, tracks, strict=True):
        for one in sorted(some, key=lambda one: one.score):  # the better one in front
            if one.id in kept:
                canvas[one.mask] = kept.index(one.id) + 1
    scores = unsupervised(labels, video.labels, len(video.objects), video.name)
    return float((scores.region.mean() + scores.boundary.mean()) / 2)


@dataclass(frozen=True, eq=False)
class Scored:
    """A video's results: trackeval's by metric, and J&F."""

    hota: dict[str, Any]
    clear: dict[str, Any]
    identity: dict[str, Any]
    overlap: float


class Judge:
    """The metrics of trackeval."""

    def __init__(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints which of its data sets lack a package
            from trackeval import metrics
        self._hota, self._clear = metrics.HOTA(), metrics.CLEAR({"PRINT_CONFIG": False})
        self._identity = metrics.Identity({"PRINT_CONFIG": False})

    def score(self, video: TrueVideo, tracks: Tracks) -> Scored:
        """Results of a video."""
        data = sequence(video, tracks)
        hota, clear = self._hota.eval_sequence(data), self._clear.eval_sequence(data)
        return Scored(hota, clear, self._identity.eval_sequence(data), region_boundary(video, tracks))

    def total(self, scored: Sequence[Scored]) -> dict[str, float]:
        """Figures over videos, 0..1, and the number of id switches."""
        numbered = list(enumerate(scored))
        hota = self._hota.combine_sequences({i: one.hota for i, one in numbered})
        clear = self._clear.combine_sequences({i: one.clear for i, one in numbered})
        identity = self._identity.combine_sequences({i: one.identity for i, one in numbered})
        means = {name: float(np.mean(hota[name])) for name in ("HOTA", "DetA", "AssA")}
        switches = {"switches": int(clear["IDSW"]), "IDF1": float(identity["IDF1"])}
        return {**means, **switches, "J&F": float(np.mean([one.overlap for one in scored]))}

    def row(self, name: str, scored: Sequence[Scored]) -> dict[str, Any]:
        """Figures with the 95 % interval of HOTA, a bootstrap over videos."""
        rng, values = np.random.default_rng(0), []
        for _ in range(DRAWS):
            drawn_again = [scored[i] for i in rng.integers(len(scored), size=len(scored))]
            values.append(self.total(drawn_again)["HOTA"])
        low, high = np.quantile(values, [0.025, 0.975])
        return {
            "row": name,
            "videos": len(scored),
            **self.total(scored),
            "low": float(low),
            "high": float(high),
        }


def measure(
    judge: Judge, predictor: VideoPredictor, name: str, videos: Iterator[TrueVideo]
) -> list[dict[str, Any]]:
    """Rows of a kind of videos, one for each way to give ids."""
    ways: dict[str, Callable[[TrueVideo, Tracks], Tracks]] = {
        "ids of the package": lambda _, tracks: tracks,
        "rank by score": lambda _, tracks: by_rank(tracks),
        "true masks, ids of the package": lambda video, _: of_truth(video),
    }
    scored: dict[str, list[Scored]] = {way: [] for way in ways}
    alone = []
    for video in videos:
        tracks = by_package(predictor, video)
        for way, given in ways.items():
            scored[way].append(judge.score(video, given(video, tracks)))
        alone.append(
            {"video": video.name, "text": video.text, **judge.total([scored["ids of the package"][-1]])}
        )
    rows = [judge.row(f"{name}: {way}", some) for way, some in scored.items()]
    rows[0]["by_video"] = alone
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    columns = ("videos", "HOTA", "95 %", "DetA", "AssA", "IDF1", "id switches", "J&F", "n")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for one in rows:
        means = [f"{one[key]:.3f}" for key in ("DetA", "AssA", "IDF1")]
        values = [f"{one['HOTA']:.3f}", f"{one['low']:.2f} to {one['high']:.2f}", *means]
        values = [one["row"], *values, str(one["switches"]), f"{one['J&F']:.3f}", str(one["videos"])]
        lines.append(f"| {' | '.join(values)} |")
    return "\n".join(lines)


def main() -> None:
    """Reads the command line, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=20, help="drawn videos of each kind")
    parser.add_argument("--photos", type=Path, help="folder with video/; without it, drawn videos alone")
    parser.add_argument("--output", type=Path, help="also writes the figures as JSON")
    arguments = parser.parse_args()
    judge, rows = Judge(), list[dict[str, Any]]()
    nano = VideoPredictor.from_pretrained("nano", "cpu")
    for place, kind in enumerate(KINDS):
        seeds = range(30_000 + 1000 * place, 30_000 + 1000 * place + arguments.videos)
        videos = (drawn(np.random.default_rng(seed), kind, f"{kind}-{seed}") for seed in seeds)
        rows += measure(judge, nano, f"nano, {kind}", videos)
    if arguments.photos:
        filmed = (mirrored(one) for one in read_filmed(arguments.photos / "video") if one.name in FILMED)
        rows += measure(judge, VideoPredictor.from_pretrained("mini", "cpu"), "mini, filmed", filmed)
    print(table(rows))
    if arguments.output:
        write_json_atomic(arguments.output, {"rows": rows}, indent=1)


if __name__ == "__main__":
    main()
