"""Writes small copies of the video benchmarks from drawn videos, in the official layouts with their quirks."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instructseg.data.datasets.refdavis import CONVERTED, MISSPELT, SETS
from instructseg.files import write_bytes_atomic, write_json_atomic, write_text_atomic
from instructseg.media import VideoWriter
from recipes.nano.layouts.clips import (
    DrawnClip,
    frame_names,
    numbered,
    sentences,
    write_counts,
    write_frames,
    write_palette,
)
from recipes.nano.layouts.refytvos import (
    Splits,
)

VIDEO_FPS = 12.0
"""Of the video file among one's own videos."""

SAID_BY = ("", "", "voilà: ", "à savoir: ")
"""What the expressions of each set of Ref-DAVIS17 begin with; the last two need Latin-1."""


def write_refdavis(root: Path, splits: Splits) -> None:
    """The original files: DAVIS, and four text files with misspelt videos, the last two in Latin-1."""
    misspelt = {right: wrong for wrong, right in MISSPELT.items()}
    lines: list[list[str]] = [[] for _ in SETS]
    for split, clips in splits.items():
        for clip in clips:
            names = frame_names(clip)
            write_frames(root / "DAVIS" / "JPEGImages" / "480p" / clip.name, clip, names)
            write_palette(root / "DAVIS" / "Annotations_unsupervised" / "480p" / clip.name, clip, names)
            for i in reversed(clip.objects):  # the files are in no order
                for line, text in zip(lines, _four(clip, i), strict=True):
                    line.append(f'{misspelt.get(clip.name, clip.name)} {i + 1} "{text}"')
        listed = root / "DAVIS" / "ImageSets" / "2017" / f"{'val' if split == 'valid' else split}.txt"
        write_text_atomic(listed, "".join(f"{clip.name}\n" for clip in clips))
    for (name, encoding), line in zip(SETS, lines, strict=True):
        text = "\n".join(line) + "\n"
        write_bytes_atomic(root / "davis_text_annotations" / name, text.encode(encoding))
    write_counts(root, {split: _davis_counts(clips) for split, clips in splits.items()})


def _four(clip: DrawnClip, i: int) -> list[str]:
    """Expressions of an object in the four sets."""
    return [opening + clip.said[i][s % len(clip.said[i])] for s, opening in enumerate(SAID_BY)]


def _davis_counts(clips: Sequence[DrawnClip]) -> tuple[int, int]:
    return len(clips), len(SETS) * sum(len(clip.objects) for clip in clips)


def write_refdavis_referformer(root: Path, splits: Splits) -> None:
    """The files as ReferFormer converts them to the layout of Ref-YouTube-VOS."""
    for split, clips in splits.items():
        videos = {}
        for clip in clips:
            names = frame_names(clip)
            write_frames(root / split / "JPEGImages" / clip.name, clip, names)
            write_palette(root / split / "Annotations" / clip.name, clip, names)
            said = [(text, str(i + 1)) for i in clip.objects for text in _four(clip, i)]
            entries = {str(number): {"exp": text, "obj_id": obj} for number, (text, obj) in enumerate(said)}
            videos[clip.name] = {"expressions": entries, "frames": names}
        write_json_atomic(root / "meta_expressions" / split / "meta_expressions.json", {"videos": videos})
    write_counts(root, {split: _davis_counts(clips) for split, clips in splits.items()})


def write_refdavis_converted(root: Path, clips: Sequence[DrawnClip]) -> None:
    """The file that the released code evaluates; the last object of a video has a list of expressions."""
    videos = []
    for number, clip in enumerate(clips, 1):
        names = frame_names(clip)
        write_frames(root / "valid" / "JPEGImages" / clip.name, clip, names)
        write_palette(root / "valid" / "Annotations" / clip.name, clip, names)
        said: list[Any] = [clip.said[i][0] for i in clip.objects]
        said[-1] = list(clip.said[clip.objects[-1]])
        video = {"id": number, "video": clip.name, "height": clip.size[0], "width": clip.size[1]}
        files = [f"{clip.name}/{name}.jpg" for name in names]
        videos.append({**video, "length": len(clip), "file_names": files, "expressions": [said]})
    write_json_atomic(root / CONVERTED, {"videos": videos})
    write_counts(root, {"converted/valid": (len(clips), sum(len(clip.objects) for clip in clips))})


def write_revos(root: Path, splits: Splits, folder: str = "JPEGImages") -> None:
    """The official files; ``folder`` holds the videos, ``""`` where they lie beside the files.

    Of each video, besides what is said of single objects (type 0), all objects are asked for (type 1), and one
    that is not there (type 2).
    """
    masks: dict[str, Any] = {}
    areas: dict[str, Any] = {}
    counts = {}
    for split, clips in splits.items():
        videos = {}
        for clip in clips:
            names = frame_names(clip, digits=6)
            write_frames(root / folder / clip.name, clip, names)
            first = len(masks)
            masks |= {str(first + i): clip.track([i]) for i in clip.objects}
            union = clip.track(clip.objects)
            areas[clip.name] = {"masks_rle": union, "foreground_ratio": [1.0] * len(clip)}
            said = [(text, [i], 0) for _, text, i in numbered(clip)]
            said += [("which objects are shown?", list(clip.objects), 1), (clip.absent(), [], 2)]
            entries = {
                str(n): {"exp": text, "obj_id": objs, "anno_id": [first + i for i in objs], "type_id": kind}
                for n, (text, objs, kind) in enumerate(said)
            }
            video = {"vid_id": len(areas) - 1, "height": clip.size[0], "width": clip.size[1]}
            videos[clip.name] = {**video, "frames": names, "expressions": entries}
        write_json_atomic(root / f"meta_expressions_{split}_.json", {"videos": videos})
        counts[split] = len(clips), sentences(clips) + 2 * len(clips)
    write_json_atomic(root / "mask_dict.json", masks)
    write_json_atomic(root / "mask_dict_foreground.json", areas)
    write_counts(root, counts)


def write_mevis(root: Path, splits: Splits) -> None:
    """The official files; one expression of each video means all its objects."""
    for split, clips in splits.items():
        masks: dict[str, Any] = {}
        videos = {}
        for number, clip in enumerate(clips):
            names = frame_names(clip)
            write_frames(root / split / "JPEGImages" / clip.name, clip, names)
            first = len(masks)
            masks |= {str(first + i): clip.track([i]) for i in clip.objects}
            said = [(text, [i]) for _, text, i in numbered(clip)]
            said.append(("Everything  that is shown ", list(clip.objects)))
            entries: dict[str, Any] = {}
            for n, (text, objs) in enumerate(said):
                truth = {"obj_id": objs, "anno_id": [first + i for i in objs]}
                entries[str(n)] = {"exp": text, **({} if split == "valid" else truth)}
            videos[clip.name] = {"vid_id": number, "frames": names, "expressions": entries}
        write_json_atomic(root / split / "meta_expressions.json", {"videos": videos})
        if split != "valid":
            write_json_atomic(root / split / "mask_dict.json", masks)
    write_counts(root, {split: (len(clips), sentences(clips) + len(clips)) for split, clips in splits.items()})


def write_custom_videos(root: Path, clips: Sequence[DrawnClip]) -> None:
    """A table: the first video as a folder with palette masks, the second as a file, the others with tracks."""
    rows: list[tuple[str, str, str, str]] = []
    folder, film, *others = clips
    write_frames(root / "videos" / folder.name, folder, frame_names(folder))
    write_palette(root / "masks" / folder.name, folder, frame_names(folder))
    masks = f"masks/{folder.name}"
    rows += [(f"videos/{folder.name}", text, masks, str(i + 1)) for _, text, i in numbered(folder)]
    rows.append((f"videos/{folder.name}", "everything, please", masks, ""))
    rows.append((f"videos/{folder.name}", "the first two", masks, "1;2"))
    rows.append((f"videos/{folder.name}", folder.absent(), "none", ""))
    (root / "videos").mkdir(parents=True, exist_ok=True)
    with VideoWriter(root / "videos" / f"{film.name}.mp4", VIDEO_FPS, film.size) as writer:
        for frame in film.scene.frames:
            writer.write(frame)
    write_palette(root / "masks" / film.name, film, frame_names(film))
    rows += [
        (f"videos/{film.name}.mp4", text, f"masks/{film.name}", str(i + 1)) for _, text, i in numbered(film)
    ]
    tracks = _ytvis(others)
    write_json_atomic(root / "tracks.json", tracks)
    found = {(entry["video_id"], entry["category_id"]): entry["id"] for entry in tracks["annotations"]}
    for number, clip in enumerate(others, 1):
        write_frames(root / "videos" / clip.name, clip, frame_names(clip))
        for _, text, i in numbered(clip):
            rows.append((f"videos/{clip.name}", text, "tracks.json", str(found[number, i + 1])))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([("video", "instruction", "mask", "object"), *rows])
    write_text_atomic(root / "instructions.csv", table.getvalue())
    write_counts(root, {"custom-videos": (len(clips), len(rows))})


def write_custom_ytvis(root: Path, clips: Sequence[DrawnClip]) -> None:
    """A YTVIS file with instructions for all objects of a video but the last, asked for by category."""
    content = _ytvis(clips)
    for clip in clips:
        write_frames(root / "JPEGImages" / clip.name, clip, frame_names(clip))
    asked = 0
    for entry in content["annotations"]:
        clip = clips[entry["video_id"] - 1]
        i = entry["category_id"] - 1
        if i != clip.objects[-1]:
            entry["instruction"] = list(clip.said[i])
        asked += len(entry.get("instruction", [""]))
    write_json_atomic(root / "annotations.json", content)
    write_counts(root, {"custom-videos": (len(clips), asked)})


def _ytvis(clips: Sequence[DrawnClip]) -> dict[str, Any]:
    """Objects are annotations; those in the same place of their video are of one category."""
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, clip in enumerate(clips, 1):
        files = [f"{clip.name}/{name}.jpg" for name in frame_names(clip)]
        videos.append({"id": number, "height": clip.size[0], "width": clip.size[1], "file_names": files})
        for i in clip.objects:
            entry = {"id": len(annotations) + 1, "video_id": number, "category_id": i + 1}
            annotations.append({**entry, "segmentations": clip.track([i])})
    count = max((len(clip.objects) for clip in clips), default=0)
    categories = [{"id": i + 1, "name": f"thing {i + 1}"} for i in range(count)]
    return {"videos": videos, "annotations": annotations, "categories": categories}
