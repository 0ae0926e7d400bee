"""What the web page does when a button is pressed; gradio only shows it."""

from __future__ import annotations

import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.inference.selection import AnswerOptions
from instructseg.prediction import FrameResult, Prediction
from instructseg.results import ResultInfo, ResultWriter, plan_paths, save_results
from instructseg.serve.batching import ImageRequest, segment_together
from instructseg.serve.figure import Figure
from instructseg.serve.limits import Limits
from instructseg.structures import Task
from instructseg.visualization import draw_predictions

LIMITS = Limits(video_seconds=600)
"""Of the page."""
KEPT = 3600
"""Seconds that results are kept."""
SHOWN_EVERY = 0.5
"""Seconds between frames of a video that are shown while the rest is computed."""
TASKS = {
    "Questions in words, the rest as masks": None,
    "Masks of what is named": Task.RES,
    "Masks that answer a question": Task.REASON_SEG,
    "Words": Task.VQA,
}
"""Choices of the page."""


@dataclass(frozen=True)
class VideoStep:
    """A video so far.

    Attributes:
        frame: ``uint8[H, W, 3]`` RGB with masks.
        said: Markdown.
        video: the finished video with masks.
        archive: the finished ZIP file of all results.
    """

    frame: np.ndarray | None
    said: str
    video: str | None = None
    archive: str | None = None


class Page:
    """Actions of the page, with one model for all.

    Args:
        images: of the model; ``videos`` with the same weights.
        results: a folder, deleted by its creator.
        bundled: name of the model, if it is bundled.
        limits: of uploads.
    """

    def __init__(
        self,
        images: ImagePredictor,
        videos: VideoPredictor,
        results: Path,
        bundled: str | None,
        limits: Limits = LIMITS,
    ) -> None:
        self.images, self.videos, self.results = images, videos, results
        self.bundled, self.limits = bundled, limits

    @property
    def threshold(self) -> float:
        """Presence below which a mask is empty, by the weights."""
        return self.images.rule(AnswerOptions()).threshold or 0.0

    def segment(self, path: str | None, text: str, task: str) -> tuple[Figure, str]:
        """Answers about an image at every threshold, and a remark in Markdown.

        Raises:
            ValueError: a mistake of the visitor, in a sentence.
        """
        prompts = self._prompts(text)
        image = self.limits.open_image(_uploaded(path, "image"))
        request = ImageRequest(image, "", tuple(prompts), TASKS[task], 0.0)
        (found,) = segment_together(self.images, [request])
        if isinstance(found, ValueError):
            raise found
        return Figure.of(Path(str(path)).name, image, found), self._remark(prompts)

    def pack(
        self, figure: Figure | None, path: str | None, threshold: float, formats: Sequence[str]
    ) -> str | None:
        """A ZIP file of the results on an image in these formats; ``None`` where there is no mask to pack."""
        if figure is None or not path or not formats:
            return None
        found = [one.prediction(threshold) for one in figure.regions if one.text is None]
        if not found:
            return None
        image, name = self.limits.open_image(Path(path)), Path(path).stem[:80]
        with self._folder() as folder:
            save_results(found, folder, tuple(formats), image=image, name=name, path=Path(path))
            return self._zipped(folder, name)

    def segment_video(
        self, path: str | None, text: str, threshold: float, formats: Sequence[str]
    ) -> Iterator[VideoStep]:
        """Steps of a video, the finished one last.

        Raises:
            ValueError: a mistake of the visitor, in a sentence, or the time is over.
        """
        prompts = self.limits.check_video_instructions(self._prompts(text))
        video = self.limits.open_video(_uploaded(path, "video"))
        name, end = Path(str(path)).stem[:80], time.monotonic() + self.limits.video_seconds
        seen, shown = [0] * len(prompts), -SHOWN_EVERY
        with self._folder() as folder:
            info = ResultInfo(tuple(prompts), Path(str(path)).name, name, path=Path(str(path)), fps=video.fps)
            places = plan_paths(name, folder, {"overlay", *formats}, video=True)
            with ResultWriter(places, info) as writer:
                for result in self.videos.predict(video, prompts, threshold=threshold):
                    self._check(result, end)
                    writer.write(result)
                    for place in range(len(prompts)):
                        seen[place] += any(one.found for one in result.of(place))
                    if time.monotonic() - shown >= SHOWN_EVERY:
                        shown = time.monotonic()
                        yield VideoStep(_drawn(result), _progress(writer.count, video.about))
                count = writer.count
            said = [_found_in(prompt, some, count) for prompt, some in zip(prompts, seen, strict=True)]
            overlay = self._own(places.targets["overlay"])
            archive = self._zipped(folder, name)
        yield VideoStep(None, "\n\n".join([self._remark(prompts), *said]).strip(), overlay, archive)

    def answers(self, path: str | None, instructions: Sequence[str]) -> list[dict[str, Any]]:
        """Answers as plain values, for programs and assistants."""
        prompts = self._prompts("\n".join(instructions))
        image = self.limits.open_image(_uploaded(path, "image"))
        (found,) = segment_together(self.images, [ImageRequest(image, "", tuple(prompts))])
        if isinstance(found, ValueError):
            raise found
        return [_plain(one) for one in found]

    def forget(self) -> None:
        """Deletes old results."""
        for file in self.results.iterdir():
            if time.time() - file.stat().st_mtime > KEPT:
                shutil.rmtree(file, ignore_errors=True) if file.is_dir() else file.unlink(missing_ok=True)

    def _prompts(self, text: str) -> list[str]:
        """One instruction per line."""
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            raise ValueError("no instruction: describe an object, one per line")
        return self.limits.check_instructions(lines)

    def _remark(self, prompts: list[str]) -> str:
        """Words that the bundled weights do not know."""
        strange = self.images.processor.strange_words(prompts) if self.bundled else []
        return f"These weights do not know these words: {', '.join(strange)}." if strange else ""

    def _check(self, result: FrameResult, end: float) -> None:
        if result.index >= self.limits.frames:  # a file without a known length
            raise ValueError(f"the video has more than {self.limits.frames} frames: cut it")
        if time.monotonic() > end:
            seconds = f"{self.limits.video_seconds:g}"
            raise ValueError(f"not done after {seconds} seconds: cut the video, or give fewer instructions")

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """A folder for the files of one result, deleted at the end of its block."""
        self.forget()
        with tempfile.TemporaryDirectory(dir=self.results, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def _zipped(self, folder: Path, name: str) -> str:
        """The files below a folder in one archive of the results."""
        target = Path(tempfile.mkdtemp(dir=self.results)) / f"{name}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file() and not file.name.startswith("."):
                    archive.write(file, file.relative_to(folder))
        return str(target)

    def _own(self, file: Path) -> str:
        """A copy that outlives its folder."""
        target = Path(tempfile.mkdtemp(dir=self.results)) / file.name
        return str(shutil.copyfile(file, target))


def _uploaded(path: str | None, kind: str) -> Path:
    if not path:
        raise ValueError(f"no {kind} yet: choose one first")
    return Path(path)


def _drawn(result: FrameResult) -> np.ndarray:
    return draw_predictions(result.frame, result.predictions)


def _progress(count: int, about: int | None) -> str:
    return f"Frame {count}{f' of {about}' if about else ''} …"


def _found_in(prompt: str, some: int, count: int) -> str:
    return f"{prompt} – found in {some} of {count} frames" if some else f"{prompt} – nothing found"


def _plain(one: Prediction) -> dict[str, Any]:
    if one.text is not None and not one.found:
        return {"instruction": one.instruction, "text": one.text}
    outlines = [[[float(x), float(y)] for x, y in line] for line in one.polygons]
    return {
        "instruction": one.instruction,
        "found": one.found,
        "score": round(one.score, 4),
        "presence": round(one.presence, 4),
        "box": one.box,
        "polygons": outlines,
    }
