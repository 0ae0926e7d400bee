"""The web page: an image or a video, instructions, masks. Needs the extra ``app`` (gradio)."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from importlib import util
from pathlib import Path
from typing import Any

from instructseg.serve.page_actions import KEPT
from instructseg.serve.page_models import PageModels
from instructseg.serve.page_tabs import WAITING, add_image_tab, add_video_tab, path_of, sentence, told
from instructseg.serve.worker import Predictors

CLEANED = 600
"""Seconds between clean-ups of uploads."""
ABOUT = "# InstructSeg\nDescribe an object, get its mask: one instruction per line. Ctrl+Enter segments."


def build_page(models: PageModels) -> Any:
    """The page as ``gradio.Blocks``; with several models, a list to choose one of.

    Raises:
        ImportError: gradio is missing.
    """
    import gradio as gr

    with gr.Blocks(title="InstructSeg", delete_cache=(CLEANED, KEPT)) as blocks:
        gr.Markdown(ABOUT)
        several = len(models.names) > 1
        model = gr.Dropdown(models.names, value=models.names[0], label="Model", visible=several)
        note = gr.Markdown(models.first.note)
        run = gr.State(None, time_to_live=KEPT)
        with gr.Tab("Image"):
            image = add_image_tab(gr, models, model)
        with gr.Tab("Video"):
            video = add_video_tab(gr, models, model, run)
        follow = [(note, lambda page: page.note), *image, *video]

        def choose(name: str, now: threading.Event | None) -> list[Any]:
            """What depends on the model, once it is loaded; a video of the one before is cancelled."""
            if now is not None:
                now.set()
            try:
                page = models.page(name)
            except Exception as error:  # noqa: BLE001  (shown on the page; a fault is logged)
                raise sentence(gr, error, None) from None
            return [made(page) for _, made in follow]

        model.input(choose, [model, run], [one for one, _ in follow], api_visibility="private")
        _tool(gr, models)
    return blocks.queue(max_size=WAITING)


def launch_page(loads: Mapping[str, Callable[[], Predictors]], host: str, port: int, upload: int) -> None:
    """Serves the page until the process is told to end; its files are deleted then.

    Args:
        loads: of the models that a visitor may choose, by name; see :class:`PageModels`.
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
        with closing(PageModels(loads, results)) as models:
            build_page(models).launch(
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


def _tool(gr: Any, models: PageModels) -> None:
    """What programs and assistants call, by gradio's API and by MCP: the first model."""

    image = gr.Image(type="filepath", label="image", visible=False)
    image.preprocess = path_of  # type: ignore[method-assign]
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
        return told(gr, models.first.answers, image, instructions.splitlines())  # type: ignore[no-any-return]

    button.click(
        segment_image,
        [image, words],
        answers,
        api_name="segment_image",
        concurrency_limit=WAITING,
        concurrency_id="image",
    )
