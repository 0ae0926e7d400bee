"""The jobs behind ``instructseg image`` and ``instructseg video`` and behind the demos."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from instructseg.cli.outputs import MAX_PALETTE, Format, Layout, ResultWriter, check_free, plan
from instructseg.cli.progress import progress
from instructseg.log import setup_logging
from instructseg.media import image_size, load_image, open_video
from instructseg.media.reading import FRAME_SUFFIXES
from instructseg.structures import MaskPrediction, Task

if TYPE_CHECKING:
    from instructseg.inference import ImagePredictor, VideoPredictor
    from instructseg.inference.memory import Workload

    _Predictor = TypeVar("_Predictor", ImagePredictor, VideoPredictor)


_VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")


@dataclass(frozen=True)
class Job:
    """How to segment and what to write.

    Attributes:
        output: a folder, or one file for the overlay (see :mod:`instructseg.cli.outputs`).
        model: a folder or a repository; ``None`` for the bundled model.
        device, dtype: as of :func:`instructseg.inference.load`.
        task: ``None`` for referring segmentation.
        threshold: presence (0..1) below which a mask is empty; ``None`` always gives a mask.
        soft: whether masks are written as probabilities.
        explain: whether the model first writes an explanation (pictures).
        formats: what is written.
        overwrite: whether existing files are replaced.
        llm_stride: video: frames from one run of the language model to the next, or ``"auto"``.
        spacing: video: frames from one reference to the next; ``None`` to go by its frames per second.
        compile: whether the model is compiled, which pays on long clips.
        quantise, max_memory: as of ``from_pretrained``; ``None`` for plain weights, and no limit.
        fps: video: frames per second; ``None`` for those of the file.
    """

    output: Path = Path("out")
    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    task: Task | None = None
    threshold: float | None = None
    soft: bool = False
    explain: bool = False
    formats: tuple[Format, ...] = (Format.OVERLAY, Format.MASKS)
    overwrite: bool = False
    llm_stride: int | str = 1
    spacing: int | None = None
    compile: bool = False
    quantise: str | None = None
    max_memory: str | None = None
    fps: float | None = None


@dataclass
class Summary:
    """What was done with one picture or clip.

    Attributes:
        source: the input.
        files: what was made.
        frames: how many.
        prompts: for each its text, and means over the frames: score, presence, share of the pixels; or its
            answer.
    """

    source: str
    files: list[str] = field(default_factory=list)
    frames: int = 0
    prompts: list[dict[str, Any]] = field(default_factory=list)

    def add(self, predictions: Sequence[MaskPrediction]) -> None:
        """Counts one frame."""
        if not self.frames:
            self.prompts = [{"prompt": found.instruction} for found in predictions]
        self.frames += 1
        for entry, found in zip(self.prompts, predictions, strict=True):
            values = {"score": found.score, "presence": found.presence, "area": float(found.mask.mean())}
            for name, value in values.items():
                mean = entry.get(name, 0.0)
                entry[name] = mean + (value - mean) / self.frames
            if found.answer is not None:
                entry["answer"] = found.answer

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def to_text(self) -> str:
        """A line per prompt and per file."""
        lines = []
        for entry in self.prompts:
            values = [f"{name} {entry[name]:.3f}" for name in ("score", "presence", "area") if name in entry]
            if entry.get("area") == 0:
                values.insert(0, "nothing found")
            lines.append(f"{entry['prompt']}: {', '.join(values)}" if values else entry["prompt"])
            if "answer" in entry:
                lines.append(f"  {entry['answer']}")
        return "\n".join([*lines, *(f"wrote {file}" for file in self.files)])


def segment_pictures(source: Path, prompts: Sequence[str], job: Job) -> Iterator[Summary]:
    """Segments a picture, or every picture of a folder; for ``Task.VQA`` answers questions about it.

    Raises:
        FileNotFoundError, ValueError, OSError: as reading, loading and writing; of all that can be known
            before, before a file is made.
    """
    job = _checked(job, prompts)
    pictures = _pictures(source)
    asks = job.task is Task.VQA
    layouts = [Layout() if asks else plan(picture.stem, job.output, job.formats) for picture in pictures]
    _check_layouts(layouts, job)
    load_image(pictures[0])  # what cannot be read is found before the model is loaded
    from instructseg.inference import ImagePredictor
    from instructseg.inference.memory import Workload

    workload = None
    if job.max_memory is not None:
        workload = Workload(max(map(image_size, pictures), key=math.prod), len(prompts))
    predictor = _predictor(ImagePredictor, job, prompts, workload)
    with progress(list(zip(pictures, layouts, strict=True)), len(pictures), "pictures", source.name) as steps:
        for picture, layout in steps:
            summary = Summary(str(picture), [str(path) for path in layout.paths])
            predictor.set_image(picture)
            if asks:
                summary.prompts = [{"prompt": text, "answer": predictor.answer(text)} for text in prompts]
            else:
                _segment_picture(predictor, prompts, job, layout, summary)
            yield summary


def segment_video(source: Path, prompts: Sequence[str], job: Job) -> Summary:
    """Segments a video file, a folder of frames, or a picture as a clip of one frame.

    Raises:
        FileNotFoundError, ValueError, OSError: as :func:`segment_pictures`. Where the clip breaks off, the
            results before stay, and the message tells how many.
        KeyboardInterrupt: likewise.
    """
    job = _checked(job, prompts)
    if job.explain or job.task is Task.VQA:
        raise ValueError("text is written about pictures only: use 'instructseg image'")
    clip = open_video(source, job.fps)
    layout = plan(_stem(source), job.output, job.formats, clip.fps)
    _check_layouts([layout], job)
    from instructseg.inference import Stride, VideoPredictor
    from instructseg.inference.memory import Workload
    from instructseg.inference.threads import WriteBehind, read_ahead
    from instructseg.inference.window import REFERENCE_FPS

    stride = Stride.of(job.llm_stride)
    spacing = None if job.spacing is None else job.spacing * REFERENCE_FPS
    fps = clip.fps if clip.timed else REFERENCE_FPS
    workload = Workload(clip.size, len(prompts), spacing or fps)
    predictor = _predictor(VideoPredictor, job, prompts, workload)
    results = predictor.predict(
        clip.passed_through(read_ahead),
        prompts,
        job.task or Task.RVOS,
        soft=job.soft,
        threshold=job.threshold,
        llm_stride=stride,
        spacing=job.spacing,
    )
    summary = Summary(str(source), [str(path) for path in layout.paths])
    writer = ResultWriter(layout, prompts, summary.source, job.soft)
    with (
        _kept(summary),
        WriteBehind(writer, lambda result: summary.add(result.predictions)) as behind,
        progress(results, clip.length, "frames", source.name) as steps,
    ):
        for result in steps:
            behind.write(result)
    return summary


def _segment_picture(
    predictor: ImagePredictor, prompts: Sequence[str], job: Job, layout: Layout, summary: Summary
) -> None:
    """Asks about the picture that is set, and writes."""
    from instructseg.inference import FrameResult

    task = job.task or Task.RES
    found = predictor.predict(prompts, task, soft=job.soft, answer=job.explain, threshold=job.threshold)
    with ResultWriter(layout, prompts, summary.source, job.soft) as writer:
        writer.write(FrameResult(0, predictor.frame, found))
    summary.add(found)


@contextmanager
def _kept(summary: Summary) -> Iterator[None]:
    """Adds to an interruption how many frames are done, and where they are."""
    from instructseg.inference.faults import is_out_of_memory

    try:
        yield
    except KeyboardInterrupt:
        if not summary.frames:
            raise
        files = ", ".join(summary.files)
        raise KeyboardInterrupt(f"interrupted: the first {summary.frames} frames are in {files}") from None
    except (ValueError, RuntimeError) as error:
        if not summary.frames or not (isinstance(error, ValueError) or is_out_of_memory(error)):
            raise
        files = ", ".join(summary.files)
        kind = ValueError if isinstance(error, ValueError) else RuntimeError
        raise kind(f"{error}; the results of the {summary.frames} frames before are in {files}") from error


def _stem(source: Path) -> str:
    """What results are named by; dots in the name of a folder begin no suffix."""
    return source.resolve().name if source.is_dir() else source.stem


def _checked(job: Job, prompts: Sequence[str]) -> Job:
    """The job with its task."""
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise ValueError('a prompt is empty: say what to look for, as in "the red circle"')
    if Format.PALETTE in job.formats and len(prompts) > MAX_PALETTE:
        raise ValueError(f"a palette has room for {MAX_PALETTE} prompts, not {len(prompts)}: leave it out")
    if not job.explain:
        return job
    if job.task not in (None, Task.REASON_SEG):
        raise ValueError(f"task '{job.task.value}' has no explanation: it goes with 'reason_seg'")
    return replace(job, task=Task.REASON_SEG)


def _check_layouts(layouts: Sequence[Layout], job: Job) -> None:
    """Nothing is overwritten unasked, and no two inputs have the same output."""
    paths = [path for layout in layouts for path in layout.paths]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ValueError(
            f"two pictures would be written to {twice}: give --output a folder, and rename one where their "
            "names differ in the suffix only"
        )
    if not job.overwrite:
        check_free(paths)


def _pictures(source: Path) -> list[Path]:
    """The picture itself, or those of a folder, sorted by name."""
    if source.suffix.lower() in _VIDEOS and source.is_file():
        raise ValueError(f"{source} is a video: use 'instructseg video'")
    if not source.is_dir():
        return [source]
    found = sorted(
        path for path in source.iterdir() if path.suffix.lower() in FRAME_SUFFIXES and path.name[0] != "."
    )
    if not found:
        raise ValueError(f"{source} has no pictures ({', '.join(FRAME_SUFFIXES)})")
    return found


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
    if job.max_memory is not None:
        setup_logging()  # shows what is chosen
    given = (job.model, job.device, job.dtype, job.quantise, job.max_memory)
    predictor = kind.from_pretrained(*given, workload)
    strange = predictor.processor.strange_words(prompts) if is_bundled(job.model) else []
    if strange:
        typer.echo(f"note: the bundled model does not know these words: {', '.join(strange)}", err=True)
    if job.compile:
        predictor.compile()
    return predictor
