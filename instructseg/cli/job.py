"""What is asked of ``instructseg image`` and ``instructseg video``, and what is told about it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import typer

from instructseg.cli import checks
from instructseg.cli.errors import BAD_INPUT
from instructseg.cli.outputs import MAX_PALETTE, Format
from instructseg.hub import BUNDLED, DEFAULT_MODEL, is_bundled
from instructseg.media import MAX_PIXELS
from instructseg.structures import Prediction, Task

_PLACES = (
    "output",
    "overwrite",
    "formats",
    "device",
    "max_memory",
    "compile",
    "recursive",
    "threads",
    "model",
    "max_pixels",
)
"""Fields of a job by which results do not differ, or which are marked otherwise."""


@dataclass(frozen=True)
class Job:
    """How to segment and what to write.

    Attributes:
        output: a folder, or one file for the overlay (see :mod:`instructseg.cli.outputs`).
        model: a folder or a repository; ``None`` for the bundled model.
        device, dtype: as of :func:`instructseg.loading.load`.
        task: ``None`` for referring segmentation, and words in answer to questions about pictures
            (:func:`~instructseg.questions.wants_words`).
        threshold: presence (0..1) below which a mask is empty; ``None`` for that of the weights, where they
            have one, 0 always gives a mask.
        soft: whether masks are written as probabilities.
        explain: whether the model first writes an explanation (pictures).
        formats: what is written.
        overwrite: whether existing files are replaced.
        llm_stride: video: frames from one run of the language model to the next, or ``"auto"``.
        spacing: video: frames from one reference to the next; ``None`` to go by its frames per second.
        compile: whether the model is compiled, which pays on long clips.
        quantize, max_memory: as of ``from_pretrained``; ``None`` for plain weights, and no limit.
        fps: video: frames per second; ``None`` for those of the file.
        recursive: whether the folders in an input folder are searched, too.
        threads: of the CPU; ``None`` as torch chooses.
        max_pixels: of an image or frame; larger ones are refused before they are decoded.
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
    quantize: str | None = None
    max_memory: str | None = None
    fps: float | None = None
    recursive: bool = False
    threads: int | None = None
    max_pixels: int = MAX_PIXELS

    def marks(self) -> dict[str, Any]:
        """The settings that results depend on, as JSON holds them."""
        settings = {name: value for name, value in asdict(self).items() if name not in _PLACES}
        return json.loads(json.dumps({"model": _model_mark(self.model), **settings}, default=str))  # type: ignore[no-any-return]


@dataclass
class Summary:
    """What was done with one picture or clip.

    Attributes:
        source: the input.
        files: what was made.
        frames: how many.
        prompts: for each its text, whether it was found in any frame, and means over the frames: score,
            presence, share of the pixels; or its answer.
        notes: what a user should know about the results.
        error: why there are none, or not all.
        several: whether it is one of several inputs, and told by its name.
    """

    source: str
    files: list[str] = field(default_factory=list)
    frames: int = 0
    prompts: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    several: bool = False

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Counts one frame."""
        if not self.frames:
            self.prompts = [{"prompt": found.instruction, "found": False} for found in predictions]
        self.frames += 1
        for entry, found in zip(self.prompts, predictions, strict=True):
            values = {"score": found.score, "presence": found.presence, "area": float(found.mask.mean())}
            for name, value in values.items():
                mean = entry.get(name, 0.0)
                entry[name] = mean + (value - mean) / self.frames
            entry["found"] = entry["found"] or found.found
            if found.answer is not None:
                entry["answer"] = found.answer

    def reply(self, prompts: Sequence[str], replies: Mapping[int, str]) -> None:
        """Adds what was answered in words, at its place among the prompts."""
        for place, text in sorted(replies.items()):
            self.prompts.insert(place, {"prompt": prompts[place], "answer": text})
        if any(not text.strip() for text in replies.values()):
            self.notes.append("these weights wrote no words to a question: they may not have learned to")

    def to_json(self) -> str:
        """One line of JSON, in ASCII, so that any terminal or pipe takes it."""
        values = asdict(self)
        del values["several"]
        for name in ("notes", "error"):
            if not values[name]:
                del values[name]
        return json.dumps(_plain(values))

    def to_text(self) -> str:
        """A line per prompt, note and file; of several inputs, the name of this one comes first."""
        lines = [f"{self.source}:"] if self.several else []
        for entry in self.prompts:
            values = [f"{name} {entry[name]:.3f}" for name in ("score", "presence", "area") if name in entry]
            if entry.get("found") is False:
                values.insert(0, "nothing found")
            lines.append(f"{entry['prompt']}: {', '.join(values)}" if values else entry["prompt"])
            if "answer" in entry:  # weights that have not learned to write give an empty one
                lines.append(f"  {entry['answer'].strip() or '(no text)'}")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join([*lines, *(f"wrote {file}" for file in self.files)])


def show_all(summaries: Iterable[Summary], as_json: bool, unit: str) -> None:
    """Shows each summary as it comes.

    Raises:
        SystemExit: some inputs failed; tells how many.
    """
    failed, count = 0, 0
    for count, summary in enumerate(summaries, 1):  # noqa: B007
        failed += summary.error is not None
        if summary.error is not None and not as_json:
            named = "" if summary.source in summary.error else f"{summary.source}: "
            typer.echo(f"error: {named}{summary.error}", err=True)
        else:
            show(summary, as_json)
    if failed:
        others = ", the others are done" * (failed < count)
        typer.echo(f"error: {failed} of {count} {unit} failed{others}", err=True)
        raise SystemExit(BAD_INPUT)


def show(summary: Summary, as_json: bool) -> None:
    """Shows a summary on stdout."""
    typer.echo(summary.to_json() if as_json else summary.to_text())


def _plain(value: Any) -> Any:
    """The same with ``None`` for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return checks.finite(value) if isinstance(value, float) else value


def checked(job: Job, prompts: Sequence[str]) -> Job:
    """The job with its task; all that can be known without the model is right."""
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise ValueError('a prompt is empty: say what to look for, as in "the red circle"')
    checks.check_text("prompt", prompts)
    check_options(job)
    if Format.PALETTE in job.formats and len(prompts) > MAX_PALETTE:
        raise ValueError(f"a palette has room for {MAX_PALETTE} prompts, not {len(prompts)}: leave it out")
    if not job.explain:
        return job
    if job.task not in (None, Task.REASON_SEG):
        raise ValueError(f"task '{job.task.value}' has no explanation: it goes with 'reason_seg'")
    return replace(job, task=Task.REASON_SEG)


def check_options(job: Job) -> None:
    """Makes sure that every option has a value that it can have, without torch.

    Raises:
        ValueError: one has not.
    """
    checks.check_text("output or model", [job.output, job.model or ""])
    checks.check_device(job.device)
    checks.check_dtype(job.dtype)
    checks.check_quantization(job.quantize)
    checks.check_memory(job.max_memory)
    checks.check_stride(job.llm_stride)
    checks.check_fps(job.fps)
    checks.check_share("threshold", job.threshold)
    checks.check_count("spacing", job.spacing, checks.MAX_FRAMES)
    checks.check_count("threads", job.threads, checks.max_threads())
    if not job.formats:
        raise ValueError(f"no format is given: use {', '.join(Format)}")


def _model_mark(model: str | None) -> list[Any]:
    """What weights are recognized by: the name, and of a folder the sizes and times of its files of weights."""
    folder = DEFAULT_MODEL if is_bundled(model) else Path(model or "")
    if not folder.is_dir():
        return [model]
    files = [(file.name, file.stat()) for file in sorted(folder.glob("*.safetensors"))]
    name = BUNDLED if is_bundled(model) else str(folder.resolve())
    return [name, *([file, status.st_size, status.st_mtime_ns] for file, status in files)]
