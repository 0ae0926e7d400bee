"""The jobs behind ``instructseg image`` and ``instructseg video`` and behind the demos."""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from instructseg.cli import checks
from instructseg.cli.errors import described
from instructseg.cli.inputs import Inputs, find_images, find_videos
from instructseg.cli.job import Job, Summary, checked
from instructseg.cli.outputs import Layout, ResultWriter, covered, plan
from instructseg.cli.results import Plan, Results
from instructseg.log import setup_logging
from instructseg.media import VideoSource, frames_in, image_size, load_image, open_video
from instructseg.progress import progress
from instructseg.questions import wants_words
from instructseg.structures import Task

if TYPE_CHECKING:
    import numpy as np

    from instructseg.inference import ImagePredictor, VideoPredictor
    from instructseg.inference.memory import Workload

    _Predictor = TypeVar("_Predictor", ImagePredictor, VideoPredictor)

__all__ = ["Job", "Summary", "segment_pictures", "segment_video", "segment_videos"]

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE)
"""Errors that every other input would meet, too."""


def segment_pictures(source: Path | Sequence[Path], prompts: Sequence[str], job: Job) -> Iterator[Summary]:
    """Segments pictures, or every picture of folders; for ``Task.VQA`` answers questions about them.

    Without a task, what asks for words is answered in words, and the rest segmented.

    Of several, one that cannot be read has an ``error`` in its summary, and the others go on; what an earlier
    run has done is passed over.

    Raises:
        FileNotFoundError, ValueError, OSError: as reading, loading and writing; of all that can be known
            before, before a file is made.
    """
    job = checked(job, prompts)
    inputs = find_images([source] if isinstance(source, Path) else source, job.recursive)
    if len(_questions(prompts, job)) == len(prompts):
        layouts = [Layout()] * len(inputs.items)
    else:
        layouts = [plan(item.name, job.output, job.formats) for item in inputs.items]
    with _results(job, inputs, layouts, prompts) as results:
        if not inputs.batch:
            load_image(
                inputs.items[0].path, job.max_pixels
            )  # what cannot be read is found before the model is loaded
        yield from _segment_pictures(results, prompts, job, inputs.batch)


def _segment_pictures(results: Results, prompts: Sequence[str], job: Job, batch: bool) -> Iterator[Summary]:
    from instructseg.inference import ImagePredictor
    from instructseg.inference.memory import Workload

    workload, predictor = None, None
    if job.max_memory is not None and results.todo:
        sizes = [image_size(plan.item.path) for plan in results.todo]
        workload = Workload(max(sizes, key=math.prod), len(prompts))
    label = results.todo[0].item.path.parent.name if batch and results.todo else "picture"
    with progress(results.todo, len(results.todo), "pictures", label) as steps:
        for step in steps:
            summary = Summary(str(step.item.path), [str(path) for path in step.layout.paths], several=batch)
            with _alone(summary, batch, reading=True):
                checks.check_text("input", [step.item.path])
                frame = load_image(step.item.path, job.max_pixels)
                if (count := frames_in(step.item.path)) > 1:
                    summary.notes.append(
                        f"only the first of {count} frames was used: 'instructseg video' takes all"
                    )
            if summary.error is None:
                predictor = predictor or _predictor(ImagePredictor, job, prompts, workload)
                with _alone(summary, batch):
                    _segment_picture(predictor, frame, prompts, job, step, results, summary)
            yield summary


def segment_video(source: Path, prompts: Sequence[str], job: Job) -> Summary:
    """Segments one video: a file, a folder of frames, or a picture as a clip of one frame.

    Raises:
        FileNotFoundError, ValueError, OSError: as :func:`segment_pictures`. Where the clip breaks off, the
            results before stay, and the message tells how many.
        KeyboardInterrupt: likewise.
    """
    (summary,) = segment_videos([source], prompts, job)
    return summary


def segment_videos(sources: Sequence[Path], prompts: Sequence[str], job: Job) -> Iterator[Summary]:
    """:func:`segment_video` of several, or of every video of folders.

    Of several, one that cannot be read, or breaks off, has an ``error`` in its summary, and the others go on.
    """
    job = checked(job, prompts)
    if job.explain or job.task is Task.VQA:
        raise ValueError("text is written about pictures only: use 'instructseg image'")
    for place in _questions(prompts, job):
        raise ValueError(
            f"'{prompts[place]}' asks for words, which are written about pictures only: "
            "use 'instructseg image', or add --task reason_vos for a mask all the same"
        )
    inputs = find_videos(sources, job.recursive)
    opened = [_opened(item.path, job, inputs.batch) for item in inputs.items]
    rates = [clip.fps if isinstance(clip, VideoSource) else 1.0 for clip in opened]
    layouts = [
        plan(item.name, job.output, job.formats, fps) for item, fps in zip(inputs.items, rates, strict=True)
    ]
    known = dict(zip((item.path for item in inputs.items), opened, strict=True))
    predictor = None
    with _results(job, inputs, layouts, prompts) as results:
        for step in results.todo:
            summary = Summary(str(step.item.path), [str(path) for path in step.layout.paths])
            summary.several = inputs.batch
            clip = known[step.item.path]
            with _alone(summary, inputs.batch, reading=True):
                checks.check_text("input", [step.item.path])
                if isinstance(clip, Exception):
                    raise clip
            if isinstance(clip, VideoSource) and summary.error is None:
                predictor = predictor or _video_predictor(job, prompts, opened)
                with _alone(summary, inputs.batch):
                    _segment_clip(predictor, clip, prompts, job, step, results, summary)
            yield summary


def _opened(path: Path, job: Job, batch: bool) -> VideoSource | Exception:
    """A video, or of several why it cannot be opened."""
    try:
        return open_video(path, job.fps, job.max_pixels)
    except Exception as error:  # whatever a reader raises on a foreign file is of that file alone
        if not batch:
            raise
        return error


def _video_predictor(
    job: Job, prompts: Sequence[str], opened: Sequence[VideoSource | Exception]
) -> VideoPredictor:
    """The model, for the largest of the videos."""
    from instructseg.inference import VideoPredictor
    from instructseg.inference.frame_window import REFERENCE_FPS
    from instructseg.inference.memory import Workload

    clips = [clip for clip in opened if isinstance(clip, VideoSource)]
    rates = [clip.fps if clip.timed else REFERENCE_FPS for clip in clips]
    spacing = None if job.spacing is None else job.spacing * REFERENCE_FPS
    size = max((clip.size for clip in clips), key=math.prod)
    return _predictor(VideoPredictor, job, prompts, Workload(size, len(prompts), spacing or max(rates)))


def _segment_clip(
    predictor: VideoPredictor,
    clip: VideoSource,
    prompts: Sequence[str],
    job: Job,
    step: Plan,
    results: Results,
    summary: Summary,
) -> None:
    """Asks about a video, and writes."""
    from instructseg.inference import Stride
    from instructseg.inference.prefetch import WriteBehind, read_ahead

    found = predictor.predict(
        clip.passed_through(read_ahead),
        prompts,
        job.task or Task.RVOS,
        soft=job.soft,
        threshold=job.threshold,
        llm_stride=Stride.of(job.llm_stride),
        spacing=job.spacing,
    )
    writer = ResultWriter(
        step.layout,
        prompts,
        summary.source,
        job.soft,
        results.begin,
        clip.frame_names,
        announced=clip.announced,
    )
    with ExitStack() as stack:
        stack.callback(lambda: results.finish(step, complete=False) if writer.count else None)
        with (
            _kept(summary),
            WriteBehind(writer, lambda result: summary.add(result.predictions)) as behind,
            progress(found, clip.about, "frames", step.item.path.name) as steps,
        ):
            for result in steps:
                behind.write(result)
        stack.pop_all()
    results.finish(step)
    summary.notes += covered(writer.shown_of, prompts)
    if clip.announced is not None and clip.announced != writer.count:
        # nothing is lost: a recording that was cut begins with frames that refer to what was cut off
        summary.notes.append(f"the file announced {clip.announced} frames, {writer.count} can be decoded")
    if clip.sound and step.layout.overlay:
        summary.notes.append(f"the sound ({clip.sound}) is not in the overlay")


def _segment_picture(
    predictor: ImagePredictor,
    frame: np.ndarray,
    prompts: Sequence[str],
    job: Job,
    step: Plan,
    results: Results,
    summary: Summary,
) -> None:
    """Asks about a picture, and writes."""
    from instructseg.inference import FrameResult

    predictor.set_image(frame)
    replies = {place: predictor.answer(prompts[place]) for place in _questions(prompts, job)}
    marked = [text for place, text in enumerate(prompts) if place not in replies]
    if not marked:
        summary.reply(prompts, replies)
        return
    task = job.task or Task.RES
    found = predictor.predict(marked, task, soft=job.soft, answer=job.explain, threshold=job.threshold)
    writer = ResultWriter(step.layout, prompts, summary.source, job.soft, results.begin, replies=replies)
    with writer:
        writer.write(FrameResult(0, predictor.frame, found))
    summary.add(found)
    summary.reply(prompts, replies)
    results.finish(step)
    summary.notes += covered(writer.shown_of, marked)
    if job.explain and not any((one.answer or "").strip() for one in found):
        summary.notes.append("these weights have not learned to explain: they wrote no text")


def _questions(prompts: Sequence[str], job: Job) -> list[int]:
    """Places of the prompts that are answered in words: all for ``Task.VQA``; without a task, as they read."""
    if job.task is None:
        return [place for place, text in enumerate(prompts) if wants_words(text)]
    return list(range(len(prompts))) if job.task is Task.VQA else []


@contextmanager
def _alone(summary: Summary, batch: bool, reading: bool = False) -> Iterator[None]:
    """Of several inputs, tells of one that fails in its summary; what all others would meet ends the run."""
    try:
        yield
    except Exception as error:  # whatever a reader raises on a foreign file is of that file alone
        of_the_disk = isinstance(error, OSError) and error.errno in _OF_THE_DISK
        named = reading or Path(summary.source).name in str(error)
        of_the_request = isinstance(error, ValueError) and not named
        if not batch or of_the_disk or of_the_request or isinstance(error, ImportError):
            raise
        summary.error = described(error)[0]
        summary.files = summary.files if summary.frames else []


@contextmanager
def _kept(summary: Summary) -> Iterator[None]:
    """Adds to an interruption how many frames are done, and where they are."""
    from instructseg.out_of_memory import is_out_of_memory

    try:
        yield
    except KeyboardInterrupt as error:
        if not summary.frames:
            raise
        files = ", ".join(summary.files)
        error.args = (f"{str(error) or 'interrupted'}: the first {summary.frames} frames are in {files}",)
        raise
    except (ValueError, RuntimeError) as error:
        if not summary.frames or not (isinstance(error, ValueError) or is_out_of_memory(error)):
            raise
        files = ", ".join(summary.files)
        kind = ValueError if isinstance(error, ValueError) else RuntimeError
        raise kind(f"{error}; the results of the {summary.frames} frames before are in {files}") from error


def _results(job: Job, inputs: Inputs, layouts: Sequence[Layout], prompts: Sequence[str]) -> Results:
    """Checks where results go, and tells what is passed over."""
    results = Results(job.output, inputs, layouts, prompts, job.marks(), job.overwrite)
    for note in inputs.notes:
        typer.echo(f"note: {note}", err=True)
    if results.done:
        told = f"note: {results.done} of {len(inputs.items)} are done already (--overwrite does them again)"
        typer.echo(told, err=True)
    return results


def _predictor(
    kind: type[_Predictor], job: Job, prompts: Sequence[str], workload: Workload | None
) -> _Predictor:
    """Loads the model for what is to be asked, and says so where it is the bundled one."""
    from transformers.utils import logging as transformers_logging

    from instructseg.inference import PUBLISHED, is_bundled

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # what is wrong with weights is told in one line
    if is_bundled(job.model):
        note = f"note: the bundled model was made for drawn shapes; for real footage add --model {PUBLISHED}"
        typer.echo(note, err=True)
    if job.threads is not None:
        import torch

        torch.set_num_threads(job.threads)
    if job.max_memory is not None:
        setup_logging()  # shows what is chosen
    given = (job.model, job.device, job.dtype, job.quantize, job.max_memory)
    predictor = kind.from_pretrained(*given, workload)
    writes = Task.REASON_SEG if job.explain else Task.VQA if job.task is Task.VQA else None
    if writes is not None and writes not in predictor.processor.config.text_tasks:
        raise ValueError(
            f"these weights have not learned to write text for '{writes.value}': leave out --explain or "
            "--task vqa, or choose others with --model"
        )
    asked = _questions(prompts, job) if job.task is None else []
    if asked and Task.VQA not in predictor.processor.config.text_tasks:
        raise ValueError(
            f"'{prompts[asked[0]]}' asks for words, which these weights have not learned to write: add "
            "--task reason_seg for a mask, or choose others with --model"
        )
    strange = predictor.processor.strange_words(prompts) if is_bundled(job.model) else []
    if strange:
        typer.echo(f"note: the bundled model does not know these words: {', '.join(strange)}", err=True)
    if job.compile:
        predictor.compile()
    return predictor
