"""Systems of a run: opening them with the settings of its job, once for all inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import typer

from instructseg.jobs.job import Job
from instructseg.log import setup_logging
from instructseg.media import VideoSource
from instructseg.questions import wants_words
from instructseg.structures import Task

if TYPE_CHECKING:
    from instructseg.inference import Predictor, VideoSystem
    from instructseg.inference.memory import Workload
    from instructseg.loading import OpenOptions

_Opened = TypeVar("_Opened")


@dataclass
class Systems:
    """Opened systems, shared by several calls with the same settings.

    Attributes:
        image, video: of images and videos; ``None`` until needed.
        gathers: whether a call writes the files about all inputs; another process may do it.
    """

    image: Predictor | None = None
    video: VideoSystem | None = None
    gathers: bool = True


def video_system(job: Job, prompts: Sequence[str], opened: Sequence[VideoSource | Exception]) -> VideoSystem:
    """The model, with memory for the largest video."""
    from instructseg.inference.frame_window import REFERENCE_FPS
    from instructseg.inference.memory import Workload
    from instructseg.loading import load_video

    videos = [one for one in opened if isinstance(one, VideoSource)]
    rates = [one.fps if one.timed else REFERENCE_FPS for one in videos]
    spacing = None if job.spacing is None else job.spacing * REFERENCE_FPS
    size = max((one.size for one in videos), key=math.prod)
    workload = Workload(size, len(prompts), spacing or max(rates), job.track)
    return open_system(load_video, job, prompts, workload)


def open_system(
    load: Callable[..., _Opened], job: Job, prompts: Sequence[str], workload: Workload | None
) -> _Opened:
    """Loads the model, with a note for the bundled one, and checks it against the prompts."""
    from transformers.utils import logging as transformers_logging

    from instructseg.hub import bundled, note_of
    from instructseg.inference.predictor import PretrainedPredictor, text_tasks_of, traits_of

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # errors in weights take one line
    shipped = bundled(job.model)
    if told := note_of(job.model):
        typer.echo(f"note: {told}", err=True)
    if job.threads is not None:
        import torch

        torch.set_num_threads(job.threads)
    if job.max_memory is not None:
        setup_logging()  # shows the chosen settings
    options: OpenOptions = {"device": job.device, "dtype": job.dtype, "quantize": job.quantize}
    predictor = load(job.model, **options, max_memory=job.max_memory, workload=workload)
    tasks, traits = text_tasks_of(predictor), traits_of(predictor)
    if job.task is Task.VQA and Task.VQA not in tasks:
        raise ValueError(
            "these weights have not learned to write text for 'vqa': leave out --task vqa, or choose others "
            "with --model"
        )
    asked = questions(prompts, job) if job.task is None else []
    if asked and Task.VQA not in tasks:
        request = f"make it a request, as '{traits.examples[-1]}'"
        advice = request if traits.words_decide else "add --task reason_seg for a mask"
        raise ValueError(
            f"'{prompts[asked[0]]}' asks for words, which these weights have not learned to write: {advice}, "
            "or choose others with --model"
        )
    if shipped and (note := traits.note(prompts)):
        typer.echo(f"note: {note}", err=True)
    if job.compile:
        if not isinstance(predictor, PretrainedPredictor):
            raise ValueError(f"{job.model} is not compiled by this package: leave out --compile")
        predictor.compile()
    return predictor


def questions(prompts: Sequence[str], job: Job) -> list[int]:
    """Places of the prompts answered in text: all for ``Task.VQA``; without a task, by their words."""
    if job.task is None:
        return [place for place, text in enumerate(prompts) if wants_words(text)]
    return list(range(len(prompts))) if job.task is Task.VQA else []
