"""Segmentation of images and videos for ``instructseg image``, ``video`` and ``demo``."""

from __future__ import annotations

import errno
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from instructseg.jobs import checks
from instructseg.jobs.faults import described
from instructseg.jobs.inputs import find_videos, reading
from instructseg.jobs.job import Job, checked
from instructseg.jobs.run_summary import Summary
from instructseg.jobs.systems import Systems, open_system, questions, video_system
from instructseg.jobs.words import several_in_one
from instructseg.media import VideoSource, frames_in, image_size, load_image, open_video
from instructseg.prediction import FrameResult
from instructseg.progress import progress
from instructseg.results import (
    FORMATS,
    Inputs,
    Item,
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


_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE)
"""Errors that affect every other input, too."""


def segment_images(
    inputs: Inputs, prompts: Sequence[str], job: Job, systems: Systems | None = None
) -> Iterator[Summary]:
    """Segments images; with ``Task.VQA`` answers questions about them.

    Without a task, questions are answered in text, other prompts by masks.

    Of several images, an unreadable one has an ``error`` in its summary and the others continue; images done
    by an earlier run are skipped.

    Args:
        inputs: of :func:`~instructseg.jobs.inputs.find_images`.
        prompts: of all inputs, those of single inputs included.
        job: the settings.
        systems: opened ones, of an earlier call with the same settings.

    Raises:
        FileNotFoundError, ValueError, OSError: as reading, loading and writing; foreseeable ones before any
            file is written.
    """
    job = checked(job, prompts)
    systems = systems or Systems()
    places = [image_places(item, prompts, job) for item in inputs.items]
    with _open_results(job, inputs, places, prompts) as results:
        if not inputs.batch:
            with reading(inputs.items[0]) as source:
                load_image(source, job.max_pixels)  # an unreadable one fails before the model loads
        yield from _segment_images(results, prompts, job, systems, inputs.batch)
        _gather(results, systems)


def image_places(item: Item, prompts: Sequence[str], job: Job) -> ResultPaths:
    """Places of an image's results; of questions alone, only those that hold replies.

    Args:
        item: the image, with prompts of its own or none.
        prompts: of the others.
        job: checked settings.

    Raises:
        ValueError: a file cannot hold the formats.
    """
    formats, asked = job.formats, item.prompts or prompts
    if len(questions(asked, job)) == len(asked):
        formats = tuple(one for one in formats if FORMATS[one].holds_replies)
    return plan_paths(item.name, job.output, formats, video=False) if formats else ResultPaths()


def _segment_images(
    results: ResultFolder, prompts: Sequence[str], job: Job, systems: Systems, batch: bool
) -> Iterator[Summary]:
    from instructseg.inference.memory import Workload
    from instructseg.loading import load

    workload = None
    if job.max_memory is not None and results.todo:
        sizes = [_size(plan.item) for plan in results.todo]
        workload = Workload(max(sizes, key=math.prod), len(prompts))
    label = results.todo[0].item.path.parent.name if batch and results.todo else "image"
    with progress(results.todo, len(results.todo), "images", label) as steps:
        for step in steps:
            summary = Summary(str(step.item), [str(path) for path in step.places.paths], several=batch)
            with _alone(summary, batch, opening=True), reading(step.item) as source:
                checks.check_text("input", [str(step.item)])
                frame = load_image(source, job.max_pixels)
                if isinstance(source, Path) and (count := frames_in(source)) > 1:
                    summary.notes.append(
                        f"only the first of {count} frames was used: 'instructseg video' takes all"
                    )
            if summary.error is None:
                systems.image = systems.image or open_system(load, job, prompts, workload)
                with _alone(summary, batch):
                    _segment_image(systems.image, frame, job, step, results, summary)
            yield summary


def segment_video(source: Path, prompts: Sequence[str], job: Job) -> Summary:
    """Segments one video: a file, a folder of frames, or an image as a video of one frame.

    Raises:
        FileNotFoundError, ValueError, OSError: as :func:`segment_images`. If the video breaks off, the
            results so far stay, and the message states their number.
        KeyboardInterrupt: likewise.
    """
    (summary,) = segment_videos(find_videos([source]), prompts, job)
    return summary


def segment_videos(
    inputs: Inputs, prompts: Sequence[str], job: Job, systems: Systems | None = None
) -> Iterator[Summary]:
    """:func:`segment_video` of several; arguments as of :func:`segment_images`.

    Of several, one that is unreadable or breaks off has an ``error`` in its summary and the others continue.
    """
    job = checked(job, prompts)
    if job.explain or job.task is Task.VQA:
        raise ValueError("text is written about images only: use 'instructseg image'")
    for place in questions(prompts, job):
        raise ValueError(
            f"'{prompts[place]}' asks for words, which are written about images only: "
            "use 'instructseg image', or add --task reason_vos for a mask all the same"
        )
    systems = systems or Systems()
    opened = [_opened(item, job, inputs.batch) for item in inputs.items]
    places = [
        plan_paths(item.name, job.output, job.formats, True, frame_stems(getattr(video, "frame_names", ())))
        for item, video in zip(inputs.items, opened, strict=True)
    ]
    known = dict(zip((item.name for item in inputs.items), opened, strict=True))
    with _open_results(job, inputs, places, prompts) as results:
        for step in results.todo:
            summary = Summary(str(step.item), [str(path) for path in step.places.paths])
            summary.several = inputs.batch
            video = known[step.item.name]
            with _alone(summary, inputs.batch, opening=True):
                checks.check_text("input", [str(step.item)])
                if isinstance(video, Exception):
                    raise video
            if isinstance(video, VideoSource) and summary.error is None:
                systems.video = systems.video or video_system(job, prompts, opened)
                with _alone(summary, inputs.batch):
                    _segment_video(systems.video, video, job, step, results, summary)
            yield summary
        _gather(results, systems)


def _opened(item: Item, job: Job, batch: bool) -> VideoSource | Exception:
    """A video, or of several the error in opening it."""
    try:
        if item.camera is not None:
            return open_video(item.camera, job.fps, job.max_pixels)
        with reading(item) as source:
            return open_video(source, job.fps, job.max_pixels)
    except Exception as error:  # any error of a reader concerns that file alone
        if not batch:
            raise
        return error


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
    read = video if video.live else video.passed_through(read_ahead)  # a thread cannot leave a camera
    found = predictor.predict(read, step.instructions, **options)
    info = ResultInfo(
        step.instructions,
        summary.source,
        step.item.name,
        None if step.item.source else step.item.path,
        labels=results.instructions,
        fps=video.fps,
        frame_names=video.frame_names,
        announced=video.announced,
        sound=step.item.path if step.item.place is None and job.has_sound(video.sound) else None,
        **job.drawing(),
    )
    writer = ResultWriter(step.places, info, lambda: results.begin(step))
    with ExitStack() as stack:
        stack.callback(lambda: results.finish(step, complete=False) if writer.count else None)
        with (
            _kept(summary, video.live),
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
    if video.sound and job.audio and (job.fps is not None or step.item.place is not None):
        summary.notes.append(
            f"the sound ({video.sound}) is left out: it is copied from files, at their own speed"
        )


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

    prompts, image, replies = step.instructions, frame, dict[int, str]()
    if isinstance(predictor, TextPredictor):
        image = predictor.encode(frame)
        replies = {place: predictor.answer(image, prompts[place]) for place in questions(prompts, job)}
    marked = [text for place, text in enumerate(prompts) if place not in replies]
    if not marked and not step.places.paths:
        summary.reply(prompts, replies)
        return
    request, unlearned = job.request(), False
    if job.explain and isinstance(predictor, TextPredictor):  # the mask is of use without its explanation
        unlearned = Task.REASON_SEG not in predictor.text_tasks
        request["explain"] = not unlearned
    found = predictor.predict(image, marked, **request) if marked else []
    info = ResultInfo(
        prompts,
        summary.source,
        step.item.name,
        None if step.item.source else step.item.path,
        labels=results.instructions,
        replies=replies,
        **job.drawing(),
    )
    with ResultWriter(step.places, info, lambda: results.begin(step)) as writer:
        writer.write(FrameResult(0, frame, found))
    summary.add(found)
    summary.reply(prompts, replies)
    results.finish(step)
    summary.notes += writer.notes()
    if unlearned or (job.explain and not any((one.text or "").strip() for one in found)):
        summary.notes.append("these weights have not learned to explain: the mask comes without text")


def _size(item: Item) -> tuple[int, int]:
    """Height and width of an image by its header."""
    with reading(item) as source:
        return image_size(io.BytesIO(source) if isinstance(source, bytes) else source)


@contextmanager
def _alone(summary: Summary, batch: bool, opening: bool = False) -> Iterator[None]:
    """Of several inputs, reports a failure in the summary; errors that affect all inputs end the run."""
    try:
        yield
    except Exception as error:  # any error of a reader concerns that file alone
        of_the_disk = isinstance(error, OSError) and error.errno in _OF_THE_DISK
        named = opening or Path(summary.source).name in str(error)
        of_the_request = isinstance(error, ValueError) and not named
        if not batch or of_the_disk or of_the_request or isinstance(error, ImportError):
            raise
        summary.error = described(error)[0]
        summary.files = summary.files if summary.frames else []


@contextmanager
def _kept(summary: Summary, live: bool) -> Iterator[None]:
    """Adds number and place of the finished frames to an interruption, which is the end of a ``live`` video."""
    from instructseg.out_of_memory import is_out_of_memory

    try:
        yield
    except KeyboardInterrupt as error:
        if not summary.frames:
            raise
        if live:
            return
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
    told = [
        f"'{one}' is one prompt: for several objects, give each as a prompt of its own"
        for one in several_in_one(prompts)
    ]
    for note in (*inputs.notes, *told):
        typer.echo(f"note: {note}", err=True)
    if results.done:
        note = f"note: {results.done} of {len(inputs.items)} are done already (--overwrite does them again)"
        typer.echo(note, err=True)
    return results


def _gather(results: ResultFolder, systems: Systems) -> None:
    """Writes the files about all inputs, unless another process does."""
    for path in results.gather() if systems.gathers else ():
        typer.echo(f"wrote {path}, of all inputs", err=True)
