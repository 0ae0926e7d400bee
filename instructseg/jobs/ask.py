"""Questions about one image, in turn, for ``instructseg ask``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from instructseg.jobs.checks import check_text
from instructseg.jobs.inputs import Source, find_images, reading
from instructseg.jobs.job import Job, check_options
from instructseg.jobs.run_summary import Summary, show
from instructseg.jobs.systems import open_system
from instructseg.media import load_image
from instructseg.questions import wants_words
from instructseg.structures import Task

if TYPE_CHECKING:
    from instructseg.inference import TextPredictor


def ask(source: Source, questions: Iterable[str], job: Job) -> None:
    """Prints the answer to each question as it comes; each is answered by itself.

    A question is answered in words, streamed where the weights can; a request for a mask with its score.

    Args:
        source: an image, as of :func:`~instructseg.jobs.inputs.find_images`.
        questions: read one by one, such as lines of :func:`typed`.
        job: the settings.

    Raises:
        FileNotFoundError, ValueError: the image is missing or unreadable, a question is no text, an option is
            out of range, or the weights have not learned to write text.
    """
    from instructseg.inference import TextPredictor
    from instructseg.loading import load

    check_options(job)
    found = find_images([source])  # holds what was downloaded, too
    if len(found.items) != 1:
        raise ValueError(f"{source} holds {len(found.items)} images: questions are about one")
    (item,) = found.items
    with reading(item) as given:
        frame = load_image(given, job.max_pixels)
    predictor = open_system(load, job, (), None)
    if not isinstance(predictor, TextPredictor) or Task.VQA not in predictor.text_tasks:
        raise ValueError(
            "these weights have not learned to answer in words: add --model nano for drawn shapes, or --model "
            "weic22/InstructSeg for photographs"
        )
    image = predictor.encode(frame)
    for question in questions:
        check_text("question", [question])
        turn = Summary(str(item))
        if wants_words(question):
            _answer(predictor, image, question, turn, job.json)
        else:
            turn.add(predictor.predict(image, question, **job.request()))
            show(turn, job.json)


def typed() -> Iterator[str]:
    """Questions of standard input, one a line, to its end; at a terminal, to an empty line."""
    asked = sys.stdin.isatty()
    while True:
        if asked:
            typer.echo("? ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line or (asked and not line.strip()):
            return
        if line.strip():
            yield line.strip()


def _answer(predictor: TextPredictor, image: Any, question: str, turn: Summary, as_json: bool) -> None:
    """Prints the question and, part by part, its answer."""
    from instructseg.inference import ImagePredictor

    if as_json or not isinstance(predictor, ImagePredictor):
        turn.reply([question], {0: predictor.answer(image, question)})
        show(turn, as_json)
        return
    typer.echo(f"{question}\n  ", nl=False)
    text = predictor.answer(image, question, stream=lambda part: typer.echo(part, nl=False))
    typer.echo("" if text.strip() else "(no text)")
