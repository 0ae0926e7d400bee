"""Segmentation of images and videos for ``instructseg image``, ``video`` and ``demo``."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from instructseg.jobs import checks
from instructseg.jobs.faults import described
from instructseg.jobs.inputs import find_images, find_videos
from instructseg.jobs.job import Job, checked
from instructseg.jobs.run_summary import Summary
from instructseg.log import setup_logging
from instructseg.media import VideoSource, frames_in, image_size, load_image, open_video
from instructseg.prediction import FrameResult
from instructseg.progress import progress
from instructseg.questions import wants_words
from instructseg.results import (
    Inputs,
    PlannedResult,
    ResultFolder,
    ResultInfo,
    ResultPaths,
    ResultWriter,
    frame_stems,
    plan_paths,
)
from instructseg.structures import Task

if TYPE_CHECKING:
    import numpy as np

    from instructseg.inference import Predictor, VideoSystem
    from instructseg.inference.memory import Workload
    from instructseg.loading import OpenOptions

_Opened = TypeVar("_Opened")

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE)
"""Errors that affect every other input, too."""


def segment_images(source: Path | Sequence[Path], prompts: Sequence[str], job: Job) -> Iterator[Summary]:
    """Segments images, or all images of folders; with ``Task.VQA`` answers questions about them.

    Without a task, questions are answered in text, other prompts by masks.

    Of several images, an unreadable one has an ``error`` in its summary and the others continue; images done
    by an earlier run are skipped.

    Raises:
        FileNotFoundError, ValueError, OSError: as reading, loading and writing; foreseeable ones before any
            file is written.
    """
    job = checked(job, prompts)
    inputs = find_images([source] if isinstance(source, Path) else source, job.recursive)
    if len(_questions(prompts, job)) == len(prompts):
        places = [ResultPaths()] * len(inputs.items)
    else:
        places = [plan_paths(item.name, job.output, job.formats, video=False) for item in inputs.items]
    with _open_results(job, inputs, places, prompts) as results:
        if not inputs.batch:
            load_image(inputs.items[0].path, job.max_pixels)  # an unreadable one fails before loading the model
        yield from _segment_images(results, prompts, job, inputs.batch)
        _gather(results)


def _segment_images(results: ResultFolder, prompts: Sequence[str], job: Job, batch: bool) -> Iterator[Summary]:
    from instructseg.inference.memory import Workload
    from instructseg.loading import load

    workload, predictor = None, None
    if job.max_memory is not None and results.todo:
        sizes = [image_size(plan.item.path) for plan in results.todo]
        workload = Workload(max(sizes, key=math.prod), len(prompts))
    label = results.todo[0].item.path.parent.name if batch and results.todo else "image"
    with progress(results.todo, len(results.todo), "images", label) as steps:
        for step in steps:
            summary = Summary(str(step.item.path), [str(path) for path in step.places.paths], several=batch)
            with _alone(summary, batch, reading=True):
                checks.check_text("input", [step.item.path])
                frame = load_image(step.item.path, job.max_pixels)
                if (count := frames_in(step.item.path)) > 1:
                    summary.notes.append(
                        f"only the first of {count} frames was used: 'instructseg video' takes all"
                    )
            if summary.error is None:
                predictor = predictor or _open_system(load, job, prompts, workload)
                with _alone(summary, batch):
                    _segment_image(predictor, frame, job, step, results, summary)
            yield summary


def segment_video(source: Path, prompts: Sequence[str], job: Job) -> Summary:
    """Segments one video: a file, a folder of frames, or an image as a video of one frame.

    Raises:
        FileNotFoundError, ValueError, OSError: as :func:`segment_images`. If the video breaks off, the
            results so far stay, and the message states their number.
        KeyboardInterrupt: likewise.
    """
    (summary,) = segment_videos([source], prompts, job)
    return summary


def segment_videos(sources: Sequence[Path], prompts: Sequence[str], job: Job) -> Iterator[Summary]:
    """:func:`segment_video` of several, or of every video of folders.

    Of several, one that is unreadable or breaks off has an ``error`` in its summary and the others continue.
    """
    job = checked(job, prompts)
    if job.explain or job.task is Task.VQA:
        raise ValueError("text is written about images only: use 'instructseg image'")
    for place in _questions(prompts, job):
        raise ValueError(
            f"'{prompts[place]}' asks for words, which are written about images only: "
            "use 'instructseg image', or add --task reason_vos for a mask all the same"
        )
    inputs = find_videos(sources, job.recursive)
    opened = [_opened(item.path, job, inputs.batch) for item in inputs.items]
    places = [
        plan_paths(item.name, job.output, job.formats, True, frame_stems(getattr(video, "frame_names", ())))
        for item, video in zip(inputs.items, opened, strict=True)
    ]
    known = dict(zip((item.path for item in inputs.items), opened, strict=True))
    predictor = None
    with _open_results(job, inputs, places, prompts) as results:
        for step in results.todo:
            summary = Summary(str(step.item.path), [str(path) for path in step.places.paths])
            summary.several = inputs.batch
            video = known[step.item.path]
            with _alone(summary, inputs.batch, reading=True):
                checks.check_text("input", [step.item.path])
                if isinstance(video, Exception):
                    raise video
            if isinstance(video, VideoSource) and summary.error is None:
                predictor = predictor or _video_predictor(job, prompts, opened)
                with _alone(summary, inputs.batch):
                    _segment_video(predictor, video, job, step, results, summary)
            yield summary
        _gather(results)


def _opened(path: Path, job: Job, batch: bool) -> VideoSource | Exception:
    """A video, or of several the error in opening it."""
    try:
        return open_video(path, job.fps, job.max_pixels)
    except Exception as error:  # any error of a reader concerns that file alone
        if not batch:
            raise
        return error


def _video_predictor(
    job: Job, prompts: Sequence[str], opened: Sequence[VideoSource | Exception]
) -> VideoSystem:
    """The model, with memory for the largest video."""
    from instructseg.inference.frame_window import REFERENCE_FPS
    from instructseg.inference.memory import Workload
    from instructseg.loading import load_video

    videos = [one for one in opened if isinstance(one, VideoSource)]
    rates = [one.fps if one.timed else REFERENCE_FPS for one in videos]
    spacing = None if job.spacing is None else job.spacing * REFERENCE_FPS
    size = max((one.size for one in videos), key=math.prod)
    return _open_system(load_video, job, prompts, Workload(size, len(prompts), spacing or max(rates)))


def _segment_video(
    predictor: VideoSystem,
    video: VideoSource,
    job: Job,
    step: PlannedResult,
    results: ResultFolder,
    summary: Summary,
) -> None:
    """Segments a video and writes the results."""
    from instructseg.inference.prefetch import WriteBehind, read_ahead

    options = job.request()
    found = predictor.predict(video.passed_through(read_ahead), results.instructions, **options)
    info = ResultInfo(
        results.instructions,
        summary.source,
        step.item.name,
        step.item.path,
        fps=video.fps,
        frame_names=video.frame_names,
        announced=video.announced,
        sound=step.item.path if video.sound and job.audio and job.fps is None else None,
        **job.drawing(),
    )
    writer = ResultWriter(step.places, info, results.begin)
    with ExitStack() as stack:
        stack.callback(lambda: results.finish(step, complete=False) if writer.count else None)
        with (
            _kept(summary),
            WriteBehind(writer, lambda result: summary.add(result.predictions)) as behind,
            progress(found, video.about, "frames", step.item.path.name) as steps,
        ):
            for result in steps:
                behind.write(result)
        stack.pop_all()
    results.finish(step)
    summary.notes += writer.notes()
    if video.announced is not None and video.announced != writer.count:
        # nothing is lost: a cut recording may begin with frames that refer to the removed part
        summary.notes.append(f"the file announced {video.announced} frames, {writer.count} can be decoded")
    if video.sound and job.audio and job.fps is not None:
        summary.notes.append(f"the sound ({video.sound}) is left out, as --fps changes the speed")


def _segment_image(
    predictor: Predictor,
    frame: np.ndarray,
    job: Job,
    step: PlannedResult,
    results: ResultFolder,
    summary: Summary,
) -> None:
    """Segments an image and writes the results."""
    from instructseg.inference import TextPredictor

    prompts, image, replies = results.instructions, frame, dict[int, str]()
    if isinstance(predictor, TextPredictor):
        image = predictor.encode(frame)
        replies = {place: predictor.answer(image, prompts[place]) for place in _questions(prompts, job)}
    marked = [text for place, text in enumerate(prompts) if place not in replies]
    if not marked:
        summary.reply(prompts, replies)
        return
    found = predictor.predict(image, marked, **job.request())
    info = ResultInfo(prompts, summary.source, step.item.name, step.item.path, replies=replies, **job.drawing())
    with ResultWriter(step.places, info, results.begin) as writer:
        writer.write(FrameResult(0, frame, found))
    summary.add(found)
    summary.reply(prompts, replies)
    results.finish(step)
    summary.notes += writer.notes()
    if job.explain and not any((one.text or "").strip() for one in found):
        summary.notes.append("these weights have not learned to explain: they wrote no text")


def _questions(prompts: Sequence[str], job: Job) -> list[int]:
    """Places of the prompts answered in text: all for ``Task.VQA``; without a task, by their words."""
    if job.task is None:
        return [place for place, text in enumerate(prompts) if wants_words(text)]
    return list(range(len(prompts))) if job.task is Task.VQA else []


@contextmanager
def _alone(summary: Summary, batch: bool, reading: bool = False) -> Iterator[None]:
    """Of several inputs, reports a failure in the summary; errors that affect all inputs end the run."""
    try:
        yield
    except Exception as error:  # any error of a reader concerns that file alone
        of_the_disk = isinstance(error, OSError) and error.errno in _OF_THE_DISK
        named = reading or Path(summary.source).name in str(error)
        of_the_request = isinstance(error, ValueError) and not named
        if not batch or of_the_disk or of_the_request or isinstance(error, ImportError):
            raise
        summary.error = described(error)[0]
        summary.files = summary.files if summary.frames else []


@contextmanager
def _kept(summary: Summary) -> Iterator[None]:
    """Adds number and place of the finished frames to an interruption."""
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


def _open_results(
    job: Job, inputs: Inputs, places: Sequence[ResultPaths], prompts: Sequence[str]
) -> ResultFolder:
    """Checks the places of results, and notes skipped files and inputs."""
    model = Path(job.model) if job.model else None
    inputs.beside += [job.prompts] if job.prompts else []
    inputs.beside += model.iterdir() if model is not None and model.is_dir() else []
    results = ResultFolder(job.output, inputs, places, prompts, job.marks(), job.overwrite)
    for note in inputs.notes:
        typer.echo(f"note: {note}", err=True)
    if results.done:
        note = f"note: {results.done} of {len(inputs.items)} are done already (--overwrite does them again)"
        typer.echo(note, err=True)
    return results


def _gather(results: ResultFolder) -> None:
    """Writes the files about all inputs."""
    for path in results.gather():
        typer.echo(f"wrote {path}, of all inputs", err=True)


def _open_system(
    load: Callable[..., _Opened], job: Job, prompts: Sequence[str], workload: Workload | None
) -> _Opened:
    """Loads the model, with a note for the bundled one, and checks it against the prompts."""
    from transformers.utils import logging as transformers_logging

    from instructseg.inference import PUBLISHED, TextPredictor, is_bundled
    from instructseg.inference.predictor import PretrainedPredictor

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # errors in weights take one line
    if is_bundled(job.model):
        note = f"note: the bundled model was made for drawn shapes; for real footage add --model {PUBLISHED}"
        typer.echo(note, err=True)
    if job.threads is not None:
        import torch

        torch.set_num_threads(job.threads)
    if job.max_memory is not None:
        setup_logging()  # shows the chosen settings
    options: OpenOptions = {"device": job.device, "dtype": job.dtype, "quantize": job.quantize}
    predictor = load(job.model, **options, max_memory=job.max_memory, workload=workload)
    tasks = predictor.text_tasks if isinstance(predictor, TextPredictor) else ()
    writes = Task.REASON_SEG if job.explain else Task.VQA if job.task is Task.VQA else None
    if writes is not None and writes not in tasks:
        raise ValueError(
            f"these weights have not learned to write text for '{writes.value}': leave out --explain or "
            "--task vqa, or choose others with --model"
        )
    asked = _questions(prompts, job) if job.task is None else []
    if asked and Task.VQA not in tasks:
        raise ValueError(
            f"'{prompts[asked[0]]}' asks for words, which these weights have not learned to write: add "
            "--task reason_seg for a mask, or choose others with --model"
        )
    if is_bundled(job.model) and isinstance(predictor, PretrainedPredictor):
        strange = predictor.processor.strange_words(prompts)
        if strange:
            typer.echo(f"note: the bundled model does not know these words: {', '.join(strange)}", err=True)
    if job.compile:
        if not isinstance(predictor, PretrainedPredictor):
            raise ValueError(f"{job.model} is not compiled by this package: leave out --compile")
        predictor.compile()
    return predictor
