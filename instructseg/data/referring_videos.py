"""Data set of instructions on videos, the base of the video benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial

import numpy as np

from instructseg.data.clips import Clip, Expression
from instructseg.data.data_files import fit
from instructseg.data.dataset import Dataset
from instructseg.data.frames import neighbour_references, training_frames
from instructseg.data.records import DataError, Fault, Problem, once
from instructseg.files import name_fault
from instructseg.structures import Sample, Task

REFERENCES = 4
"""Reference frames of a sample, as released."""

REVERSE = 0.3
"""Chance of reversed time, as released."""

TRIALS = 200
"""Draws of frames before the visible ones are looked for, as released."""


@dataclass(frozen=True)
class VideoSampling:
    """Choice of expressions and of frames.

    Attributes:
        references: reference frames of a sample; a shorter video gives all its frames.
        reverse: chance of a sample in reversed time; ``None`` for the data set's own, 0.3 unless it says so.
        no_target: include expressions without a target, with no mask. Released: left out.
        exclude: patterns of videos (``TAO/*``) and expressions (``003234408d/2``) to leave out.
    """

    references: int = REFERENCES
    reverse: float | None = None
    no_target: bool = False
    exclude: Sequence[str] = ()


class ReferringVideos(Dataset):
    """Videos; a sample is one expression on a key frame where the meant objects are visible.

    Evaluation goes through :attr:`clips` instead, so that the expressions of a video share its features.

    Args:
        name: of the part; samples are named ``<name>/<clip>/<expression>``.
        task: ``RVOS`` or ``REASON_VOS``; selects the prompt.
        reverse: chance of reversed time where ``sampling`` leaves it open. Released: 0.3.
        published: see :class:`~instructseg.data.dataset.Dataset`; ignored where some are excluded.
        skipped: reason -> number of expressions or videos that the adapter left out.

    Attributes:
        clips: in the order of the file.
    """

    def __init__(
        self,
        name: str,
        clips: Sequence[Clip],
        task: Task = Task.RVOS,
        sampling: VideoSampling | None = None,
        reverse: float = REVERSE,
        published: Mapping[str, int] | None = None,
        skipped: Mapping[str, int] | None = None,
    ) -> None:
        chosen = sampling or VideoSampling()
        references, exclude = chosen.references, chosen.exclude
        reverse = reverse if chosen.reverse is None else chosen.reverse
        if references < 0 or not 0 <= reverse <= 1:
            given = f"got {references} and {reverse}"
            raise ValueError(f"references must not be negative and reverse be 0..1, {given}")
        self.name, self.task = name, task
        self.references, self.reverse = references, reverse
        self.clips = tuple(without(clips, exclude))
        check_result_names(name, self.clips)
        self.published = {} if exclude else published or {}
        self._skipped = dict(skipped or {})
        if exclude:
            self._skipped["excluded"] = _sentences(clips) - _sentences(self.clips)
        items: list[tuple[int, int]] = []
        for c, clip in enumerate(self.clips):
            for e, expression in enumerate(clip.expressions):
                reason = _unfit(clip, expression, chosen.no_target)
                if reason is None:
                    items.append((c, e))
                else:
                    self._skipped[reason] = self._skipped.get(reason, 0) + 1
        self._items = np.array(items, np.int32).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Sample:
        """Sample ``index``, always with the same frames; see :meth:`Dataset.__getitem__`."""
        return self.draw(index, np.random.default_rng(max(index, 0)))

    def draw(self, index: int, rng: np.random.Generator) -> Sample:
        """Sample ``index`` with frames drawn by the released rule; see :meth:`Dataset.draw`.

        Raises:
            DataError: as :meth:`Dataset.draw`, and where nothing of what is meant is visible in any frame.
        """
        clip, expression = self.locate(index)
        key, references, mask = self._choose(clip, expression, rng)
        pixels = clip.frames[key]
        name = f"{self.name}/{clip.name}/{expression.id}"
        masks = None
        if mask is not None:
            masks = fit(mask[None] if expression.objects else mask[None][:0], pixels, f"{name}, frame {key}")
        meta = {
            "clip": clip.name,
            "expression": expression.id,
            "objects": expression.objects,
            "type": expression.type,
            "frame": clip.frame_names[key],
        }
        reference_frames = tuple(clip.frames[t] for t in references)
        return Sample(pixels, expression.text, self.task, reference_frames, masks, name=name, meta=meta)

    def image_key(self, index: int) -> str:
        """Names the sample itself: each draws frames of its own."""
        clip, expression = self.locate(index)
        return f"{self.name}/{clip.name}/{expression.id}"

    def counts(self) -> dict[str, int]:
        """Videos and expressions, whether samples or not, and what was skipped."""
        skipped = {f"skipped: {reason}": count for reason, count in self._skipped.items()}
        return {"videos": len(self.clips), "expressions": _sentences(self.clips), **skipped}

    def inspect(self) -> Iterator[Problem]:
        """Problems of all videos; a shared problem is repeated."""
        for clip in self.clips:
            yield from clip.inspect()

    def readers(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """See :meth:`Dataset.readers`; all frames with all targets, then all samples."""
        for clip in self.clips:
            for t, frame in enumerate(clip.frame_names):
                place = f"{self.name}/{clip.name}, frame {frame}"
                yield place, partial(self._read, clip, t, place)
        yield from super().readers()  # finds targets that are visible in no frame

    def locate(self, index: int) -> tuple[Clip, Expression]:
        """The video and the expression of sample ``index``; raises ``IndexError``."""
        self.check_index(index)
        c, e = self._items[index]
        return self.clips[c], self.clips[c].expressions[e]

    def _read(self, clip: Clip, t: int, place: str) -> None:
        """Frame ``t`` and the masks of everything that is meant; raises as :meth:`draw`."""
        pixels, mask = clip.frames[t], clip.mask(Expression("", "", clip.meant), t)
        if mask is not None:
            fit(mask, pixels, place)

    def _choose(
        self, clip: Clip, expression: Expression, rng: np.random.Generator
    ) -> tuple[int, list[int], np.ndarray | None]:
        """A key frame, its references, and what is meant in it, together."""
        for _ in range(TRIALS):
            key, references = training_frames(len(clip), rng, self.references + 1, self.reverse)
            mask = clip.mask(expression, key)
            if mask is None or not expression.objects or mask.any():
                return key, references, mask
        for key in rng.permutation(len(clip)).tolist():
            mask = clip.mask(expression, key)
            if mask is not None and mask.any():
                return key, neighbour_references(key, len(clip), self.references), mask
        where = f"{self.name}/{clip.name}/{expression.id}"
        raise DataError(Fault.MASK, where, f"{expression.text!r} is visible in no frame")


def check_result_names(name: str, clips: Sequence[Clip]) -> None:
    """Raises ``DataError`` for names of results that come twice or leave their folder."""
    for clip in clips:
        where = f"{name}, video {clip.name}"
        once(tuple(expression.id for expression in clip.expressions), where, "the expression id")
        once(clip.frame_names, where, "a frame called")
        for label in (clip.name, *(expression.id for expression in clip.expressions), *clip.frame_names):
            if message := name_fault(label, nested=label is clip.name):
                raise DataError(Fault.ID, where, f"{label!r} names no place of results: {message}")
    once(tuple(clip.name for clip in clips), name, "a video called")


def _unfit(clip: Clip, expression: Expression, no_target: bool) -> str | None:
    """Reason why an expression is no sample."""
    if clip.truth is None:
        return None
    if not expression.objects:
        return None if no_target else "without target"
    if all(clip.truth.never_visible(obj) for obj in expression.objects):
        return "never visible"
    return None


def joined(clips: Iterable[Clip]) -> list[Clip]:
    """Joins all expressions of the same objects; the id is that of the first.

    What reads the instruction puts a full stop behind it, as is put here between the expressions.
    """
    result = []
    for clip in clips:
        groups: dict[tuple[str, ...], list[Expression]] = {}
        for expression in clip.expressions:
            groups.setdefault(expression.objects, []).append(expression)
        expressions = tuple(
            replace(group[0], text=". ".join(one.text for one in group)) for group in groups.values()
        )
        result.append(replace(clip, expressions=expressions))
    return result


def without(clips: Iterable[Clip], exclude: Sequence[str]) -> list[Clip]:
    """Drops expressions whose ``<clip>/<id>`` matches a pattern, and videos without any left.

    A ``*`` matches slashes too: ``TAO/*`` are all videos below ``TAO``, and ``street/*`` is all of one video.
    """
    result = []
    for clip in clips:
        kept = tuple(
            expression
            for expression in clip.expressions
            if not any(fnmatchcase(f"{clip.name}/{expression.id}", pattern) for pattern in exclude)
        )
        if len(kept) == len(clip.expressions):
            result.append(clip)
        elif kept:
            result.append(replace(clip, expressions=kept))
    return result


def _sentences(clips: Iterable[Clip]) -> int:
    return sum(len(clip.expressions) for clip in clips)
