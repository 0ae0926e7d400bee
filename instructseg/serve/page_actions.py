"""What the web page does when a button is pressed; gradio only shows it."""

from __future__ import annotations

import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.inference.selection import AnswerOptions
from instructseg.media import TruncatedVideoError, VideoSource
from instructseg.prediction import FrameResult, Prediction
from instructseg.results import ResultInfo, ResultWriter, plan_paths, save_results
from instructseg.serve.batching import ImageRequest, segment_together
from instructseg.serve.figure import Figure
from instructseg.serve.kept_video import KeptVideo
from instructseg.serve.limits import Limits, without_folder
from instructseg.structures import Task
from instructseg.visualization import draw_predictions

LIMITS = Limits(video_seconds=600)
"""Of the page."""
KEPT = 3600
"""Seconds that results are kept."""
SHOWN_EVERY = 0.5
"""Seconds between frames of a video that are shown while the rest is computed."""
TASKS: dict[str, Task | None] = {
    "Questions in words, the rest as masks": None,
    "Masks of what is named": Task.RES,
    "Masks that answer a question": Task.REASON_SEG,
    "Words": Task.VQA,
}
"""Choices of the page, for weights that write."""


@dataclass(frozen=True)
class VideoStep:
    """A video so far.

    Attributes:
        frame: ``uint8[H, W, 3]`` RGB with masks.
        said: Markdown.
        video: the finished video with masks.
        archive: the finished ZIP file of all results.
        kept: its masks, for other thresholds.
    """

    frame: np.ndarray | None
    said: str
    video: str | None = None
    archive: str | None = None
    kept: KeptVideo | None = None


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
    def tasks(self) -> dict[str, Task | None]:
        """Choices of the page; those of words where the weights have learned to write."""
        if self.images.text_tasks:
            return TASKS
        masks = {text: task for text, task in TASKS.items() if task is not None and task.has_mask}
        return {**masks, next(iter(masks)): None}  # a question is refused in a sentence

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
        request = ImageRequest(image, "", tuple(prompts), self.tasks[task], 0.0)
        (found,) = segment_together(self.images, [request])
        if isinstance(found, ValueError):
            raise found
        return Figure.of(Path(str(path)), image, found), self._remark(prompts)

    def pack(self, figure: Figure | None, threshold: float, formats: Sequence[str]) -> str | None:
        """A ZIP file of the results on an image in these formats, and of answers that are images.

        ``None`` where there is neither a mask nor an image to pack.
        """
        if figure is None or not formats:
            return None
        packed = [one for one in figure.regions if one.text is None or one.drawn]
        if not packed:
            return None
        found = [one.prediction(threshold) for one in packed]
        formats = [*formats, "drawn"] if any(one.drawn for one in packed) else formats
        image, name = self.limits.open_image(figure.path), figure.path.stem[:80]
        with self._folder() as folder:
            save_results(found, folder, tuple(dict.fromkeys(formats)), image=image, name=name, path=figure.path)
            return self._zipped(folder, name)

    def segment_video(
        self, path: str | None, text: str, threshold: float, formats: Sequence[str]
    ) -> Iterator[VideoStep]:
        """Steps of a video, the finished one last.

        Raises:
            ValueError: a mistake of the visitor, in a sentence, or the time is over.
        """
        prompts = self.limits.check_video_instructions(self._prompts(text))
        video, rule = self.limits.open_video(_uploaded(path, "video")), self.videos.rule(AnswerOptions())
        numbered = [place for place, prompt in enumerate(prompts) if rule.numbers_objects(prompt)]
        self.forget()
        with self._kept(Path(str(path)), prompts, numbered) as kept:
            results = self._keeping(self.videos.predict(video, prompts, threshold=0.0), kept)
            yield from self._written(kept, video, results, threshold, formats)

    def show_video(self, kept: KeptVideo, threshold: float, formats: Sequence[str]) -> VideoStep:
        """The finished step of a segmented video at another threshold or in other formats.

        Raises:
            ValueError: the video or its masks were deleted, or the time is over.
        """
        self.forget()
        video = self.limits.open_video(kept.source)
        *_, last = self._written(kept, video, kept.results(video), threshold, formats)
        return last

    def describe_video(self, kept: KeptVideo, threshold: float) -> str:
        """In Markdown, on how many frames each instruction was found."""
        pairs = zip(kept.prompts, kept.found(threshold), strict=True)
        said = [_found_in(prompt, some, kept.count) for prompt, some in pairs]
        return "\n\n".join(filter(None, [kept.remark, self._remark(kept.prompts), *said]))

    def _keeping(self, results: Iterable[FrameResult], kept: KeptVideo) -> Iterator[FrameResult]:
        """The results, once they are kept; of a damaged video the frames that are good."""
        try:
            for result in results:
                kept.add(result)
                yield result
        except TruncatedVideoError as error:
            if not kept.count:
                raise
            kept.remark = str(without_folder(error, kept.source))

    def _written(
        self,
        kept: KeptVideo,
        video: VideoSource,
        results: Iterable[FrameResult],
        threshold: float,
        formats: Sequence[str],
    ) -> Iterator[VideoStep]:
        """Steps of a video whose results are drawn and written at a threshold."""
        source, name = kept.source, kept.source.stem[:80]
        end, shown = time.monotonic() + self.limits.video_seconds, -SHOWN_EVERY
        info = ResultInfo(kept.prompts, source.name, name, path=source, fps=video.fps)
        with self._folder() as folder:
            places = plan_paths(name, folder, {"overlay", *formats}, video=True)
            with ResultWriter(places, info) as writer:
                for result in results:
                    self._check(result, end)
                    result = kept.hide(result, threshold)
                    writer.write(result)
                    if time.monotonic() - shown >= SHOWN_EVERY:
                        shown = time.monotonic()
                        yield VideoStep(_drawn(result), _progress(writer.count, video.about))
            overlay = self._own(places.targets["overlay"])
            archive = self._zipped(folder, name)
        yield VideoStep(None, self.describe_video(kept, threshold), overlay, archive, kept)

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

    def _remark(self, prompts: Sequence[str]) -> str:
        """Words that the bundled weights do not know."""
        note = self.images.processor.known_words.note(prompts) if self.bundled else ""
        return f"{note[0].upper()}{note[1:]}." if note else ""

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

    @contextmanager
    def _kept(self, source: Path, prompts: list[str], numbered: list[int]) -> Iterator[KeptVideo]:
        """A video with a file for its masks, which is deleted unless the block ends well."""
        folder = Path(tempfile.mkdtemp(dir=self.results))
        try:
            yield KeptVideo(source, prompts, numbered, folder / "masks.jsonl")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

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
