"""Drawn results: an image and a video with two dogs, a ball with a hole, and a cat that is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from instructseg.prediction import FrameResult, Prediction
from instructseg.results import FORMATS, ResultInfo, ResultPaths, ResultWriter, plan_paths

PROMPTS = ("the dog", "the cat", "the ball")
SIZE, LENGTH, FPS = (48, 65), 5, 12.5
TIMES = (2.0, 2.05, 2.2, 2.28, 2.4)
"""Of a video of variable frame rate that begins at 2 s."""


def frame(index: int = 0) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([rows * 3 + index, columns * 3, 120 + 0 * rows], axis=2).astype(np.uint8)


def masks(index: int = 0) -> dict[str, np.ndarray]:
    """The first dog moves, the second one comes with the third frame, the ball covers part of the first."""
    found = {name: np.zeros(SIZE, bool) for name in ("dog 1", "dog 2", "cat", "ball")}
    found["dog 1"][5:20, 3 + 2 * index : 20 + 2 * index] = True
    if index >= 2:
        found["dog 2"][30:44, 40:63] = True
        found["dog 2"][30:36, 40:47] = False
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    away = np.hypot(rows - 22, columns - 30)
    found["ball"] = (away < 11) & (away > 5)
    return found


def result(index: int = 0, video: bool = False) -> FrameResult:
    seen = masks(index if video else 4)
    rows = [("the dog", 0, 1, "dog 1", 0.9), ("the dog", 0, 2, "dog 2", 0.8)]
    rows += [("the cat", 1, 0, "cat", 0.0), ("the ball", 2, 3, "ball", 0.7)]
    predictions = [
        Prediction(
            seen[name], score, score or 0.1, text, id=track, instruction_id=place,
            probability=0.75 * seen[name].astype(np.float32),
        )
        for text, place, track, name, score in rows
        if seen[name].any() or text == "the cat"
    ]  # fmt: skip
    return FrameResult(index, frame(index), predictions, TIMES[index] if video else None)


def written(name: str, folder: Path, *, video: bool = False, item: str = "photo", **more: object) -> Path:
    """Writes one format of the scene; returns its target."""
    info = ResultInfo(PROMPTS, f"{item}.jpg", item, fps=FPS if video else None, **more)  # type: ignore[arg-type]
    places = plan_paths(item, folder, [name], video, info.stems)
    with ResultWriter(places, info) as writer:
        for index in range(LENGTH if video else 1):
            writer.write(result(index, video))
    return places.targets[name]


def contents_hold(
    name: str, folder: Path, *, video: bool, item: str = "photo", stems: tuple[str, ...] = ()
) -> bool:
    """Whether every file of a result is one that the format says it writes."""
    places = ResultPaths({name: FORMATS[name].place(folder, item, video)}, video, stems)
    contents = places.contents(PROMPTS)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        around = [place for place, content in contents.items() if content is not None and place in path.parents]
        inside = any(contents[place].owns(path.relative_to(place)) for place in around)  # type: ignore[union-attr]
        if not inside and contents.get(path, 1) is not None:
            return False
    return True
