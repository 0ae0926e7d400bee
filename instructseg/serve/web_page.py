"""The web page: an image or a video, instructions, masks. Needs the extra ``app`` (gradio)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

from instructseg.hub import DEMO_IMAGE, DEMO_VIDEO, DRAWN_IMAGE, DRAWN_VIDEO, NOTES
from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.results import DEFAULT_FORMATS, FORMATS
from instructseg.serve.figure import Figure, style
from instructseg.serve.kept_video import KeptVideo
from instructseg.serve.limits import in_one_line
from instructseg.serve.page_actions import KEPT, Page, VideoStep

MISTAKES = (TypeError, ValueError, OSError, RuntimeError)
"""Errors shown on the page: bad input, and out of memory."""
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
CTRL_ENTER = """<script>
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  const shown = [...document.querySelectorAll(".segment")].find((button) => button.offsetParent !== null);
  if (shown) { event.preventDefault(); shown.click(); }
});
</script>"""


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
        page = Page(images, videos, results, bundled)
        build_page(page).launch(
            server_name=host,
            server_port=port,
            max_file_size=upload,
            allowed_paths=[str(results)],
            mcp_server=util.find_spec("mcp") is not None,
            css=style(page.limits.instructions),
            head=CTRL_ENTER,
            footer_links=["api"],
            quiet=True,
        )


def _told(gr: Any, work: Callable[..., Any], path: str | None, *given: Any) -> Any:
    """What an action returns; its mistakes as a sentence, without folders of the server."""
    try:
        return work(path, *given)
    except MISTAKES as error:
        raise _sentence(gr, error, path) from None


def _sentence(gr: Any, error: Exception, path: str | None) -> Any:
    said = in_one_line(error)
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
        with gr.Column(min_width=320):
            image = gr.Image(type="filepath", label="Image", height=320, sources=["upload", "clipboard"])
            image.preprocess = _path_of  # type: ignore[method-assign]
            words = gr.Textbox(
                label="Instructions", lines=2, max_length=4000, placeholder="the dog on the left"
            )
            segment = gr.Button("Segment", variant="primary", elem_classes="segment")
        with gr.Column(min_width=320):
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
        file = _told(gr, lambda _: page.pack(figure, threshold, chosen), path)
        return gr.DownloadButton(value=file, interactive=file is not None)

    given, packed = [image, words, task, presence], [kept, presence, formats]
    one = {"concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private"}
    done = segment.click(answer, given, [kept, shown, remark], **one)
    done.success(pack, packed, download, show_progress="hidden", api_visibility="private")
    # a new threshold is drawn at once, by what is known already
    presence.input(redraw, [kept, presence], shown, show_progress="hidden", api_visibility="private")
    for change in (presence.change, formats.change):
        change(
            pack, packed, download, trigger_mode="always_last", show_progress="hidden", api_visibility="private"
        )


def _video_tab(gr: Any, page: Page) -> None:
    kept = gr.State(None, time_to_live=KEPT)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            video = gr.Video(label="Video", height=320, sources=["upload"])
            words = gr.Textbox(label="Instructions", lines=2, max_length=4000, placeholder="the dog")
            with gr.Row():
                segment = gr.Button("Segment", variant="primary", elem_classes="segment")
                cancel = gr.Button("Cancel", interactive=False)
        with gr.Column(min_width=320):
            frame = gr.Image(
                label="Frame", format="jpeg", interactive=False, alt_text="The frame just segmented"
            )
            played = gr.Video(label="Masks", visible=False, height=320)
            remark = gr.Markdown()
            presence, formats = _presence(gr, page), _formats(gr)
            download = gr.DownloadButton("Download files", interactive=False)
    if page.bundled:
        gr.Examples([_example(page.bundled, 1)], [video, words], label="Example")

    def answer(path: str | None, text: str, threshold: float, chosen: list[str]) -> Any:
        try:
            for step in page.segment_video(path, text, threshold, chosen):
                yield _shown(gr, step)
        except MISTAKES as error:
            raise _sentence(gr, error, path) from None

    def describe(video: KeptVideo | None, threshold: float) -> Any:
        return gr.skip() if video is None else page.describe_video(video, threshold)

    def show_again(video: KeptVideo | None, threshold: float, chosen: list[str]) -> Any:
        if video is None:
            return gr.skip()
        step = _told(gr, lambda _: page.show_video(video, threshold, chosen), str(video.source))
        return _shown(gr, step)

    def busy(now: bool) -> Any:
        return gr.Button(interactive=now), gr.Slider(interactive=not now), gr.Dropdown(interactive=not now)

    hidden = {"show_progress": "hidden", "api_visibility": "private"}
    one = {"concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private"}
    given, results = [presence, formats], [kept, frame, played, remark, download]
    segment.click(lambda: (None, *busy(True)), None, [kept, cancel, *given], **hidden)
    running = segment.click(answer, [video, words, *given], results, **one)
    idle = {"fn": lambda: busy(False), "inputs": None, "outputs": [cancel, *given], **hidden}
    running.then(**idle)
    stopped = cancel.click(lambda: "Cancelled.", None, remark, cancels=[running], api_visibility="private")
    stopped.then(**idle)
    # a new threshold acts at once, by what is known already
    presence.input(describe, [kept, presence], remark, **hidden)
    for change in (presence.change, formats.change):
        change(show_again, [kept, *given], results, trigger_mode="always_last", api_visibility="private")


def _shown(gr: Any, step: VideoStep) -> Any:
    """A step, as the state and the outputs of the tab."""
    over = step.video is not None
    return (
        step.kept,
        gr.Image(value=step.frame, visible=not over),
        gr.Video(value=step.video, visible=over),
        step.said,
        gr.DownloadButton(value=step.archive, interactive=over),
    )


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
        concurrency_limit=1,
        concurrency_id="model",
    )
