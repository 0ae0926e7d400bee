"""Scores folders of masks, whatever model wrote them, against the ground truth of a data set.

The predictions of MeViS, Ref-YouTube-VOS and ReVOS are an image per video, expression and frame, 0 outside::

    <predictions>/<video>/<expression id>/<frame>.png

and those of DAVIS a label map per video and frame, see :func:`evaluate_davis`. An expression that cannot be
scored (a missing frame, another size) counts 0, as in the official scripts, with the reason in
:attr:`~instructseg.evaluation.expressions.ExpressionScores.fault`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from instructseg.data.clips import Clip, Expression
from instructseg.data.referring_videos import ReferringVideos
from instructseg.evaluation.davis import DavisSums, SequenceScores, semi_supervised, unsupervised
from instructseg.evaluation.expressions import REVOS_GROUPS, ExpressionScores, ExpressionSums, score_masks
from instructseg.masks import load_grey_png, load_index_png
from instructseg.structures import IGNORE_PIXEL

T = TypeVar("T")
R = TypeVar("R")

DavisTask = Literal["semi-supervised", "unsupervised"]

NO_TARGET = 2
"""``type_id`` of a ReVOS expression without a target."""

_FOLDERS = {"semi-supervised": "Annotations", "unsupervised": "Annotations_unsupervised"}


def evaluate_expressions(predictions: Path, videos: ReferringVideos, processes: int = 1) -> ExpressionSums:
    """Scores a folder of masks; videos without ground truth are left out.

    Args:
        processes: to score expressions in; 1 for this one.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no video has ground truth.
    """
    if not predictions.is_dir():
        raise FileNotFoundError(f"no folder of predictions at {predictions}")
    known = [clip for clip in videos.clips if clip.truth is not None]
    if not known:
        raise ValueError(f"{videos.name}: no video has public ground truth to compare with")
    items = ((_only(clip, expression), expression) for clip in known for expression in clip.expressions)
    sums = ExpressionSums()
    for scores in each(partial(_score, predictions), items, processes):
        sums.add(scores)
    return sums


def _only(clip: Clip, expression: Expression) -> Clip:
    """The video with the ground truth of one expression, since it goes to another process."""
    assert clip.truth is not None
    return replace(clip, expressions=(expression,), truth=clip.truth.only(expression.objects))


def _score(predictions: Path, item: tuple[Clip, Expression]) -> ExpressionScores:
    clip, expression = item
    name = f"{clip.name}/{expression.id}"
    try:
        files = [predictions / name / f"{frame}.png" for frame in clip.frame_names]
        prediction = np.stack([load_grey_png(file) for file in files])
        height, width = prediction.shape[1:]
        return score_expression(replace(clip, recorded_size=(height, width)), expression, prediction)
    except (FileNotFoundError, ValueError) as error:
        target = bool(expression.objects)
        return ExpressionScores(name, _kind(expression), fault=str(error), type=expression.type, target=target)


def score_expression(clip: Clip, expression: Expression, prediction: np.ndarray) -> ExpressionScores:
    """Scores one expression against the ground truth of its video.

    Args:
        prediction: ``uint8[T, H, W]``, 0 outside.

    Raises:
        FileNotFoundError: a mask is missing.
        ValueError: sizes differ, or a mask is damaged.
    """
    frames = range(len(clip))
    truth = np.stack([_covered(clip, expression, t) for t in frames])
    everything = None
    if clip.foreground_truth is not None:
        everything = np.stack([_foreground(clip, t) for t in frames])
    name = f"{clip.name}/{expression.id}"
    return replace(score_masks(prediction, truth, everything, name, _kind(expression)), type=expression.type)


def _kind(expression: Expression) -> int:
    """``type_id`` of ReVOS; 0 for other data sets."""
    return REVOS_GROUPS.get(expression.type, NO_TARGET if expression.type else 0)


def _covered(clip: Clip, expression: Expression, t: int) -> np.ndarray:
    """Number of target objects at each pixel, ``uint8[H, W]``; ReVOS's official A and R use it."""
    masks = clip.masks(expression, t)
    assert masks is not None
    return masks.sum(axis=0, dtype=np.uint8)


def _foreground(clip: Clip, t: int) -> np.ndarray:
    mask = clip.foreground(t)
    assert mask is not None
    return mask


def evaluate_davis(
    root: Path,
    predictions: Path,
    task: DavisTask = "unsupervised",
    split: str = "val",
    sequences: Sequence[str] | None = None,
    processes: int = 1,
    official_decay: bool = False,
) -> DavisSums:
    """Scores a folder of palette PNGs against the annotations of DAVIS 2017.

    ::

        <root>/ImageSets/2017/<split>.txt                              a sequence per line
               Annotations[_unsupervised]/480p/<sequence>/<frame>.png  palette PNG: 1.. objects, 255 void
        <predictions>/<sequence>/<frame>.png                           palette PNG: 1.. objects or proposals

    Args:
        task: ``unsupervised`` for Ref-DAVIS17.
        sequences: these only.
        processes: to score sequences in; 1 for this one.
        official_decay: see :func:`~instructseg.evaluation.jf.statistics`.

    Raises:
        FileNotFoundError: the list, the annotations or a predicted frame is missing.
        ValueError: a prediction does not fit.
    """
    if task not in _FOLDERS:
        raise ValueError(f"no DAVIS task '{task}': use one of {', '.join(_FOLDERS)}")
    if sequences is None:
        listing = root / "ImageSets" / "2017" / f"{split}.txt"
        if not listing.is_file():
            raise FileNotFoundError(f"no list of sequences at {listing}: give the root of DAVIS")
        sequences = [line.strip() for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]
    sums = DavisSums(official_decay)
    for scores in each(partial(_score_sequence, root, predictions, task), sequences, processes):
        sums.add(scores)
    return sums


def _score_sequence(root: Path, predictions: Path, task: DavisTask, name: str) -> SequenceScores:
    folder = root / _FOLDERS[task] / "480p" / name
    frames = sorted(path.name for path in folder.glob("*.png"))
    if not frames:
        raise FileNotFoundError(f"no annotations in {folder}")
    truth = np.stack([load_index_png(folder / frame) for frame in frames])
    objects = int(np.where(truth[0] == IGNORE_PIXEL, 0, truth[0]).max())
    if task == "semi-supervised":
        frames, truth = frames[1:-1], truth[1:-1]
    if not frames:
        raise ValueError(f"{name}: no frame is left between the first and the last")
    prediction = np.stack([load_index_png(predictions / name / frame) for frame in frames])
    score = semi_supervised if task == "semi-supervised" else unsupervised
    return score(prediction, truth, objects, name)


def each(function: Callable[[T], R], items: Iterable[T], processes: int = 1) -> Iterator[R]:
    """Applies a function to every item, in several processes; results in the order of the items.

    Args:
        function: defined at the top of a module, so that other processes find it.
        processes: 1 for this one.

    Raises:
        ValueError: ``processes`` is below 1.
    """
    if processes < 1:
        raise ValueError(f"{processes} processes cannot do anything: give 1 or more")
    if processes == 1:
        yield from map(function, items)
        return
    # a fresh interpreter each: threads that torch or OpenCV started here do not survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_thread) as pool:
        yield from pool.map(function, items)


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)
