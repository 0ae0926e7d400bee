"""The commands of ``instructseg``. What they do lies in the other files; torch is imported once one is run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from instructseg.cli.convert import convert_app
from instructseg.cli.data import data_app
from instructseg.cli.demo import drawn_video
from instructseg.cli.errors import reported
from instructseg.cli.export import export_app
from instructseg.cli.outputs import FILE_SUFFIXES, Format
from instructseg.cli.segment import Job, Summary, segment_pictures, segment_video
from instructseg.structures import Task
from instructseg.version import __version__

app = typer.Typer(
    name="instructseg",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.add_typer(convert_app, name="convert")
app.add_typer(data_app, name="data")
app.add_typer(export_app, name="export")


class TaskChoice(str, Enum):
    """Tasks as ``--task`` takes them."""

    AUTO = "auto"
    RES = Task.RES.value
    REASON_SEG = Task.REASON_SEG.value
    RVOS = Task.RVOS.value
    REASON_VOS = Task.REASON_VOS.value
    VQA = Task.VQA.value


class VideoTaskChoice(str, Enum):
    """The same for video, about which no text is written."""

    AUTO = "auto"
    RES = Task.RES.value
    REASON_SEG = Task.REASON_SEG.value
    RVOS = Task.RVOS.value
    REASON_VOS = Task.REASON_VOS.value


def parse_formats(given: Iterable[str]) -> tuple[Format, ...]:
    """Names of formats, several in one string with commas between.

    Raises:
        ValueError: there is no such format.
    """
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    for name in names:
        if name not in list(Format):
            raise ValueError(f"unknown format '{name}': use {', '.join(Format)}")
    return tuple(Format(name) for name in names)


Prompts = Annotated[list[str], typer.Argument(metavar="PROMPT...", help="What to segment, or the question.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="A folder; or a .png or .mp4 for the overlay alone.")
]
Model = Annotated[
    str | None, typer.Option("--model", "-m", help="A folder or a hub repository; default: the bundled model.")
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, mps; default: the best there is.")
]
DType = Annotated[
    str | None,
    typer.Option(
        "--dtype", help="float32, bfloat16, float16, or auto, the fastest; default: what suits the device."
    ),
]
TaskOption = Annotated[
    TaskChoice, typer.Option("--task", help="Selects the prompt; auto: res for pictures, rvos for video.")
]
VideoTaskOption = Annotated[
    VideoTaskChoice, typer.Option("--task", help="Selects the prompt; auto: rvos, questions: reason_vos.")
]
Fps = Annotated[
    float | None,
    typer.Option("--fps", help="Frames per second; default: those of the file, 24 for a folder of frames."),
]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", min=0, max=1, help="Presence below which a mask is empty; default: never."),
]
Soft = Annotated[bool, typer.Option("--soft", help="Write masks as probabilities, 0..255.")]
Formats = Annotated[
    list[str], typer.Option("--format", "-f", help=f"{', '.join(Format)}; several with commas, or repeated.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON, one line per input.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads; default: as torch chooses.")
]
LlmStride = Annotated[
    str,
    typer.Option(
        "--llm-stride", help="Run the language model on every k-th frame, or auto: faster, less exact."
    ),
]
Spacing = Annotated[
    int | None,
    typer.Option(
        "--spacing",
        min=1,
        help="Frames from one reference frame to the next; default: a sixth of a second of a video file, the "
        "next ones of a folder.",
    ),
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the model first: pays on long clips. Needs a C++ compiler.")
]
Quantise = Annotated[
    str | None, typer.Option("--quantise", help="int8 or int4: the language model with smaller weights.")
]
MaxMemory = Annotated[
    str | None, typer.Option("--max-memory", help="As 6GB: settings are chosen that fit, and shown.")
]
DEFAULT_FORMATS = [Format.OVERLAY.value, Format.MASKS.value]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Segment pictures and video by saying what you mean."""
    prepare()


def prepare() -> None:
    """Settings of a program, to be made before torch is imported."""
    # waiting threads that spin slow a small model down many times on a busy machine
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@app.command("image")
def image_command(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A picture, or a folder of pictures.")],
    prompts: Prompts,
    output: Output = Path("out"),
    model: Model = None,
    device: Device = None,
    dtype: DType = None,
    task: TaskOption = TaskChoice.AUTO,
    threshold: Threshold = None,
    soft: Soft = False,
    explain: Annotated[
        bool, typer.Option("--explain", "--answer", help="Let the model write why, then segment (reason_seg).")
    ] = False,
    formats: Formats = DEFAULT_FORMATS,
    overwrite: Overwrite = False,
    quantise: Quantise = None,
    max_memory: MaxMemory = None,
    as_json: Json = False,
    threads: Threads = None,
) -> None:
    """Segment what each PROMPT asks for in a picture.

    instructseg image photo.jpg "the red circle" "the blue square"
    """
    with reported():
        job = Job(
            output,
            model,
            device,
            dtype,
            _task(task),
            threshold,
            soft,
            explain,
            _formats(formats, output),
            overwrite,
            quantise=quantise,
            max_memory=max_memory,
        )
        _set_threads(threads)
        for summary in segment_pictures(source, prompts, job):
            _show(summary, as_json)


@app.command("video")
def video_command(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A video, a folder of frames, or a picture.")],
    prompts: Prompts,
    output: Output = Path("out"),
    model: Model = None,
    device: Device = None,
    dtype: DType = None,
    task: VideoTaskOption = VideoTaskChoice.AUTO,
    threshold: Threshold = None,
    soft: Soft = False,
    formats: Formats = DEFAULT_FORMATS,
    overwrite: Overwrite = False,
    fps: Fps = None,
    llm_stride: LlmStride = "1",
    spacing: Spacing = None,
    compiled: Compile = False,
    quantise: Quantise = None,
    max_memory: MaxMemory = None,
    as_json: Json = False,
    threads: Threads = None,
) -> None:
    """Segment what each PROMPT asks for in every frame of a video.

    instructseg video clip.mp4 "the red circle moving left"
    """
    with reported():
        job = Job(
            output,
            model,
            device,
            dtype,
            _task(task),
            threshold,
            soft,
            False,
            _formats(formats, output),
            overwrite,
            llm_stride,
            spacing,
            compiled,
            quantise,
            max_memory,
            fps,
        )
        _set_threads(threads)
        _show(segment_video(source, prompts, job), as_json)


@app.command("demo")
def demo_command(
    output: Output = Path("out"),
    prompt: Annotated[list[str] | None, typer.Option("--prompt", "-p", help="Ask for something else.")] = None,
    model: Model = None,
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Draw a short clip and segment it with the bundled model."""
    with reported(), drawn_video(output, overwrite) as (source, instruction):
        job = Job(output, model, device, overwrite=overwrite)
        summary = segment_video(source, prompt or [instruction], job)
        summary.files.insert(0, str(source))
        _show(summary, as_json)


Config = Annotated[str, typer.Argument(help="YAML, see configs/.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Fields that differ.")]


@app.command("train")
def train_command(
    config: Config,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in output_dir.")] = False,
) -> None:
    """Train by a configuration."""
    with reported():
        from instructseg.cli.train import train

        train(config, overrides or (), resume=resume)


@app.command("eval")
def eval_command(config: Config, overrides: Overrides = None) -> None:
    """Measure the model that a configuration names."""
    with reported():
        from instructseg.cli.train import evaluate

        evaluate(config, overrides or ())


def _formats(given: list[str], output: Path) -> tuple[Format, ...]:
    """Those that are asked for; where nothing is said and ``output`` is a file, the overlay."""
    alone = given == DEFAULT_FORMATS and output.suffix.lower() in FILE_SUFFIXES
    return (Format.OVERLAY,) if alone else parse_formats(given)


def _task(choice: TaskChoice | VideoTaskChoice) -> Task | None:
    return None if choice.value == "auto" else Task(choice.value)


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _show(summary: Summary, as_json: bool) -> None:
    typer.echo(summary.to_json() if as_json else summary.to_text())


def main() -> None:
    """The program ``instructseg``."""
    app()
