"""The commands of ``instructseg``. What they do lies in the other files; torch is imported once one is run."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from instructseg.cli.convert import convert_app
from instructseg.cli.data import data_app
from instructseg.cli.demo import demo_video
from instructseg.cli.errors import DEBUG, reported, stoppable
from instructseg.cli.export import export_app
from instructseg.cli.inputs import read_prompts, split_words
from instructseg.cli.job import Job, show, show_all
from instructseg.cli.outputs import Format, is_file_name
from instructseg.cli.segment import segment_pictures, segment_video, segment_videos
from instructseg.media import MAX_PIXELS
from instructseg.structures import Task
from instructseg.version import __version__


class _Commands(typer.core.TyperGroup):
    """Takes ``--debug`` at any place before a ``--``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes it out; the words of the command are read afterwards."""
        end = args.index("--") if "--" in args else len(args)
        if "--debug" in args[:end]:
            os.environ[DEBUG] = "1"
        return super().parse_args(ctx, [word for word in args[:end] if word != "--debug"] + args[end:])


app = typer.Typer(
    cls=_Commands,
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


ImageWords = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT... PROMPT",
        help="Images, folders or patterns as 'folder/*.png'; then what to segment, or the question.",
        show_default=False,
    ),
]
VideoWords = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT... PROMPT",
        help="Videos, folders of frames or of videos, or images; then what to segment.",
        show_default=False,
    ),
]
PromptOption = Annotated[
    list[str] | None,
    typer.Option("--prompt", "-p", help="A prompt; may be repeated. All other words are then inputs."),
]
PromptsFile = Annotated[
    Path | None, typer.Option("--prompts", metavar="FILE", help="A text file with a prompt on each line.")
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Search the folders in an input folder, too.")
]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="A folder; or a .png or .mp4 for the overlay alone, a .json for run lengths."
    ),
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
    TaskChoice,
    typer.Option(
        "--task",
        help="Selects the prompt; auto: res, but questions are answered in words, as by vqa.",
    ),
]
VideoTaskOption = Annotated[
    VideoTaskChoice,
    typer.Option(
        "--task", help="Selects the prompt; auto: rvos; for a question whose answer is a mask reason_vos."
    ),
]
Fps = Annotated[
    float | None,
    typer.Option("--fps", help="Frames per second; default: those of the file, 24 for a folder of frames."),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=0,
        max=1,
        help="Presence below which a mask is empty; default: that of the weights; 0: never.",
    ),
]
Soft = Annotated[bool, typer.Option("--soft", help="Write masks as probabilities, 0..255.")]
Formats = Annotated[
    list[str],
    typer.Option(
        "--format",
        "-f",
        help=f"{', '.join(Format)}; several with commas, or repeated. Where masks overlap, a palette has the "
        "one of the higher score.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results of earlier runs.")]
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
Quantize = Annotated[
    str | None,
    typer.Option("--quantize", "--quantise", help="int8 or int4: the language model with smaller weights."),
]
MaxMemory = Annotated[
    str | None, typer.Option("--max-memory", help="As 6GB: settings are chosen that fit, and shown.")
]
MaxPixels = Annotated[
    int, typer.Option("--max-pixels", min=1, help="Of an image or frame; larger ones are refused.")
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
    for stream in (sys.stdout, sys.stderr):  # a name or prompt that the terminal has no letters for is escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@app.command("image")
def image_command(
    words: ImageWords,
    prompt: PromptOption = None,
    prompts_file: PromptsFile = None,
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
    quantize: Quantize = None,
    max_memory: MaxMemory = None,
    recursive: Recursive = False,
    as_json: Json = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Segment what each PROMPT asks for in images.

    instructseg image photo.jpg "the red circle" "the blue square"
    """
    with reported(), stoppable():
        sources, prompts = split_words(words, _prompts(prompt, prompts_file))
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
            quantize=quantize,
            max_memory=max_memory,
            recursive=recursive,
            threads=threads,
            max_pixels=max_pixels,
        )
        show_all(segment_pictures(sources, prompts, job), as_json, "images")


@app.command("video")
def video_command(
    words: VideoWords,
    prompt: PromptOption = None,
    prompts_file: PromptsFile = None,
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
    quantize: Quantize = None,
    max_memory: MaxMemory = None,
    recursive: Recursive = False,
    as_json: Json = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Segment what each PROMPT asks for in every frame of a video.

    instructseg video clip.mp4 "the red circle moving left"
    """
    with reported(), stoppable():
        sources, prompts = split_words(words, _prompts(prompt, prompts_file))
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
            quantize,
            max_memory,
            fps,
            recursive,
            threads,
            max_pixels,
        )
        show_all(segment_videos(sources, prompts, job), as_json, "videos")


@app.command("demo")
def demo_command(
    output: Output = Path("out"),
    prompt: Annotated[list[str] | None, typer.Option("--prompt", "-p", help="Ask for something else.")] = None,
    model: Model = None,
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Segment the short video that comes with the package, with the bundled model."""
    job = Job(output, model, device, overwrite=overwrite)
    with reported(), stoppable(), demo_video(job) as (source, instruction):
        summary = segment_video(source, prompt or [instruction], job)
        summary.files.insert(0, str(source))
        show(summary, as_json)


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
    """Those that are asked for; where nothing is said and ``output`` is a file, what that file holds."""
    if given == DEFAULT_FORMATS and is_file_name(output):
        return (Format.RLE if output.suffix.lower() == ".json" else Format.OVERLAY,)
    return parse_formats(given)


def _prompts(given: list[str] | None, file: Path | None) -> list[str]:
    return [*(given or ()), *(read_prompts(file) if file is not None else ())]


def _task(choice: TaskChoice | VideoTaskChoice) -> Task | None:
    return None if choice.value == "auto" else Task(choice.value)


def main() -> None:
    """The program ``instructseg``."""
    with reported():
        app()
