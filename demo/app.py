"""Web page: an image or a video, instructions, and masks drawn over it.

python -m pip install -e ".[app]" && python demo/app.py [--model FOLDER_OR_REPOSITORY] [--port 7860]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import uuid
from itertools import chain
from pathlib import Path
from typing import Any

from instructseg import (
    ImagePredictor,
    Task,
    VideoPredictor,
    VideoWriter,
    draw_predictions,
    image_size,
    is_bundled,
    load_image,
    load_pretrained,
    open_video,
    wants_words,
)

MISTAKES = (TypeError, ValueError, OSError, RuntimeError)
"""Errors shown on the page: bad input, and out of memory."""
MOST_LINES = 16
"""Most instructions of one request."""
MOST_PIXELS = 4096 * 4096
"""Largest image or frame."""
MOST_FRAMES = 1800
"""Longest video: a minute at 30 per second."""
UPLOAD, LOOKED, KEPT = "200mb", 600, 3600
"""Largest upload; interval of clean-ups and lifetime of uploads and results, in seconds."""
WAITING, SECONDS = 16, 600
"""Length of the queue, and time limit of a video in seconds."""
AUTO = "questions in words, the rest as masks"
TASKS = {
    AUTO: None,
    "masks of what is named": "res",
    "masks that answer a question": "reason_seg",
    "words": "vqa",
}
ABOUT_BUNDLED = (
    "**These weights know drawn shapes only**: circle, square, triangle, star, cross, ring, heart and diamond, "
    "in red, orange, yellow, green, blue, purple, white and black. Their answers on photographs mean nothing: "
    "start the page with `--model weic22/InstructSeg` for those."
)


def lines(text: str) -> list[str]:
    """One instruction per line.

    Raises:
        ValueError: there is none, or more than :data:`MOST_LINES`.
    """
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise ValueError("no instruction: describe an object, one per line")
    if len(found) > MOST_LINES:
        raise ValueError(f"{len(found)} instructions are too many at once: give at most {MOST_LINES}")
    return found


def opened_image(path: str | None) -> Any:
    """The image of an upload, ``uint8[H, W, 3]``.

    Raises:
        ValueError: there is none, it is damaged, or too large.
    """
    if not path:
        raise ValueError("no image yet: choose one first")
    height, width = image_size(path)
    if height * width > MOST_PIXELS:
        raise ValueError(f"the image of {height} x {width} pixels is too large: make it smaller")
    return load_image(path)


def opened_video(path: str | None) -> Any:
    """The video of an upload.

    Raises:
        ValueError: there is none, it cannot be read, or it is too large or too long.
    """
    if not path:
        raise ValueError("no video yet: choose one first")
    video = open_video(path)
    height, width = video.size
    if height * width > MOST_PIXELS:
        raise ValueError(f"the video of {height} x {width} pixels is too large: make it smaller")
    if video.about is not None and video.about > MOST_FRAMES:
        raise ValueError(f"the video has {video.about} frames: cut it to at most {MOST_FRAMES}")
    return video


class Page:
    """Actions of the buttons, with one model for all and a predictor per request.

    Args:
        network: the model.
        processor: of that model.
        results: a folder for videos, deleted by its creator.
        bundled: whether they are the bundled weights.
    """

    def __init__(self, network: Any, processor: Any, results: Path, bundled: bool) -> None:
        self.network, self.processor, self.results, self.bundled = network, processor, results, bundled

    def segment_image(self, path: str | None, text: str, kind: str, threshold: float) -> tuple[Any, str]:
        """The image with its masks, and a result per line."""
        prompts, task = lines(text), TASKS[kind]
        predictor = ImagePredictor(self.network, self.processor)
        image = opened_image(path)
        encoded = predictor.encode(image)
        in_words = [task == "vqa" or (task is None and wants_words(prompt)) for prompt in prompts]
        marked = [prompt for prompt, words in zip(prompts, in_words, strict=True) if not words]
        kept = Task(task) if task is not None and task != "vqa" else Task.RES
        found = predictor.predict(encoded, marked, kept, threshold=threshold) if marked else []
        masks = iter(found)
        said = [
            f"{prompt} **{predictor.answer(encoded, prompt) or 'no reply'}**" if words else _line(next(masks))
            for prompt, words in zip(prompts, in_words, strict=True)
        ]
        return draw_predictions(image, found), self._told(prompts, said)

    def segment_video(self, path: str | None, text: str, threshold: float, follow: Any) -> tuple[str, str]:
        """A video with masks, and a result per line; ``follow`` shows progress over an iterable."""
        prompts = lines(text)
        asked = next((prompt for prompt in prompts if wants_words(prompt)), None)
        if asked is not None:
            raise ValueError(f"'{asked}' asks for words, which are written about images only")
        video = opened_video(path)
        self._forget()
        target, seen, end = (
            self.results / f"{uuid.uuid4().hex}.mp4",
            [0] * len(prompts),
            time.monotonic() + SECONDS,
        )
        frames = VideoPredictor(self.network, self.processor).predict(video, prompts, threshold=threshold)

        def drawn(frame: Any) -> Any:
            if frame.index >= MOST_FRAMES:  # a file without a known length
                raise ValueError(f"the video has more than {MOST_FRAMES} frames: cut it")
            if time.monotonic() > end:
                raise ValueError(f"not done after {SECONDS} seconds: cut the video, or give fewer instructions")
            for place, one in enumerate(frame.predictions):
                seen[place] += one.found
            return draw_predictions(frame.frame, frame.predictions), frame.time

        shown = (drawn(one) for one in follow(frames, total=video.about))
        first = next(shown)
        with VideoWriter(target, video.fps, first[0].shape[:2]) as writer:
            for image, shown_at in chain([first], shown):
                writer.write(image, shown_at)
            count = writer.count
        said = [
            f"{prompt} – found in {some} of {count} frames" if some else f"{prompt} – nothing found"
            for prompt, some in zip(prompts, seen, strict=True)
        ]
        return str(target), self._told(prompts, said)

    def _forget(self) -> None:
        """Deletes old results."""
        for file in self.results.glob("*.mp4"):
            if time.time() - file.stat().st_mtime > KEPT:
                file.unlink(missing_ok=True)

    def _told(self, prompts: list[str], said: list[str]) -> str:
        """Lines of Markdown; words unknown to the bundled weights come first."""
        strange = self.processor.strange_words(prompts) if self.bundled else []
        told = [f"These weights do not know these words: {', '.join(strange)}."] if strange else []
        return "\n\n".join([*told, *said])


def _line(found: Any) -> str:
    result = f"score {found.score:.2f}" if found.found else "nothing found"
    return f"{found.instruction} – {result}, presence {found.presence:.2f}"


def build(model: str | None, results: Path) -> Any:
    """The page, with the model loaded once.

    Args:
        model: a folder or a hub repository; ``None`` for the bundled model.
        results: a folder for videos.

    Raises:
        ValueError: gradio is missing, or as of :func:`instructseg.pretrained.load_pretrained`.
    """
    try:
        import gradio as gr
    except ImportError as error:
        raise ValueError("the page needs an extra package: pip install gradio") from error

    page_of = Page(*load_pretrained(model), results, is_bundled(model))

    def on_page(work: Any, *given: Any) -> Any:
        try:
            return work(*given)
        except MISTAKES as error:
            # one sentence on the page, without the server's folders; no traceback on the server
            said = " ".join(str(error).split()) or type(error).__name__
            if given[0]:
                said = said.replace(f"{Path(given[0]).parent}{os.sep}", "")
            raise gr.Error(said, print_exception=False) from None

    def segment_image(path: str | None, text: str, kind: str, threshold: float) -> Any:
        return on_page(page_of.segment_image, path, text, kind, threshold)

    def segment_video(
        path: str | None,
        text: str,
        threshold: float,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Any:
        return on_page(page_of.segment_video, path, text, threshold, progress.tqdm)

    own = page_of.processor.config.presence_threshold or 0.0
    with gr.Blocks(title="InstructSeg", delete_cache=(LOOKED, KEPT)) as page:
        gr.Markdown("# InstructSeg\nDescribe an object, get its mask: one instruction per line.")
        if page_of.bundled:
            gr.Markdown(ABOUT_BUNDLED)
        words = gr.Textbox("the red circle", label="Instructions", lines=2, max_length=4000)
        with gr.Tab("Image"):
            image = gr.Image(type="filepath", label="Image", height=320)
            # gradio's own reader would fail on damaged files without a message
            image.preprocess = lambda upload: None if upload is None else upload.path  # type: ignore[method-assign]
            kind = gr.Radio(list(TASKS), value=AUTO, label="Answer with")
            segment = gr.Button("Segment", variant="primary")
            painted, told = gr.Image(label="Masks", format="png"), gr.Markdown()
        with gr.Tab("Video"):
            video = gr.Video(label="Video", height=320)
            segment_all = gr.Button("Segment", variant="primary")
            played, told_of = gr.Video(label="Masks"), gr.Markdown()
        presence = gr.Slider(
            0, 1, own, step=0.001, label="Presence below which nothing is marked (0: always mark)"
        )
        one_by_one = {"concurrency_limit": 1, "concurrency_id": "model"}
        segment.click(segment_image, [image, words, kind, presence], [painted, told], **one_by_one)
        segment_all.click(segment_video, [video, words, presence], [played, told_of], **one_by_one)
    return page.queue(max_size=WAITING)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder or hub repository; default: the bundled model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7860)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # ends the block below, which deletes the results
    with tempfile.TemporaryDirectory(prefix="instructseg-", ignore_cleanup_errors=True) as folder:
        results = Path(folder) / "results"
        results.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder) / "uploads")  # deleted with the page
        try:
            page = build(arguments.model, results)
        except (OSError, ValueError, RuntimeError) as error:
            parser.error(str(error))
        host, port, allowed = arguments.host, arguments.port, [str(results)]
        page.launch(server_name=host, server_port=port, max_file_size=UPLOAD, allowed_paths=allowed)


if __name__ == "__main__":
    main()
