"""Commands of ``instructseg``; torch is imported when one runs."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Any

import typer

from instructseg.cli.calibrate import calibrate_command
from instructseg.cli.convert import convert_app
from instructseg.cli.data import data_app
from instructseg.cli.demo import demo_video
from instructseg.cli.errors import reported
from instructseg.cli.export import export_app
from instructseg.cli.options import with_job
from instructseg.cli.servers import app_command, serve_command
from instructseg.cli.show_config import config_app
from instructseg.jobs.ask import ask, typed
from instructseg.jobs.batch import run_ray, run_share
from instructseg.jobs.faults import DEBUG
from instructseg.jobs.inputs import find_all, find_images, find_videos
from instructseg.jobs.job import IMAGE, VIDEO, Job
from instructseg.jobs.run_summary import show, show_all
from instructseg.jobs.segment import segment_images, segment_video, segment_videos
from instructseg.jobs.words import parse_words, read_classes, settle_prompts
from instructseg.version import __version__


class _Commands(typer.core.TyperGroup):
    """Accepts ``--debug`` anywhere before a ``--``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Removes ``--debug`` before the arguments are parsed."""
        end = args.index("--") if "--" in args else len(args)
        if "--debug" in args[:end]:
            os.environ[DEBUG] = "1"
        return super().parse_args(ctx, [word for word in args[:end] if word != "--debug"] + args[end:])


app = typer.Typer(
    cls=_Commands,
    name="instructseg",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.add_typer(config_app, name="config")
app.add_typer(convert_app, name="convert")
app.add_typer(data_app, name="data")
app.add_typer(export_app, name="export")
app.command("calibrate")(calibrate_command)
app.command("serve")(serve_command)
app.command("app")(app_command)


def _words(content: str) -> Any:
    return typer.Argument(metavar="INPUT... PROMPT", help=content, show_default=False)


ImageWords = Annotated[
    list[str] | None, _words("Images, folders or patterns such as 'folder/*.png'; then prompts or questions.")
]
VideoWords = Annotated[
    list[str] | None, _words("Videos, folders of frames or of videos, or images; then prompts.")
]
BatchWords = Annotated[
    list[str] | None, _words("Folders, files, WebDataset shards (.tar) and Parquet tables; then prompts.")
]
PromptOption = Annotated[
    list[str] | None,
    typer.Option("--prompt", "-p", help="A prompt; may be repeated. All other words are then inputs."),
]


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
    """Describe an object, get its mask: in images and video."""
    prepare()


def prepare() -> None:
    """Prepares the process before torch is imported."""
    # spinning threads slow small models down on a busy machine
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):  # characters unknown to the terminal are escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@app.command("image")
@with_job("image")
def image_command(job: Job, words: ImageWords = None, prompt: PromptOption = None) -> None:
    """Segment images by one or several prompts.

    instructseg image photo.jpg "the red circle" "the blue square"
    """
    classes = read_classes(job.classes, prompt, job.prompts)
    asked = parse_words(words or (), classes or prompt or (), job.prompts, job.yes)
    found = find_images(asked.sources, job.recursive, asked.own)
    show_all(segment_images(found, settle_prompts(asked, found), job), job.json, "images")


@app.command("video")
@with_job("video")
def video_command(job: Job, words: VideoWords = None, prompt: PromptOption = None) -> None:
    """Segment every frame of videos by one or several prompts.

    instructseg video clip.mp4 "the red circle moving left"
    """
    classes = read_classes(job.classes, prompt, job.prompts)
    asked = parse_words(words or (), classes or prompt or (), job.prompts, job.yes)
    found = find_videos(asked.sources, job.recursive, asked.own)
    show_all(segment_videos(found, settle_prompts(asked, found), job), job.json, "videos")


@app.command("batch")
@with_job("video")
def batch_command(
    job: Job,
    words: BatchWords = None,
    prompt: PromptOption = None,
    ray: Annotated[
        str | None, typer.Option(help="A Ray cluster's address, or local.", metavar="ADDRESS")
    ] = None,
    workers: Annotated[int, typer.Option(help="Workers of Ray.", min=1)] = 2,
) -> None:
    """Segment many images and videos over processes (torchrun) or machines (Ray).

    instructseg batch photos shards/*.tar "the red circle" --ray local --format coco
    """
    asked = parse_words(words or (), prompt or (), job.prompts, job.yes)
    for source in asked.sources:
        if isinstance(source, str):
            raise ValueError(f"{source}: a batch reads files that all processes reach; download it first")
    images, videos = find_all(asked.sources, job.recursive, asked.own)
    found, prompts = {IMAGE: images, VIDEO: videos}, settle_prompts(asked, images, videos)
    summaries = run_share(found, prompts, job) if ray is None else run_ray(found, prompts, job, ray, workers)
    show_all(summaries, job.json, "inputs")


@app.command("ask")
@with_job("ask")
def ask_command(
    job: Job,
    image: Annotated[str, typer.Argument(metavar="INPUT", help="An image.", show_default=False)],
    questions: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUESTION...", help="Default: lines of standard input.", show_default=False),
    ] = None,
) -> None:
    """Ask several questions about one image, in turn; each is answered by itself.

    instructseg ask drawing.png "how many circles are there?" "what colour is the star?" --model nano
    """
    asked = parse_words([image, *(questions or ["?"])], sure=job.yes)
    source, *others = asked.sources
    if others:
        raise ValueError(f"questions are about one image: {others[0]} is another one")
    if source == "-" and not questions:
        raise ValueError("standard input is the image: give the questions after it")
    ask(source, asked.prompts if questions else typed(), job)


@app.command("demo")
@with_job("demo")
def demo_command(
    job: Job,
    prompt: Annotated[list[str] | None, typer.Option("--prompt", "-p", help="Another prompt.")] = None,
) -> None:
    """Segment a shipped video with the bundled model."""
    with demo_video(job) as (source, instruction):
        summary = segment_video(source, prompt or [instruction], job)
        summary.files.insert(0, str(source))
        show(summary, job.json)


Config = Annotated[str, typer.Argument(help="YAML file, or a name of 'instructseg config list'.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Override config fields.")]


@app.command("train")
def train_command(
    config: Config,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in output_dir.")] = False,
) -> None:
    """Train from a YAML config."""
    with reported():
        from instructseg.training import train

        train(config, overrides or (), resume=resume)


@app.command("eval")
def eval_command(config: Config, overrides: Overrides = None) -> None:
    """Evaluate the model of a YAML config."""
    with reported():
        from instructseg.cli.arguments import evaluate

        evaluate(config, overrides or ())


def main() -> None:
    """The program ``instructseg``."""
    with reported():
        app()
