"""A web page: a picture or a clip, what to look for, and the masks drawn over it.

python -m pip install -e ".[app]" && python demo/app.py [--model FOLDER_OR_REPOSITORY] [--port 7860]
"""

from __future__ import annotations

import argparse
import tempfile
import uuid
from itertools import chain
from pathlib import Path
from typing import Any

from instructseg.cli.errors import reported

MISTAKES = (TypeError, ValueError, OSError, RuntimeError)
"""Shown on the page: bad input, and memory that runs out."""
TASKS = {"what is named": "res", "what answers a question": "reason_seg"}


def lines(text: str) -> list[str]:
    """One instruction per line."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def build(model: str | None) -> Any:
    """The page, with the model loaded once for pictures and video."""
    try:
        import gradio as gr
    except ImportError as error:
        raise ValueError("the page needs an extra package: pip install 'instructseg[app]'") from error

    from instructseg.inference import ImagePredictor, VideoPredictor, load
    from instructseg.media import VideoWriter, open_video
    from instructseg.structures import Task
    from instructseg.visualization import draw_masks

    network, processor = load(model)
    results = tempfile.TemporaryDirectory(prefix="instructseg-")  # gone when the page is
    pictures, clips = ImagePredictor(network, processor), VideoPredictor(network, processor)

    def drawn(frame: Any, found: list[Any]) -> Any:
        return draw_masks(
            frame,
            [one.mask for one in found],
            [one.instruction for one in found],
            scores=[one.score for one in found],
            below=True,
        )

    def segment_picture(picture: Any, text: str, task: str, threshold: float) -> Any:
        try:
            found = pictures.segment(picture, lines(text), Task(TASKS[task]), threshold=threshold or None)
        except MISTAKES as error:
            raise gr.Error(str(error)) from error
        return drawn(picture, found)

    def segment_clip(path: str, text: str, threshold: float, progress: Any = gr.Progress()) -> str:  # noqa: B008
        target = Path(results.name) / f"{uuid.uuid4().hex}.mp4"
        try:
            clip = open_video(path)
            found = clips.predict(clip, lines(text), threshold=threshold or None)
            shown = (drawn(one.frame, one.predictions) for one in progress.tqdm(found, total=clip.length))
            first = next(shown)
            with VideoWriter(target, clip.fps, first.shape[:2]) as writer:
                for frame in chain([first], shown):
                    writer.write(frame)
        except MISTAKES as error:
            raise gr.Error(str(error)) from error
        return str(target)

    with gr.Blocks(title="InstructSeg") as page:
        gr.Markdown("# InstructSeg\nSay what you mean, one instruction per line.")
        words = gr.Textbox("the red circle", label="instructions", lines=2)
        presence = gr.Slider(0, 1, 0, label="presence below which nothing is marked (0: always mark)")
        with gr.Tab("picture"):
            kind = gr.Radio(list(TASKS), value="what is named", label="segment")
            shown = gr.Image(type="numpy", label="picture")
            gr.Button("segment").click(segment_picture, [shown, words, kind, presence], gr.Image(label="masks"))
        with gr.Tab("video"):
            clip_in = gr.Video(label="clip")
            gr.Button("segment").click(segment_clip, [clip_in, words, presence], gr.Video(label="masks"))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder or a hub repository; default: the bundled model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7860)
    arguments = parser.parse_args()
    with reported():
        build(arguments.model).launch(server_name=arguments.host, server_port=arguments.port)


if __name__ == "__main__":
    main()
