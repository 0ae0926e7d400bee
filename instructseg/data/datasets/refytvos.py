"""Ref-YouTube-VOS: expressions for objects of YouTube-VOS, every fifth frame annotated.

The files of the 2021 challenge (``RefYtVos.open``)::

    <root>/meta_expressions/{train,valid,test}/meta_expressions.json
           train/JPEGImages/003234408d/00000.jpg      00005.jpg ...
           train/Annotations/003234408d/00000.png     a pixel is the number of its object
           train/meta.json
           valid/JPEGImages/<video>/<frame>.jpg
           valid/Annotations/<video>/<expression>/<frame>.png   only if you have it; it is not public

    {"videos": {"003234408d": {"frames": ["00000", "00005", ...],
        "expressions": {"0": {"exp": "a penguin is on the left", "obj_id": "1"}, ...}}}}    obj_id: train only

The valid file lists 507 videos: 202 are the validation set, the other 305 are those of the test file.

In the 2020 files, read from the same place, a video holds ``{"objects": {"1": {"category": "penguin",
"expressions": [...], "expressions_first_frame": [...], "frames": [...]}}}``, in valid too.

The converted files of UNINEXT and InstructSeg (``RefYtVos.open_converted``)::

    <root>/train/refyoutube_train.json   train/JPEGImages    valid/refyoutube_valid.json   valid/JPEGImages

    {"videos": [{"id": 1, "height": 720, "width": 1280, "length": 2, "expressions": ["a penguin ...", ...],
                 "file_names": ["003234408d/00000.jpg", ...]}],                   train: one per object
     "annotations": [{"id": 1, "video_id": 1, "segmentations": [<RLE, polygons or null>, ...], ...}]}

    {"videos": [{..., "expressions": ["a penguin ..."], "video": "003234408d", "exp_id": "0"}]}   valid: one
                                                                                                  per expression
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from instructseg.data.clips import Clip, Expression, FrameFiles, Truth
from instructseg.data.data_files import read_json
from instructseg.data.dataset import Parts, Sentences, check_sentences, check_split, local_counts
from instructseg.data.records import DataError, Fault, Problem, Record, by_id, file_kind, file_name, shown, text
from instructseg.data.referring_videos import ReferringVideos, VideoSampling, joined
from instructseg.data.video_masks import FolderTruth, PaletteTruth, RleTruth, compact_rle, to_track
from instructseg.files import name_fault

PUBLISHED: Mapping[str, Mapping[str, int]] = {"train": {"videos": 3471}, "valid": {"videos": 202}}
"""Split -> counts of the 2021 files."""

CONVERTED = {"train": "train/refyoutube_train.json", "valid": "valid/refyoutube_valid.json"}
"""Split -> converted file, below the root."""


class RefYtVos(ReferringVideos):
    """One split; see :class:`~instructseg.data.referring_videos.ReferringVideos`.

    Attributes:
        meta: the file that lists the objects of each video; ``None`` where the layout has none.
    """

    meta: Path | None = None

    @classmethod
    def open(
        cls,
        root: str | Path,
        split: str = "valid",
        sentences: Sentences = "each",
        official_count: bool = True,
        first_frame: bool = False,
        sampling: VideoSampling | None = None,
    ) -> RefYtVos:
        """Opens the files of the 2021 challenge, or the 2020 ones.

        Args:
            root: the folder that holds ``meta_expressions``.
            sentences: ``each`` or ``joined``; released for training: ``joined``.
            official_count: whether anything but 202 validation videos (2021) is an error.
            first_frame: of the 2020 files, take the expressions written after the first frame alone.

        Raises:
            FileNotFoundError, DataError: a meta file is missing or damaged.
            ValueError: there is no such split, or the validation set is not the official one.
        """
        root = Path(root)
        check_split("Ref-YouTube-VOS", split, PUBLISHED)
        check_sentences(sentences)
        file = meta_file(root, split)
        videos = read_videos(file)
        is_2020 = any("objects" in video.value for video in videos.values())
        if split == "valid" and not is_2020:
            expected = (local_counts(root) or PUBLISHED).get("valid", {}).get("videos")
            videos = validation_videos(root, videos, expected if official_count else None)
        with file_kind(file, "not a meta_expressions file"):
            clips = [_clip(root / split, name, video, first_frame) for name, video in videos.items()]
        if sentences == "joined":
            clips = joined(clips)
        published = None if is_2020 else PUBLISHED[split]
        videos_of_split = cls(f"refytvos/{split}", clips, sampling=sampling, published=published)
        videos_of_split.meta = root / split / "meta.json"
        return videos_of_split

    @classmethod
    def open_converted(
        cls,
        root: str | Path,
        split: str = "valid",
        file: str | Path | None = None,
        davis: str | Path | None = None,
        sentences: Sentences = "each",
        official_misaligned_null_frames: bool = False,
        sampling: VideoSampling | None = None,
    ) -> RefYtVos:
        """Opens a converted file.

        Args:
            root: the folder that holds ``train`` and ``valid``.
            file: the JSON file, if it is not in its place of :data:`CONVERTED`.
            davis: holds the videos whose file names begin with ``davis``, which a training file may mix in.
            official_misaligned_null_frames: give the masks of the visible frames to the first frames, as
                the released code does where there are null frames; otherwise a null frame has no mask.

        Raises: as :meth:`open`.
        """
        root = Path(root)
        check_split("Ref-YouTube-VOS", split, PUBLISHED)
        check_sentences(sentences)
        file = root / CONVERTED[split] if file is None else Path(file)
        content = Record.of(read_json(file, dict, compact_rle), file)
        folders = {"youtube": root / split / "JPEGImages", "davis": Path(davis) if davis else None}
        with file_kind(file, "not a converted Ref-YouTube-VOS file"):
            if split == "train":
                clips = _converted_objects(file, content, folders, official_misaligned_null_frames)
            else:
                clips = _converted_expressions(file, content, folders, root / split / "Annotations")
        if sentences == "joined":
            clips = joined(clips)
        return cls(f"refytvos/converted/{split}", clips, sampling=sampling)

    def inspect(self) -> Iterator[Problem]:
        """See :meth:`Dataset.inspect`; also objects unknown to an existing ``meta.json``."""
        yield from super().inspect()
        if self.meta is None or not self.meta.is_file():
            return
        known = read_videos(self.meta)
        for clip in self.clips:
            video = known[clip.name].value if clip.name in known else {}
            objects = video.get("objects")
            if not isinstance(objects, dict):
                objects = {}
            for expression in clip.expressions:
                for obj in set(expression.objects) - set(objects):
                    where = f"{self.meta}, video {clip.name}"
                    yield Problem(Fault.ID, where, f"no object {obj}, which expression {expression.id} means")


def meta_file(root: Path, split: str) -> Path:
    """``meta_expressions/<split>/meta_expressions.json``, or the old place of the 2020 files if it is there."""
    old = root / split / "meta_expressions.json"
    return old if old.is_file() else root / "meta_expressions" / split / "meta_expressions.json"


def read_videos(file: Path) -> dict[str, Record]:
    """The ``videos`` of a meta file, by name.

    Raises:
        FileNotFoundError, DataError: it is missing, has no ``videos``, or a name is that of no folder.
    """
    videos = read_json(file, dict).get("videos")
    if not isinstance(videos, dict) or not all(isinstance(video, dict) for video in videos.values()):
        raise DataError(Fault.RECORD, file, "holds no 'videos' by name")
    return {
        file_name(name, file, "video"): Record(video, f"{file}, video {name}") for name, video in videos.items()
    }


def read_expressions(video: Record) -> Iterator[tuple[str, Record]]:
    """Id and record of the ``expressions`` of a video; raises :class:`DataError` for an id that is no name."""
    for number, entry in video.table("expressions").items():
        where = f"{video.where}, expression {number}"
        if name_fault(number, nested=False):
            raise DataError(Fault.ID, where, f"{shown(number)} names no folder of results")
        yield number, Record.of(entry, where)


def validation_videos(root: Path, videos: Mapping[str, Record], expected: int | None) -> dict[str, Record]:
    """Videos of the valid file without those of the test file.

    Raises:
        FileNotFoundError, DataError: the test file is missing, or there are not ``expected`` of them.
    """
    file = meta_file(root, "test")
    test = read_videos(file)
    found = {name: video for name, video in videos.items() if name not in test}
    if expected is not None and len(found) != expected:
        message = (
            f"{len(videos)} videos of valid without the {len(test)} of test leave {len(found)}, expected "
            f"{expected}: take both files from the 2021 challenge, or pass official_count=False"
        )
        raise DataError(Fault.COUNT, file, message)
    return found


def _clip(folder: Path, name: str, video: Record, first_frame: bool) -> Clip:
    if "objects" in video.value:
        objects = [
            (obj, Record.of(entry, f"{video.where}, object {obj}"))
            for obj, entry in video.table("objects").items()
        ]
        frames = tuple(sorted({frame for _, entry in objects for frame in entry.names("frames")}))
        which = "expressions_first_frame" if first_frame else "expressions"
        said = [(words, obj) for obj, entry in objects if entry.has(which) for words in entry.texts(which)]
        expressions = tuple(Expression(str(i), words, (obj,)) for i, (words, obj) in enumerate(said))
    else:
        frames = video.names("frames")
        expressions = tuple(
            Expression(number, entry.text("exp"), (str(entry.id("obj_id")),) if "obj_id" in entry.value else ())
            for number, entry in read_expressions(video)
        )
    expressions, truth = find_truth(folder / "Annotations" / name, frames, expressions, folder.name == "train")
    files = FrameFiles.named(folder / "JPEGImages" / name, frames)
    return Clip(name, files, frames, expressions, truth)


def find_truth(
    folder: Path, frames: tuple[str, ...], expressions: tuple[Expression, ...], required: bool
) -> tuple[tuple[Expression, ...], Truth | None]:
    """The masks of a video: a palette image per frame where objects are known, else a folder per expression.

    Args:
        expressions: those that know no object mean their own folder.
        required: whether the masks must be there, so that what is missing is an error later.
    """
    if all(expression.objects for expression in expressions):
        present = required or (folder.is_dir() and any(folder.glob("*.png")))
        return expressions, PaletteTruth(folder, frames) if present else None
    if any((folder / expression.id).is_dir() for expression in expressions):
        own = tuple(Expression(entry.id, entry.text, (entry.id,), entry.type) for entry in expressions)
        return own, FolderTruth(folder, frames)
    return expressions, None


def _converted_objects(
    file: Path, content: Record, folders: Mapping[str, Path | None], misaligned: bool
) -> list[Clip]:
    """A clip per object of a converted training file."""
    entries = [
        entry.at(f"{file}, annotation {shown(entry.value.get('id'))}")
        for entry in content.records("annotations")
    ]
    by_id(((entry.id("id"), entry.value, entry.where) for entry in entries), "annotation")
    annotations = {entry.id("video_id"): entry for entry in entries}
    if len(annotations) < len(entries):
        raise DataError(Fault.ID, file, "two annotations have the same video_id; a video is of one object here")
    clips = []
    for video in _videos(file, content):
        if video.id("id") not in annotations:
            raise DataError(Fault.ID, video.where, "no annotation has this video_id")
        found = annotations[video.id("id")]
        size = video.size()
        track = to_track(found.list("segmentations"), *size, found.where, lenient=True)
        if misaligned:
            visible = tuple(rle for rle in track if rle is not None)
            track = visible + (None,) * (len(track) - len(visible))
        obj = str(found.id("id"))
        expressions = tuple(
            Expression(str(i), words, (obj,)) for i, words in enumerate(video.texts("expressions"))
        )
        frames = _converted_frames(video, folders)
        name = f"{PurePosixPath(video.list('file_names')[0]).parent.name}/{obj}"
        clips.append(Clip(name, frames, frames.names, expressions, RleTruth(file, {obj: track}), size))
    return clips


def _videos(file: Path, content: Record) -> list[Record]:
    """The ``videos`` of a converted file, with unique ids."""
    videos = [video.at(f"{file}, video {shown(video.value.get('id'))}") for video in content.records("videos")]
    by_id(((video.id("id"), video.value, video.where) for video in videos if video.has("id")), "video")
    return videos


def _converted_expressions(
    file: Path, content: Record, folders: Mapping[str, Path | None], masks: Path
) -> list[Clip]:
    """A clip per video of a converted validation file."""
    groups: dict[str, list[Record]] = {}
    for video in _videos(file, content):
        groups.setdefault(file_name(video.get("video"), video.where, "video"), []).append(video)
    clips = []
    for name, entries in groups.items():
        where = f"{file}, video {name}"
        first = entries[0].at(where)
        frames = _converted_frames(first, folders)
        if any(entry.value.get("file_names") != first.value["file_names"] for entry in entries):
            raise DataError(Fault.RECORD, where, "its expressions have different frames")
        expressions = [
            (str(entry.id("exp_id")), ". ".join(entry.texts("expressions")), entry.where) for entry in entries
        ]
        said = tuple(Expression(number, words) for number, words in by_id(expressions, "expression").items())
        said, truth = find_truth(masks / name, frames.names, said, required=False)
        clips.append(Clip(name, frames, frames.names, said, truth, first.size()))
    return clips


def _converted_frames(video: Record, folders: Mapping[str, Path | None]) -> FrameFiles:
    """The files of a video; a first word ``davis`` or ``youtube`` says in which folder they are."""
    files, where = [text(file, video.where, "file_names") for file in video.list("file_names")], video.where
    if not files or len(files) != video.whole("length"):
        raise DataError(Fault.RECORD, where, f"{len(files)} file_names, but length {video.get('length')}")
    source = "davis" if files[0].startswith("davis") else "youtube"
    folder = folders[source]
    if folder is None:
        raise DataError(Fault.RECORD, where, f"{files[0]} is a file of Ref-DAVIS17: pass its folder as davis")
    # a slash left in front would make the path absolute
    inside = (file.removeprefix(source).lstrip("/") for file in files)
    return FrameFiles(folder, tuple(file_name(file, where, "file_names") for file in inside))


def parts(root: Path, options: Mapping[str, Any]) -> Parts:
    """Both splits, as original or converted files."""
    converted = [split for split, place in CONVERTED.items() if (root / place).is_file()]
    is_original = not converted or (root / "meta_expressions").is_dir()
    return {
        **({split: partial(RefYtVos.open, root, split) for split in ("train", "valid")} if is_original else {}),
        **{f"converted/{split}": partial(RefYtVos.open_converted, root, split) for split in converted},
    }


def open_split(root: Path, split: str | None, options: Mapping[str, Any]) -> RefYtVos:
    """Opens a split by name, original where there is one, or with ``converted/`` in front; see ``RefYtVos``."""
    part = str(split).removeprefix("converted/")
    original = meta_file(root, part).is_file() or not (root / CONVERTED[part]).is_file()
    if part == split and original:
        return RefYtVos.open(root, part, options["sentences"])
    return RefYtVos.open_converted(root, part, sentences=options["sentences"])


def open_evaluation(root: Path, split: str | None, options: Mapping[str, Any]) -> RefYtVos:
    """Opens a split with the options of an evaluation."""
    sampling = VideoSampling(exclude=options["exclude"])
    if options["converted"]:
        return RefYtVos.open_converted(root, str(split), sampling=sampling)
    return RefYtVos.open(root, str(split), official_count=options["official_count"], sampling=sampling)
