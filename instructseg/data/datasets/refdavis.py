"""Ref-DAVIS17: four descriptions of each object of DAVIS 2017, evaluated as four sets.

The original files (``RefDavis.open``)::

    <root>/DAVIS/JPEGImages/480p/bike-packing/00000.jpg ...
           DAVIS/Annotations_unsupervised/480p/bike-packing/00000.png     a pixel is the number of its object
           DAVIS/ImageSets/2017/{train,val}.txt                           the split
           davis_text_annotations/Davis17_annot1.txt   Davis17_annot1_full_video.txt
                                  Davis17_annot2.txt   Davis17_annot2_full_video.txt

    bike-packing 1 "a black bicycle"

Those of the second annotator are Latin-1; three videos are misspelt. ReferFormer converts them to the layout
of Ref-YouTube-VOS, in which object number ``k`` (from 0, sorted as text) has the expressions ``4 * k + set``::

    <root>/{train,valid}/{JPEGImages,Annotations}/<video>/00000.*      meta_expressions/{train,valid}/...json

and so does ``RefDavis.open`` number them, whichever of the two it finds. The file that InstructSeg evaluates
(``RefDavis.open_converted``) has one set only::

    <root>/valid/refdavis_valid.json   valid/JPEGImages   valid/Annotations

    {"videos": [{"id": 1, "video": "bike-packing", "height": 480, "width": 854, "length": 69,
                 "file_names": ["bike-packing/00000.jpg", ...],
                 "expressions": [["a black bicycle", ["a man", "a man on a bicycle"], ...]]}]}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from instructseg.data.clips import Clip, Expression, FrameFiles
from instructseg.data.data_files import read_json, require_file
from instructseg.data.dataset import Dataset, Parts, Sentences, check_sentences, check_split
from instructseg.data.datasets.refytvos import meta_file, read_videos
from instructseg.data.datasets.refytvos import read_expressions as read_records
from instructseg.data.records import DataError, Fault, Record, by_id, file_kind, file_name, text, whole
from instructseg.data.referring_videos import ReferringVideos, VideoSampling, joined
from instructseg.data.video_masks import PaletteTruth

SETS = (
    ("Davis17_annot1.txt", "utf-8"),
    ("Davis17_annot1_full_video.txt", "utf-8"),
    ("Davis17_annot2.txt", "latin-1"),
    ("Davis17_annot2_full_video.txt", "latin-1"),
)
"""File and encoding of each expression set: two annotators, who saw the first frame, then the whole video."""

MISSPELT: Mapping[str, str] = MappingProxyType(
    {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
)
"""Video in the text files -> video on disk."""

PUBLISHED: Mapping[str, Mapping[str, int]] = {"train": {"videos": 60}, "valid": {"videos": 30}}
"""Split -> counts."""

CONVERTED = "valid/refdavis_valid.json"

_Said = dict[str, list[tuple[str, str]]]  # video -> (object, expression), by object


class RefDavis(ReferringVideos):
    """One split; see :class:`~instructseg.data.referring_videos.ReferringVideos`.

    Attributes:
        sets: number of expression sets; the expression with ``id`` belongs to set ``id % sets``.
    """

    sets: int = 1

    @classmethod
    def open(
        cls,
        root: str | Path,
        split: str = "valid",
        annotation: int | None = None,
        sentences: Sentences = "each",
        sampling: VideoSampling | None = None,
    ) -> RefDavis:
        """Opens the original files, or those converted by ReferFormer if they are there.

        Args:
            root: the folder that holds ``DAVIS`` or ``meta_expressions``.
            annotation: 0..3, which of the four :data:`SETS`; ``None`` for all at once, as in training.
            sentences: ``each`` or ``joined``; released for training: ``joined``.

        Raises:
            FileNotFoundError: a file is missing.
            DataError: a file is damaged, or the sets describe different objects.
            ValueError: there is no such split or set.
        """
        root = Path(root)
        check_split("Ref-DAVIS17", split, PUBLISHED)
        check_sentences(sentences)
        if annotation is not None and annotation not in range(len(SETS)):
            raise ValueError(f"annotation must be 0 to {len(SETS) - 1}, got {annotation}")
        original = not meta_file(root, split).is_file() and (root / "DAVIS").is_dir()
        clips = (_original if original else _referformer)(root, split)
        name = f"refdavis/{split}"
        if annotation is not None:
            name += f"/{annotation}"
            clips = [_only(clip, annotation) for clip in clips]
        if sentences == "joined":
            clips = joined(clips)
        found = cls(name, clips, sampling=sampling, published=PUBLISHED[split])
        found.sets = len(SETS) if annotation is None else 1
        return found

    @classmethod
    def open_converted(
        cls, root: str | Path, file: str | Path | None = None, sampling: VideoSampling | None = None
    ) -> RefDavis:
        """Opens the file of the released evaluation: one expression set, objects in order from 1.

        Args:
            root: the folder that holds ``valid``.
            file: the JSON file, if it is not in its place.

        Raises:
            FileNotFoundError: the file is missing.
            DataError: it is damaged.
        """
        root = Path(root)
        file = root / CONVERTED if file is None else Path(file)
        with file_kind(file, "not a converted Ref-DAVIS17 file"):
            content = Record.of(read_json(file, dict), file)
            videos = [
                (file_name(video.get("video"), video.where, "video"), video)
                for video in content.records("videos")
            ]
            by_id(((name, video.value, video.where) for name, video in videos), "video")
            clips = [_converted(root / "valid", name, video) for name, video in videos]
        return cls("refdavis/converted/valid", clips, sampling=sampling)


def _original(root: Path, split: str) -> list[Clip]:
    file = root / "DAVIS" / "ImageSets" / "2017" / f"{'val' if split == 'valid' else split}.txt"
    sets = [read_expressions(root / "davis_text_annotations" / name, encoding) for name, encoding in SETS]
    clips = []
    for name in dict.fromkeys(_read_text(file, "utf-8").split()):
        file_name(name, file, "video")
        images = root / "DAVIS" / "JPEGImages" / "480p" / name
        if not images.is_dir():
            raise FileNotFoundError(f"{images} is missing, though {file} lists it")
        masks = root / "DAVIS" / "Annotations_unsupervised" / "480p" / name
        # no file lists the frames; each has both, so that a missing file is noticed
        found = {path.stem for path in (*images.glob("*.jpg"), *masks.glob("*.png"))}
        frames, truth = tuple(sorted(found)), PaletteTruth(masks, tuple(sorted(found)))
        expressions = _numbered(root, name, sets)
        clips.append(Clip(name, FrameFiles.named(images, frames), frames, expressions, truth))
    return clips


def read_expressions(file: Path, encoding: str) -> _Said:
    """The expressions of one set: video -> ``(object, expression)``, sorted by object as text.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: a line has no video, object and expression in quotes.
    """
    videos: _Said = {}
    for number, line in enumerate(_read_text(file, encoding).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) < 3 or not (words[1].isascii() and words[1].isdecimal() and len(words[1]) < 6):
            message = f'a line is: video object "expression", not {line.strip()[:60]!r}'
            raise DataError(Fault.RECORD, f"{file}, line {number}", message)
        quoted = " ".join(words[2:])
        video = MISSPELT.get(words[0], words[0])
        videos.setdefault(video, []).append((words[1], quoted[1:-1]))
    return {video: sorted(said, key=lambda entry: entry[0]) for video, said in videos.items()}


def _read_text(file: Path, encoding: str) -> str:
    try:
        return require_file(file).read_text(encoding=encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(Fault.RECORD, file, f"is not {encoding} ({error})") from error


def _numbered(root: Path, video: str, sets: list[_Said]) -> tuple[Expression, ...]:
    """The expressions of a video by object, numbered as by ReferFormer."""
    folder = root / "davis_text_annotations"
    objects = [[obj for obj, _ in said.get(video, ())] for said in sets]
    for (name, _), found in zip(SETS, objects, strict=True):
        if not found or found != objects[0]:
            message = (
                f"objects {', '.join(found) or 'none'}, but {SETS[0][0]} has {', '.join(objects[0]) or 'none'}"
            )
            raise DataError(Fault.ID, f"{folder / name}, video {video}", message)
    return tuple(
        Expression(str(len(SETS) * k + s), said[video][k][1], (obj,), SETS[s][0].removesuffix(".txt"))
        for k, obj in enumerate(objects[0])
        for s, said in enumerate(sets)
    )


def _referformer(root: Path, split: str) -> list[Clip]:
    file = meta_file(root, split)
    clips = []
    for name, video in read_videos(file).items():
        with file_kind(file, "not a meta_expressions file of Ref-DAVIS17"):
            frames = video.names("frames")
            expressions = tuple(
                Expression(
                    str(_place(number, entry)),
                    entry.text("exp"),
                    (str(_label(entry)),),
                    SETS[_place(number, entry) % len(SETS)][0].removesuffix(".txt"),
                )
                for number, entry in read_records(video)
            )
        if len(expressions) % len(SETS):
            message = f"{len(expressions)} expressions, expected {len(SETS)} for each object"
            raise DataError(Fault.RECORD, f"{file}, video {name}", message)
        images = FrameFiles.named(root / split / "JPEGImages" / name, frames)
        truth = PaletteTruth(root / split / "Annotations" / name, frames)
        clips.append(Clip(name, images, frames, expressions, truth))
    return clips


def _place(number: str, entry: Record) -> int:
    """An expression's number, from which its set follows."""
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise DataError(Fault.ID, entry.where, f"{number[:60]!r} is no number, which decides the set")
    return int(number)


def _label(entry: Record) -> int:
    """The pixel value of an expression's object."""
    number = entry.get("obj_id")
    if isinstance(number, str) and number.isascii() and number.isdecimal() and len(number) < 6:
        number = int(number)
    found = whole(number, entry.where, "obj_id", 1)
    if found > 255:
        raise DataError(Fault.ID, entry.where, f"obj_id {found} is the value of no pixel: there are 1 to 255")
    return found


def _only(clip: Clip, annotation: int) -> Clip:
    chosen = tuple(e for e in clip.expressions if int(e.id) % len(SETS) == annotation)
    return replace(clip, expressions=chosen)


def _converted(folder: Path, name: str, video: Record) -> Clip:
    files = video.names("file_names")
    sets = video.list("expressions")
    if not sets or not isinstance(sets[0], list):
        raise DataError(Fault.RECORD, video.where, "expressions holds no list of expressions by object")
    expressions = []
    for k, said in enumerate(sets[0]):
        texts = [
            text(words, video.where, "expressions") for words in (said if isinstance(said, list) else [said])
        ]
        expressions.append(Expression(str(k), ". ".join(texts), (str(k + 1),)))
    frames, masks = FrameFiles(folder / "JPEGImages", files), folder / "Annotations" / name
    truth = PaletteTruth(masks, frames.names) if masks.is_dir() else None
    return Clip(name, frames, frames.names, tuple(expressions), truth, video.size())


def parts(root: Path, options: Mapping[str, Any]) -> Parts:
    """Both splits, and the converted file if present."""
    found: dict[str, Callable[[], Dataset]] = {}
    converted = (root / CONVERTED).is_file()
    if not converted or (root / "DAVIS").is_dir() or (root / "meta_expressions").is_dir():
        found |= {split: partial(RefDavis.open, root, split) for split in ("train", "valid")}
    if converted:
        found["converted/valid"] = partial(RefDavis.open_converted, root)
    return found


def open_split(root: Path, split: str | None, options: Mapping[str, Any]) -> RefDavis:
    """Opens a split by name, ``converted/valid`` among them."""
    converted = (root / CONVERTED).is_file() and not (root / "DAVIS").is_dir()
    if split == "converted/valid" or (split == "valid" and converted):
        return RefDavis.open_converted(root)
    return RefDavis.open(root, str(split), sentences=options["sentences"])


def open_evaluation(root: Path, split: str | None, options: Mapping[str, Any]) -> RefDavis:
    """Opens ``val`` or ``train`` with the options of an evaluation.

    Raises:
        ValueError: options contradict each other, or ``exclude`` leaves out a part of a video.
    """
    annotation = options["annotation"]
    if options["converted"] and (annotation is not None or split != "val"):
        raise ValueError("eval.options.converted: the converted file is one set of val; drop the other option")

    def opened(sampling: VideoSampling | None = None) -> RefDavis:
        if options["converted"]:
            return RefDavis.open_converted(root, sampling=sampling)
        return RefDavis.open(root, "valid" if split == "val" else str(split), annotation, sampling=sampling)

    if not options["exclude"]:
        return opened()
    dataset = opened(VideoSampling(exclude=options["exclude"]))
    counts = {clip.name: len(clip.expressions) for clip in opened().clips}
    for clip in dataset.clips:
        if len(clip.expressions) != counts[clip.name]:
            message = f"eval.options.exclude: it leaves out a part of {clip.name}, whose objects are scored"
            raise ValueError(f"{message} together: leave out {clip.name}/* or none of it")
    return dataset


def evaluation_suffix(options: Mapping[str, Any]) -> str:
    """End of a result's name."""
    return "" if options["annotation"] is None else f"_anno{options['annotation']}"
