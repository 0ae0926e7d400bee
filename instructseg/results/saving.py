"""Saving predictions from Python, in the formats of the command line."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from typing_extensions import Unpack

from instructseg.prediction import FrameResult, Prediction
from instructseg.results.folder import check_room
from instructseg.results.formats import DEFAULT_FORMATS, FORMATS, parse_formats
from instructseg.results.manifest import Manifest
from instructseg.results.result_format import ResultInfo
from instructseg.results.writer import ResultPaths, ResultWriter, check_folder_name, check_free, plan_paths

if TYPE_CHECKING:
    from instructseg.visualization.overlay import Legend


class DrawingOptions(TypedDict, total=False):
    """How masks and overlays are written.

    Attributes:
        soft: whether masks are written as probabilities; the predictions must carry them.
        legend: of overlays; ``"inside"`` and ``"none"`` keep the size of the frames.
        edge: width in pixels of the band of 255 along outlines in palette images.
    """

    soft: bool
    legend: Legend
    edge: int


class SaveOptions(DrawingOptions, total=False):
    """Options of :func:`save_results`.

    Attributes:
        sound: file whose sound the written videos have; the frames have times by its clock.
        frame_names: file of each frame, after which masks are named.
        path: the input, to which formats of annotation tools refer.
    """

    sound: Path | None
    frame_names: Sequence[str]
    path: Path | None


def save_results(
    predictions: Sequence[Prediction] | Iterable[FrameResult],
    folder: str | Path,
    formats: str | Sequence[str] = DEFAULT_FORMATS,
    *,
    image: np.ndarray | None = None,
    fps: float = 24.0,
    name: str = "result",
    overwrite: bool = False,
    **options: Unpack[SaveOptions],
) -> list[Path]:
    """Writes predictions to a folder, as the command line does.

    Example::

        save_results(predictor.predict("photo.jpg", "the red circle"), "out")
        save_results(video_predictor.predict("clip.mp4", "the red circle"), "out", "overlay,rle", fps=30)

    Args:
        predictions: on one image, or the results of a video, frame by frame (also while they are computed).
        folder: created if missing.
        formats: names of :data:`~instructseg.results.FORMATS`.
        image: ``uint8[H, W, 3]`` RGB of predictions on an image; ``None`` for the one that they carry.
        fps: frames per second of a video.
        name: of the results, without suffix.
        overwrite: whether results of earlier calls are replaced.
        options: fields of :class:`SaveOptions`.

    Returns:
        The files and folders written.

    Raises:
        ValueError: an unknown format, no predictions, a missing ``image``, or existing results.
        OSError: the disk is full, or a file cannot be written.
    """
    wanted = parse_formats([formats] if isinstance(formats, str) else formats)
    if not name or Path(name).name != name:
        raise ValueError(f"'{name}' is no file name: results lie in the folder itself")
    target = Path(folder)
    frames: Iterator[Prediction | FrameResult] = iter(predictions)
    first = next(frames, None)
    if first is None:
        raise ValueError("no predictions to save")
    video = not isinstance(first, Prediction)
    results = _as_frames(itertools.chain([first], frames), image)
    start = next(results)
    texts = tuple(dict.fromkeys((one.instruction_id, one.instruction) for one in start.predictions))
    info = ResultInfo(tuple(text for _, text in texts), name, name, fps=fps if video else None, **options)
    if info.soft and any(one.probability is None for one in start.predictions):
        raise ValueError("the predictions carry no probability: predict with soft=True")
    check_folder_name(target)
    places = plan_paths(name, target, wanted, video, info.stems)
    if not overwrite:
        check_free(places.paths, "choose another folder or name, or give overwrite=True")
    manifest = Manifest(target)
    gathered = {one: target / FORMATS[one].gathered for one in places.targets if FORMATS[one].gathers_one}
    check_room(manifest, dict.fromkeys(gathered.values()))
    _write(itertools.chain([start], results), places, info, manifest)
    for one, path in gathered.items():
        manifest.begin({path: None})
        FORMATS[one].gather(path, {name: places.targets[one]}, info.instructions)
        manifest.finish([path], {}, complete=True)
    return [*places.paths, *gathered.values()]


def _write(results: Iterable[FrameResult], places: ResultPaths, info: ResultInfo, manifest: Manifest) -> None:
    """Writes behind the computation, and records what was written, also after an error."""
    from instructseg.inference.prefetch import WriteBehind

    for one in places.targets:
        FORMATS[one].check(info.instructions)
    contents = places.contents(info.instructions)
    check_room(manifest, contents)
    manifest.begin(contents)
    writer, complete = ResultWriter(places, info), False
    try:
        for path, content in contents.items():
            if content is not None and path.is_dir():
                manifest.clear(path)
        with WriteBehind(writer) as behind:
            for result in results:
                behind.write(result)
        complete = True
    except KeyboardInterrupt as error:
        if writer.count:
            files = ", ".join(map(str, places.paths))
            error.args = (f"interrupted: the first {writer.count} frames are in {files}",)
        raise
    finally:
        if writer.count:
            manifest.finish(places.paths, {"prompts": list(info.instructions)}, complete)
        manifest.release()


def _as_frames(given: Iterable[Prediction | FrameResult], image: np.ndarray | None) -> Iterator[FrameResult]:
    """Results by frame; predictions on an image are those of its only frame."""
    items = iter(given)
    first = next(items)
    if not isinstance(first, Prediction):
        yield first
        yield from items  # type: ignore[misc]
        return
    shown = first.image if image is None else image
    if shown is None:
        raise ValueError("predictions without their image need it: save_results(..., image=image)")
    yield FrameResult(0, shown, [first, *items])  # type: ignore[list-item]
