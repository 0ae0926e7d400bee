"""Formats of numbers: run lengths in JSON, a table of boxes and tracks, and NumPy arrays."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.files import atomic_path, write_json_atomic
from instructseg.masks import mask_to_rle
from instructseg.prediction import FrameResult
from instructseg.results.result_format import Format, FoundObject, ResultInfo, save_csv

_COLUMNS = (
    "input", "frame", "time", "fps", "file", "instruction", "label", "id", "found", "score", "presence",
    "left", "top", "width", "height", "area",
)  # fmt: skip


class RleJson(Format):
    """One JSON file of COCO run lengths, scores and text replies."""

    name, title = "rle", "run lengths"
    places = ("{}.json",) * 2
    image_files = video_files = (".json",)
    holds_replies = True

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._frames: list[dict[str, Any]] = []

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        rows = [(one.place, _row(one)) for one in self.objects(result)]
        rows += [(place, {"answer": reply}) for place, reply in self.info.replies.items()]
        names = self.info.frame_names
        file = {"file": names[result.index]} if result.index < len(names) else {}
        time = {} if result.time is None else {"time": round(result.time, 6)}
        ordered = [row for _, row in sorted(rows, key=lambda row: row[0])]
        self._frames.append({"index": result.index, **time, **file, "predictions": ordered})

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`."""
        if not self._frames:
            return
        info = self.info
        counts = {"fps": info.fps, "announced": info.announced, "read": len(self._frames)}
        record = {"input": info.source, "instructions": list(info.instructions), "frames": self._frames}
        write_json_atomic(self.target, record if info.fps is None else {**counts, **record})


class BoxTable(Format):
    """One CSV table: a row per object and frame with its box, track, score and time."""

    name, title = "csv", "the table of boxes"
    places = ("{}.csv",) * 2
    image_files = video_files = (".csv",)
    gathered = "boxes.csv"

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._rows: list[list[Any]] = []

    @classmethod
    def gather(cls, target: Path, parts: Mapping[str, Path], instructions: Sequence[str]) -> None:
        """See :meth:`Format.gather`."""
        from instructseg.data.data_files import read_delimited  # --help does without

        rows = [row for path in parts.values() for _, row in read_delimited(path)[1]]
        save_csv(target, _COLUMNS, [[row[name] for name in _COLUMNS] for row in rows])

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        info = self.info
        time = "" if result.time is None else round(result.time, 6)
        fps = "" if info.fps is None else info.fps
        for one in self.objects(result):
            found = one.prediction
            shape: list[Any] = ["", "", "", ""]
            if found.box is not None:
                left, top, right, bottom = found.box
                shape = [left, top, right - left, bottom - top]
            self._rows.append([
                info.source, result.index, time, fps, info.file_of(result.index), found.instruction,
                found.label, one.track or "", int(found.found), round(found.score, 6), round(found.presence, 6),
                *shape, found.area,
            ])  # fmt: skip

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`."""
        if self._rows:
            save_csv(self.target, _COLUMNS, self._rows)


class NumpyArrays(Format):
    """One compressed ``.npz``, read by ``numpy.load``: a row per object and frame.

    ``masks bool[N, H, W]`` (``probabilities float32`` if soft), ``frame``, ``instruction`` (its place), ``id``,
    ``score``, ``presence``, ``box`` (left, top, right, bottom), ``labels``; of a video ``times`` by frame and
    ``fps``, too.
    """

    name, title = "numpy", "the arrays"
    places = ("{}.npz",) * 2
    image_files = video_files = (".npz",)

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._rows: list[tuple[Any, ...]] = []
        self._times: list[float] = []
        self._shape = (0, 0)
        self._masks: Any = None

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        if self._masks is None:
            self._masks = tempfile.TemporaryFile()  # noqa: SIM115  (closed in close)
        self._shape = result.frame.shape[:2]
        self._times.append(np.nan if result.time is None else result.time)
        for one in self.objects(result):
            found = one.prediction
            if self.info.soft:
                assert found.probability is not None
            values = found.probability if self.info.soft else found.mask
            self._masks.write(np.ascontiguousarray(values).tobytes())
            box = found.box or (0, 0, 0, 0)
            label = found.label
            self._rows.append((result.index, one.place, one.track, found.score, found.presence, box, label))

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`."""
        if self._masks is None:
            return
        columns = list(zip(*self._rows, strict=True)) or [()] * 7
        arrays = {
            "frame": np.array(columns[0], np.int64),
            "instruction": np.array(columns[1], np.int64),
            "id": np.array(columns[2], np.int64),
            "score": np.array(columns[3], np.float64),
            "presence": np.array(columns[4], np.float64),
            "box": np.array(columns[5], np.int64).reshape(-1, 4),
            "labels": np.array(columns[6], np.str_),
            "instructions": np.array(self.info.instructions, np.str_),
        }
        if self.info.fps is not None:
            arrays |= {"times": np.array(self._times), "fps": np.array(self.info.fps)}
        kind = np.dtype(np.float32 if self.info.soft else np.bool_)
        header = {"descr": kind.str, "fortran_order": False, "shape": (len(self._rows), *self._shape)}
        with (
            self._masks,
            atomic_path(self.target) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
            # the masks of a long video are larger than memory
            name = "probabilities.npy" if self.info.soft else "masks.npy"
            with archive.open(name, "w", force_zip64=True) as file:
                np.lib.format.write_array_header_2_0(file, header)
                self._masks.seek(0)
                shutil.copyfileobj(self._masks, file)


def _row(one: FoundObject) -> dict[str, Any]:
    found = one.prediction
    values: dict[str, Any] = {
        "label": found.label,
        "id": one.track,
        "score": round(found.score, 6),
        "presence": round(found.presence, 6),
        "found": found.found,
        "box": None if found.box is None else list(found.box),
        "rle": mask_to_rle(found.mask),
    }
    if found.system:
        values["system"] = found.system
    if found.drawn is not None:
        values["drawn"] = True
    return values if found.text is None else {**values, "answer": found.text}
