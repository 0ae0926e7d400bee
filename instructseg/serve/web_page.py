"""The web page: an image or a video, instructions, masks. Needs the extra ``app`` (gradio)."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import util
from pathlib import Path
from typing import Any

from instructseg.hub import DEMO_IMAGE, DEMO_VIDEO, DRAWN_IMAGE, DRAWN_VIDEO, NOTES
from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.log import get_logger
from instructseg.results import DEFAULT_FORMATS, FORMATS
from instructseg.serve.failures import is_fault, sentence_of
from instructseg.serve.figure import Figure
from instructseg.serve.kept_video import KeptVideo
from instructseg.serve.page_actions import KEPT, Page

CLEANED, WAITING = 600, 16
"""Seconds between clean-ups of uploads, and length of the queue."""
ABOUT = "# InstructSeg\nDescribe an object, get its mask: one instruction per line. Ctrl+Enter segments."
EXAMPLES = {
    "mini": ((DEMO_IMAGE, "the truck"), (DEMO_VIDEO, "the dog")),
    "nano": (
        (DRAWN_IMAGE, "the red circle\nhow many circles are there?"),
        (DRAWN_VIDEO, "the red circle moving left"),
    ),
}
"""By bundled model, an image and a video with instructions that it solves."""
SIDE_BY_SIDE = 320
"""Pixels of the narrowest column that stands beside another."""
QUIET = {"show_progress": "hidden", "api_visibility": "private"}
_log = get_logger(__name__)


def build_page(page: Page) -> Any:
    """The page as ``gradio.Blocks``.

    Raises:
        ImportError: gradio is missing.
    """
    import gradio as gr

    with gr.Blocks(title="InstructSeg", delete_cache=(CLEANED, KEPT)) as blocks:
        gr.Markdown(ABOUT)
        if page.bundled:
            gr.Markdown(f"**The bundled model {page.bundled} is {NOTES[page.bundled]}.**")
        with gr.Tab("Image"):
            _image_tab(gr, page)
        with gr.Tab("Video"):
            _video_tab(gr, page)
        _tool(gr, page)
    return blocks.queue(max_size=WAITING)


def _example(model: str, kind: int) -> list[str]:
    """The file and the instructions of an example: of an image (0), or of a video (1)."""
    file, words = EXAMPLES[model][kind]
    return [str(file), words]


def launch_page(
    images: ImagePredictor, videos: VideoPredictor, bundled: str | None, host: str, port: int, upload: int
) -> None:
    """Serves the page until the process is told to end; its files are deleted then.

    Args:
        images, videos: predictors with the same weights.
        bundled: their name, if they are bundled.
        host, port: to listen on.
        upload: bytes of the largest upload.

    Raises:
        ImportError: gradio is missing.
        OSError: the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="instructseg-app-", ignore_cleanup_errors=True) as folder:
        results = Path(folder) / "results"
        results.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder) / "uploads")
        here = Path(__file__).parent
        with closing(Page(images, videos, results, bundled)) as page:
            build_page(page).launch(
                server_name=host,
                server_port=port,
                max_file_size=upload,
                allowed_paths=[str(results)],
                mcp_server=util.find_spec("mcp") is not None,
                css=here.joinpath("page.css").read_text(encoding="utf-8"),
                head=f"<script>{here.joinpath('page.js').read_text(encoding='utf-8')}</script>",
                footer_links=["api"],
                quiet=True,
            )


def _told(gr: Any, work: Callable[..., Any], path: str | None, *given: Any) -> Any:
    """What an action returns; whatever goes wrong as a sentence, without folders of the server."""
    try:
        return work(path, *given)
    except Exception as error:  # noqa: BLE001  (shown on the page; a fault is logged)
        raise _sentence(gr, error, path) from None


def _packed(gr: Any, pack: Callable[[str | None], str | None], path: str | None) -> Iterator[Any]:
    """The button for a file that is being written: what it had is no longer what the page shows."""
    yield gr.DownloadButton(interactive=False)
    file = _told(gr, pack, path)
    yield gr.DownloadButton(value=file, interactive=file is not None)


def _sentence(gr: Any, error: Exception, path: str | None) -> Any:
    if is_fault(error):
        _log.error("a fault of the page", exc_info=error)
    said = sentence_of(error)
    if path:
        said = said.replace(f"{Path(path).parent}{os.sep}", "")
    return gr.Error(said, print_exception=False)


def _path_of(upload: Any) -> str | None:
    """An upload as it came: gradio's own reader would fail on damaged files without a message."""
    return None if upload is None else str(upload.path)


def _formats(gr: Any) -> Any:
    return gr.Dropdown([*FORMATS], value=[*DEFAULT_FORMATS], multiselect=True, label="Files to download")


def _presence(gr: Any, page: Page) -> Any:
    label = "Presence below which nothing is marked (0: always mark)"
    return gr.Slider(0, 1, page.threshold, step=0.001, label=label)


def _image_tab(gr: Any, page: Page) -> None:
    kept = gr.State(None, time_to_live=KEPT)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=SIDE_BY_SIDE):
            image = gr.Image(type="filepath", label="Image", height=320, sources=["upload", "clipboard"])
            image.preprocess = _path_of  # type: ignore[method-assign]
            words = gr.Textbox(
                label="Instructions", lines=2, max_length=4000, placeholder="the dog on the left"
            )
            segment = gr.Button("Segment", variant="primary", elem_classes="segment")
        with gr.Column(min_width=SIDE_BY_SIDE):
            shown = gr.HTML(label="Masks", elem_id="figure")
            remark = gr.Markdown()
            presence = _presence(gr, page)
            formats = _formats(gr)
            download = gr.DownloadButton("Download files", interactive=False)
    # below both: on a phone the result follows the button
    task = gr.Radio([*page.tasks], value=next(iter(page.tasks)), label="Answer with")
    if page.bundled:
        gr.Examples([_example(page.bundled, 0)], [image, words], label="Example")

    def answer(path: str | None, text: str, kind: str, threshold: float) -> Any:
        figure, said = _told(gr, page.segment, path, text, kind)
        return figure, figure.html(threshold), said

    def redraw(figure: Figure | None, threshold: float) -> str:
        return figure.html(threshold) if figure is not None else ""

    def pack(figure: Figure | None, threshold: float, chosen: list[str]) -> Any:
        path = None if figure is None else str(figure.path)
        yield from _packed(gr, lambda _: page.pack(figure, threshold, chosen), path)

    given, packed = [image, words, task, presence], [kept, presence, formats]
    done = segment.click(answer, given, [kept, shown, remark], **_model("image", WAITING))
    done.success(pack, packed, download, **QUIET)
    # a new threshold is drawn at once, by what is known already
    presence.input(redraw, [kept, presence], shown, **QUIET)
    for change in (presence.change, formats.change):
        change(pack, packed, download, trigger_mode="always_last", **QUIET)


def _video_tab(gr: Any, page: Page) -> None:
    kept, run = gr.State(None, time_to_live=KEPT), gr.State(None, time_to_live=KEPT)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=SIDE_BY_SIDE):
            video = gr.Video(label="Video", height=320, sources=["upload"])
            words = gr.Textbox(label="Instructions", lines=2, max_length=4000, placeholder="the dog")
            with gr.Row():
                segment = gr.Button("Segment", variant="primary", elem_classes="segment")
                cancel = gr.Button("Cancel", interactive=False)
        with gr.Column(min_width=SIDE_BY_SIDE):
            shown, remark = gr.HTML(label="Masks"), gr.Markdown()
            presence, formats = _presence(gr, page), _formats(gr)
            download = gr.DownloadButton("Download files", interactive=False)
    if page.bundled:
        gr.Examples([_example(page.bundled, 1)], [video, words], label="Example")

    def begin() -> Any:
        """A new run, which :func:`stop` ends; the button of the old one must not start another beside it."""
        return threading.Event(), None, gr.DownloadButton(interactive=False), *_switched(gr, True)

    def answer(now: threading.Event | None, path: str | None, text: str, threshold: float) -> Any:
        now = now or threading.Event()  # of a program that has not pressed the button
        try:
            for step in page.segment_video(path, text, threshold, now):
                yield step.kept, gr.skip() if step.shown is None else step.shown, step.said
        except Exception as error:  # noqa: BLE001  (shown on the page; a fault is logged)
            raise _sentence(gr, error, path) from None
        finally:  # of a visitor who is gone, too
            now.set()

    def stop(now: threading.Event | None) -> None:
        if now is not None:
            now.set()

    def pack(video: KeptVideo | None, threshold: float, chosen: list[str]) -> Any:
        path = None if video is None else str(video.source)
        yield from _packed(gr, lambda _: page.pack_video(video, threshold, chosen), path)

    buttons, packed = [segment, cancel], [kept, presence, formats]
    begun = segment.click(begin, None, [run, kept, download, *buttons], **QUIET)
    done = begun.then(
        answer, [run, video, words, presence], [kept, shown, remark], **_model("video", page.limits.videos)
    )
    for after in (done.success, done.failure):  # ``then`` is not enough: gradio passes it over after an error
        after(lambda: _switched(gr, False), None, buttons, **QUIET)
    done.success(pack, packed, download, **QUIET)
    # gradio's own way to cancel leaves the run, and this button, waiting for the step that is computed
    cancel.click(stop, run, None, queue=False, **QUIET)
    # a new threshold acts at once, by what the page knows already
    presence.input(
        None, presence, None, js="(threshold) => { markPlayers(threshold); }", api_visibility="private"
    )
    for change in (presence.change, formats.change):
        change(pack, packed, download, trigger_mode="always_last", **QUIET)


def _switched(gr: Any, running: bool) -> tuple[Any, Any]:
    """The buttons that start and end the work on a video."""
    return gr.Button(interactive=not running), gr.Button(interactive=running)


def _model(queue: str, most: int) -> dict[str, Any]:
    """Options of an action that asks the model, whose own queue puts images of several visitors together."""
    return {"concurrency_limit": most, "concurrency_id": queue, "api_visibility": "private"}


def _tool(gr: Any, page: Page) -> None:
    """What programs and assistants call, by gradio's API and by MCP."""

    image = gr.Image(type="filepath", label="image", visible=False)
    image.preprocess = _path_of  # type: ignore[method-assign]
    words = gr.Textbox(label="instructions", visible=False, max_length=4000)
    answers, button = gr.JSON(visible=False), gr.Button(visible=False)

    def segment_image(image: str, instructions: str) -> list[dict[str, Any]]:
        """Finds what instructions describe in an image: polygons, box and scores of each, or words.

        Args:
            image: the image.
            instructions: objects or questions, one per line.

        Returns:
            One entry for each instruction, in order.
        """
        return _told(gr, page.answers, image, instructions.splitlines())  # type: ignore[no-any-return]

    button.click(
        segment_image,
        [image, words],
        answers,
        api_name="segment_image",
        concurrency_limit=WAITING,
        concurrency_id="image",
    )
