"""The tabs of the web page, of images and of videos, made of components of gradio.

Each returns its components that depend on the model that is chosen, with what makes their new state.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from instructseg.hub import DEMO_IMAGE, DEMO_VIDEO, DRAWN_IMAGE, DRAWN_VIDEO, TINY, tiny_scene
from instructseg.log import get_logger
from instructseg.results import DEFAULT_FORMATS, FORMATS
from instructseg.serve.failures import is_fault, sentence_of
from instructseg.serve.figure import Figure
from instructseg.serve.kept_video import KeptVideo
from instructseg.serve.page_actions import KEPT, Page
from instructseg.serve.page_models import PageModels

WAITING = 16
"""Length of the queue."""
EXAMPLE_IMAGES = {
    "mini": "the truck",
    "nano": "the red circle\nhow many circles are there?",
    "explanatory-tiny": "cover the red circle with a thin layer of cyan\nlet grey tell how far each pixel is",
    "instructcv-tiny": "segment the red circle\ndetect the blue square\nestimate the depth",
    "instructseq-tiny": "segment the red circle in magenta\nlabel all pixels with a class\ndescribe the image",
    "visionllm-tiny": "all circles and squares with 8 points",
}
EXAMPLE_VIDEOS = {"mini": (DEMO_VIDEO, "the dog"), "nano": (DRAWN_VIDEO, "the red circle moving left")}
"""By model, instructions that it solves."""
SIDE_BY_SIDE = 320
"""Pixels of the narrowest column that stands beside another."""
QUIET = {"show_progress": "hidden", "api_visibility": "private"}
Following = list[tuple[Any, Callable[[Page], Any]]]
"""Components, and what each becomes with the page of another model."""
_log = get_logger(__name__)


def told(gr: Any, work: Callable[..., Any], path: str | None, *given: Any) -> Any:
    """What an action returns; whatever goes wrong as a sentence, without folders of the server."""
    try:
        return work(path, *given)
    except Exception as error:  # noqa: BLE001  (shown on the page; a fault is logged)
        raise sentence(gr, error, path) from None


def sentence(gr: Any, error: Exception, path: str | None) -> Any:
    """The error for a visitor, as gradio shows it; ``path`` of the upload."""
    if is_fault(error):
        _log.error("a fault of the page", exc_info=error)
    said = sentence_of(error)
    if path:
        said = said.replace(f"{Path(path).parent}{os.sep}", "")
    return gr.Error(said, print_exception=False)


def path_of(upload: Any) -> str | None:
    """An upload as it came: gradio's own reader would fail on damaged files without a message."""
    return None if upload is None else str(upload.path)


def add_image_tab(gr: Any, models: PageModels, model: Any) -> Following:
    """Adds the tab of images; ``model`` is the list of models."""
    kept, page = gr.State(None, time_to_live=KEPT), models.first
    with gr.Row(equal_height=False):
        with gr.Column(min_width=SIDE_BY_SIDE):
            image = gr.Image(type="filepath", label="Image", height=320, sources=["upload", "clipboard"])
            image.preprocess = path_of  # type: ignore[method-assign]
            words = _words(gr, page)
            segment = gr.Button("Segment", variant="primary", elem_classes="segment")
        with gr.Column(min_width=SIDE_BY_SIDE):
            shown = gr.HTML(label="Masks", elem_id="figure")
            remark = gr.Markdown()
            presence = _presence(gr, page)
            formats = _formats(gr)
            download = gr.DownloadButton("Download files", interactive=False)
    # below both: on a phone the result follows the button
    task = gr.Radio(**_tasks(page), label="Answer with")
    images = {"mini": DEMO_IMAGE, "nano": DRAWN_IMAGE, **dict.fromkeys(TINY, tiny_scene())}
    shows = {name: [str(images[name]), text] for name, text in EXAMPLE_IMAGES.items() if images[name]}
    examples = _examples(gr, models, shows, [image, words])

    def answer(name: str, path: str | None, text: str, kind: str, threshold: float) -> Any:
        figure, said = told(gr, lambda *given: models.page(name).segment(*given), path, text, kind)
        return figure, figure.html(threshold), said

    def redraw(figure: Figure | None, threshold: float) -> str:
        return figure.html(threshold) if figure is not None else ""

    def pack(figure: Figure | None, threshold: float, chosen: list[str]) -> Any:
        path = None if figure is None else str(figure.path)
        yield from _packed(gr, lambda _: page.pack(figure, threshold, chosen), path)

    given, packed = [model, image, words, task, presence], [kept, presence, formats]
    done = segment.click(answer, given, [kept, shown, remark], **_asks("image", WAITING))
    done.success(pack, packed, download, **QUIET)
    # a new threshold is drawn at once, by what is known already
    presence.input(redraw, [kept, presence], shown, **QUIET)
    for change in (presence.change, formats.change):
        change(pack, packed, download, trigger_mode="always_last", **QUIET)
    cleared = _cleared(gr, kept, shown, remark, download)
    return [*_following(gr, words, presence), (task, lambda one: gr.Radio(**_tasks(one))), *cleared, *examples]


def add_video_tab(gr: Any, models: PageModels, model: Any, run: Any) -> Following:
    """Adds the tab of videos; ``model`` is the list of models, ``run`` the state of the visitor's last run."""
    kept, page = gr.State(None, time_to_live=KEPT), models.first
    refusal = gr.Markdown(page.images_only, visible=bool(page.images_only))
    with gr.Row(equal_height=False, visible=not page.images_only) as row:
        with gr.Column(min_width=SIDE_BY_SIDE):
            video = gr.Video(label="Video", height=320, sources=["upload"])
            words = _words(gr, page)
            with gr.Row():
                segment = gr.Button("Segment", variant="primary", elem_classes="segment")
                cancel = gr.Button("Cancel", interactive=False)
        with gr.Column(min_width=SIDE_BY_SIDE):
            shown, remark = gr.HTML(label="Masks"), gr.Markdown()
            presence, formats = _presence(gr, page), _formats(gr)
            download = gr.DownloadButton("Download files", interactive=False)
    shows = {name: [str(file), text] for name, (file, text) in EXAMPLE_VIDEOS.items()}
    examples = _examples(gr, models, shows, [video, words])
    buttons, packed = [segment, cancel], [kept, presence, formats]
    begun = segment.click(lambda: _begun(gr), None, [run, kept, download, *buttons], **QUIET)
    done = begun.then(
        _follow_video(gr, models),
        [model, run, video, words, presence],
        [kept, shown, remark],
        **_asks("video", models.limits.videos),
    )

    def pack(video: KeptVideo | None, threshold: float, chosen: list[str]) -> Any:
        path = None if video is None else str(video.source)
        yield from _packed(gr, lambda _: page.pack_video(video, threshold, chosen), path)

    for after in (done.success, done.failure):  # ``then`` is not enough: gradio passes it over after an error
        after(lambda: _switched(gr, False), None, buttons, **QUIET)
    done.success(pack, packed, download, **QUIET)
    # gradio's own way to cancel leaves the run, and this button, waiting for the step that is computed
    cancel.click(lambda now: now and now.set(), run, None, queue=False, **QUIET)
    # a new threshold acts at once, by what the page knows already
    presence.input(
        None, presence, None, js="(threshold) => { markPlayers(threshold); }", api_visibility="private"
    )
    for change in (presence.change, formats.change):
        change(pack, packed, download, trigger_mode="always_last", **QUIET)
    return [
        (refusal, lambda one: gr.Markdown(one.images_only, visible=bool(one.images_only))),
        (row, lambda one: gr.Row(visible=not one.images_only)),
        *_following(gr, words, presence),
        *_cleared(gr, kept, shown, remark, download),
        *examples,
    ]


def _follow_video(gr: Any, models: PageModels) -> Callable[..., Iterator[Any]]:
    """The action that shows a video while it is segmented."""

    def answer(
        name: str, now: threading.Event | None, path: str | None, text: str, threshold: float
    ) -> Iterator[Any]:
        now = now or threading.Event()  # of a program that has not pressed the button
        try:
            for step in models.page(name).segment_video(path, text, threshold, now):
                yield step.kept, gr.skip() if step.shown is None else step.shown, step.said
        except Exception as error:  # noqa: BLE001  (shown on the page; a fault is logged)
            raise sentence(gr, error, path) from None
        finally:  # of a visitor who is gone, too
            now.set()

    return answer


def _begun(gr: Any) -> Any:
    """A new run, which its event ends; the button of the old one must not start another beside it."""
    return threading.Event(), None, gr.DownloadButton(interactive=False), *_switched(gr, True)


def _switched(gr: Any, running: bool) -> tuple[Any, Any]:
    """The buttons that start and end the work on a video."""
    return gr.Button(interactive=not running), gr.Button(interactive=running)


def _packed(gr: Any, pack: Callable[[str | None], str | None], path: str | None) -> Iterator[Any]:
    """The button for a file that is being written: what it had is no longer what the page shows."""
    yield gr.DownloadButton(interactive=False)
    file = told(gr, pack, path)
    yield gr.DownloadButton(value=file, interactive=file is not None)


def _asks(queue: str, most: int) -> dict[str, Any]:
    """Options of an action that asks the model, whose own queue puts images of several visitors together."""
    return {"concurrency_limit": most, "concurrency_id": queue, "api_visibility": "private"}


def _words(gr: Any, page: Page) -> Any:
    return gr.Textbox(label="Instructions", lines=2, max_length=4000, placeholder=_hint(page))


def _hint(page: Page) -> str:
    return "\n".join(page.traits.examples)


def _formats(gr: Any) -> Any:
    return gr.Dropdown([*FORMATS], value=[*DEFAULT_FORMATS], multiselect=True, label="Files to download")


def _presence(gr: Any, page: Page) -> Any:
    label = "Presence below which nothing is marked (0: always mark)"
    return gr.Slider(0, 1, page.threshold, step=0.001, label=label)


def _tasks(page: Page) -> dict[str, Any]:
    """Choices of what is answered with, hidden where there is one."""
    names = [*page.tasks]
    return {"choices": names, "value": names[0], "visible": len(names) > 1}


def _examples(gr: Any, models: PageModels, shows: dict[str, list[str]], inputs: list[Any]) -> Following:
    """A row with the example of each model, of which that of the chosen one is seen."""
    rows: Following = []
    for name, example in shows.items():
        if name in models.names:
            with gr.Row(visible=name == models.first.name) as row:
                gr.Examples([example], inputs, label="Example")
            rows.append((row, lambda page, own=name: gr.Row(visible=page.name == own)))  # type: ignore[misc]
    return rows


def _following(gr: Any, words: Any, presence: Any) -> Following:
    """Instructions and threshold of another model."""
    return [
        (words, lambda page: gr.Textbox(placeholder=_hint(page))),
        (presence, lambda page: gr.Slider(value=page.threshold)),
    ]


def _cleared(gr: Any, kept: Any, shown: Any, remark: Any, download: Any) -> Following:
    """Nothing in place of the answers of another model."""
    return [
        (kept, lambda _: None),
        (shown, lambda _: ""),
        (remark, lambda _: ""),
        (download, lambda _: gr.DownloadButton(interactive=False)),
    ]
