"""What the web page does when a button is pressed; gradio only shows it."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructseg.hub import is_bundled, note_of
from instructseg.inference.predictor import Predictor, RequestKeywords, VideoSystem, text_tasks_of, traits_of
from instructseg.inference.selection import AnswerRule
from instructseg.media import TruncatedVideoError
from instructseg.prediction import FrameResult, Prediction
from instructseg.results import ResultInfo, ResultWriter, plan_paths, save_results
from instructseg.serve.batching import ImageRequest
from instructseg.serve.counters import Counters
from instructseg.serve.failures import CancelledVideoError, without_folder
from instructseg.serve.figure import Figure, encoded
from instructseg.serve.kept_video import KeptVideo
from instructseg.serve.limits import Limits
from instructseg.serve.player import address, player_html
from instructseg.serve.worker import Worker
from instructseg.structures import Task

LIMITS = Limits()
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
BY_WORDS = "What the words ask for"
"""The choice for systems that decide by the words alone."""


@dataclass(frozen=True)
class VideoStep:
    """A video so far.

    Attributes:
        shown: HTML: the frame just segmented, or the finished video; ``None`` for what was shown before.
        said: Markdown.
        kept: the masks of the finished video, for other thresholds.
    """

    shown: str | None
    said: str
    kept: KeptVideo | None = None


class Page:
    """Actions of the page, with one model for all.

    Args:
        images: of the model.
        videos: with the same weights; ``None`` for a model of images alone.
        results: a folder, deleted by its creator.
        name: of the model.
        limits: of uploads, of time, and of the queue in front of the model.
    """

    def __init__(
        self,
        images: Predictor,
        videos: VideoSystem | None,
        results: Path,
        name: str,
        limits: Limits = LIMITS,
    ) -> None:
        self.images, self.videos, self.results = images, videos, results
        self.name, self.limits, self.traits = name, limits, traits_of(images)
        self.worker = Worker(lambda: (images, videos), limits, Counters())

    def close(self) -> None:
        """Ends the work; what waits for an answer gets an error."""
        self.worker.close()

    @property
    def tasks(self) -> dict[str, Task | None]:
        """Choices of the page, the first by default; of words where the weights have learned to write."""
        written, traits = text_tasks_of(self.images), self.traits
        named = {text: task for text, task in TASKS.items() if task in traits.tasks or task in written}
        if traits.words_decide:
            return {BY_WORDS: None, **named}
        if written:
            return {text: task for text, task in TASKS.items() if task is None or text in named}
        return {**named, next(iter(named), BY_WORDS): None}  # a question is refused in a sentence

    @property
    def threshold(self) -> float:
        """Presence below which a mask is empty, by the weights; 0 for systems that decide by themselves."""
        return self.traits.threshold or 0.0

    @property
    def images_only(self) -> str:
        """What is said where a video is asked for, of a model of images alone; empty for others."""
        named = self.traits.system or "This model"
        return "" if self.videos is not None else f"{named} works on images only: use the tab Image."

    @property
    def _everything(self) -> float | None:
        """The threshold by which all masks come, for the page to hide; ``None`` for what the system finds."""
        return None if self.traits.threshold is None else 0.0

    @property
    def note(self) -> str:
        """What a visitor should know of the model, in Markdown; empty for large weights."""
        told = note_of(self.name)
        return f"**{told[0].upper()}{told[1:]}.**" if told else ""

    def segment(self, path: str | None, text: str, task: str) -> tuple[Figure, str]:
        """Answers about an image at every threshold, and a remark in Markdown.

        Raises:
            ValueError: a mistake of the visitor, in a sentence.
        """
        file, prompts = _uploaded(path, "image"), self._prompts(text)
        image = self.limits.open_image(file)
        request = ImageRequest(image, "", tuple(prompts), self.tasks[task], self._everything)
        found = self.worker.answer(request)
        return Figure.of(file, image, found), self._remark(prompts)

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
        self, path: str | None, text: str, threshold: float, cancelled: threading.Event
    ) -> Iterator[VideoStep]:
        """Steps of a video, the finished one last; a cancelled one leaves nothing.

        Raises:
            ValueError: a mistake of the visitor, in a sentence, or the time is over.
        """
        if self.images_only:
            raise ValueError(self.images_only)
        source = _uploaded(path, "video")
        prompts = self.limits.check_video_instructions(self._prompts(text))
        video, options = self.limits.open_video(source), RequestKeywords()
        if self._everything is not None:
            options["threshold"] = self._everything
        numbered = [place for place, one in enumerate(prompts) if AnswerRule().numbers_objects(one)]
        self.forget()
        try:
            with self._kept(source, prompts, numbered) as kept:
                found = self.worker.follow(lambda model: model.predict(video, prompts, **options), cancelled)
                shown = -SHOWN_EVERY
                for result in kept.keep(video, self._whole(found, kept)):
                    self._check_length(result)
                    if time.monotonic() - shown >= SHOWN_EVERY:
                        shown = time.monotonic()
                        some = Figure.of(source, result.frame, result.predictions)
                        yield VideoStep(some.html(threshold), _progress(kept.count, video.about))
        except CancelledVideoError:
            yield VideoStep(None, "Cancelled.")
            return
        said = "\n\n".join(filter(None, [kept.remark, self._remark(prompts)]))
        yield VideoStep(player_html(kept, threshold), said, kept)

    def pack_video(self, kept: KeptVideo | None, threshold: float, formats: Sequence[str]) -> str | None:
        """A ZIP file of the results on a segmented video in these formats; ``None`` where there is none.

        Raises:
            ValueError: the video or its masks were deleted, or the time is over.
        """
        if kept is None or not formats:
            return None
        video, source, name = self.limits.open_video(kept.source), kept.source, kept.source.stem[:80]
        end = time.monotonic() + self.limits.video_seconds
        info = ResultInfo(kept.prompts, source.name, name, path=source, fps=video.fps)
        with self._folder() as folder:
            with ResultWriter(plan_paths(name, folder, set(formats), video=True), info) as writer:
                for result in kept.results(video):
                    if time.monotonic() > end:
                        raise ValueError(self.limits.late_video)
                    writer.write(kept.hide(result, threshold))
            return self._zipped(folder, name)

    def _whole(self, results: Iterable[FrameResult], kept: KeptVideo) -> Iterator[FrameResult]:
        """The results; of a damaged video those of the frames that are good."""
        try:
            yield from results
        except TruncatedVideoError as error:
            if not kept.count:
                raise
            kept.remark = str(without_folder(error, kept.source))

    def answers(self, path: str | None, instructions: Sequence[str]) -> list[dict[str, Any]]:
        """Answers as plain values, for programs and assistants."""
        file, prompts = _uploaded(path, "image"), self._prompts("\n".join(instructions))
        image = self.limits.open_image(file)
        found = self.worker.answer(ImageRequest(image, "", tuple(prompts)))
        self.forget()
        return [self._plain(one) for one in found]

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
        note = self.traits.note(prompts) if is_bundled(self.name) else ""
        return f"{note[0].upper()}{note[1:]}." if note else ""

    def _check_length(self, result: FrameResult) -> None:
        if result.index >= self.limits.frames:  # a file without a known length
            raise ValueError(f"the video has more than {self.limits.frames} frames: cut it")

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """A folder for the files of one result, deleted at the end of its block."""
        self.forget()
        with tempfile.TemporaryDirectory(dir=self.results, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    @contextmanager
    def _kept(self, source: Path, prompts: list[str], numbered: list[int]) -> Iterator[KeptVideo]:
        """A video with a folder for its masks, which is deleted unless the block ends well."""
        folder = Path(tempfile.mkdtemp(dir=self.results))
        try:
            yield KeptVideo(source, prompts, numbered, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _plain(self, one: Prediction) -> dict[str, Any]:
        """An answer as JSON values, with the address of the image that was drawn."""
        told: dict[str, Any] = {"instruction": one.instruction}
        if one.system:
            told["system"] = one.system
        if one.drawn is not None:
            file = Path(tempfile.mkdtemp(dir=self.results)) / "drawn.png"
            file.write_bytes(encoded(one.drawn))
            told["drawn"] = address(file)
        if one.text is not None and not one.found:
            return {**told, "text": one.text}
        return {
            **told,
            "found": one.found,
            "score": round(one.score, 4),
            "presence": round(one.presence, 4),
            "box": one.box,
            "polygons": [[[float(x), float(y)] for x, y in line] for line in one.polygons],
        }

    def _zipped(self, folder: Path, name: str) -> str:
        """The files below a folder in one archive of the results."""
        target = Path(tempfile.mkdtemp(dir=self.results)) / f"{name}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file() and not file.name.startswith("."):
                    archive.write(file, file.relative_to(folder))
        return str(target)


def _uploaded(path: str | None, kind: str) -> Path:
    if not path:
        raise ValueError(f"no {kind} yet: choose one first")
    return Path(path)


def _progress(count: int, about: int | None) -> str:
    return f"Frame {count}{f' of {about}' if about else ''} …"
