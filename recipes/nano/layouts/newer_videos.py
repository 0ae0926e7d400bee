"""Writes small copies of the video benchmarks since 2024 from drawn clips, in their official layouts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instructseg.data.datasets.groundmore import FPS
from instructseg.files import read_json, write_json_atomic
from instructseg.masks import save_binary_png
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
from recipes.nano.layouts.refytvos import Splits
from recipes.nano.layouts.videos import write_mevis


def write_mevis_v2(root: Path, splits: Splits) -> None:
    """The files of MeViS, with an expression of each video that means nothing in it."""
    write_mevis(root, splits)
    counts = {}
    for split, clips in splits.items():
        file = root / split / "meta_expressions.json"
        content = read_json(file)
        for clip in clips:
            entries = content["videos"][clip.name]["expressions"]
            truth: dict[str, Any] = {} if split == "valid" else {"obj_id": [], "anno_id": []}
            entries[str(len(entries))] = {"exp": clip.absent(), **truth}
        write_json_atomic(file, content)
        counts[split] = len(clips), sentences(clips) + 2 * len(clips)
    write_counts(root, counts)


def write_reasonvos(root: Path, clips: Sequence[DrawnClip]) -> None:
    """The official file; the source is in capitals there, and the folders of the second video are not."""
    videos = {}
    for number, clip in enumerate(clips):
        names, source = frame_names(clip), ("MeViS", "MOSE")[number % 2]
        write_frames(root / "JPEGImages" / clip.name, clip, names)
        for i in clip.objects:
            folder = f"{source.lower() if number % 2 else source}_{clip.name}_{i + 1}"
            for t, name in enumerate(names):
                save_binary_png(root / "Annotations" / folder / f"{name}.png", clip.mask([i], t))
        said = {n: {"obj_id": i + 1, "exp_text": text} for n, text, i in numbered(clip)}
        videos[clip.name] = {"source": source, "frames": names, "is_sent": number % 2, "expressions": said}
    write_json_atomic(root / "meta_expressions.json", {"videos": videos})
    write_counts(root, {"reasonvos": (len(clips), sentences(clips))})


def write_longrvos(root: Path, splits: Splits) -> None:
    """The official files; a frame in which an object cannot be seen has no mask of it."""
    for split, clips in splits.items():
        videos = {}
        for clip in clips:
            names = frame_names(clip)
            write_frames(root / split / "JPEGImages" / clip.name, clip, names)
            for i in clip.objects if split != "test" else ():
                for t, name in enumerate(names):
                    if (mask := clip.mask([i], t)).any():
                        place = root / split / "Annotations" / clip.name / str(i + 1)
                        save_binary_png(place / f"{name}.png", mask)
            kinds = ("static", "dynamic", "hybrid")
            said = {
                n: {"exp": text, "obj_id": str(i + 1), "type": kinds[int(n) % 3]}
                for n, text, i in numbered(clip)
            }
            videos[clip.name] = {"frames": names, "expressions": said}
        write_json_atomic(root / split / "meta_expressions.json", {"videos": videos})
    write_counts(root, {split: (len(clips), sentences(clips)) for split, clips in splits.items()})


def write_groundmore(root: Path, splits: Splits) -> None:
    """The official files; the actions take the second second of each video, of which eight frames are there."""
    kinds = ("Causal", "Sequential", "Counterfactual", "Descriptive")
    for split, clips in splits.items():
        videos = {}
        for clip in clips:
            folder, names = root / "annotations" / clip.name, frame_names(clip, digits=6)
            write_frames(folder / "images", clip, [f"frame_{name}" for name in names])
            write_palette(folder / "masks", clip, [f"frame_{name}" for name in names])
            (folder / "masks" / f"frame_{FPS:06d}.png").unlink()  # a frame without objects has no file
            span = {"action_start": "0:11", "action_end": "0:12"}
            videos[clip.name] = {
                "questions": {
                    n: {"question": text, "answer": "it", "obj_id": i + 1, "q_type": kinds[int(n) % 4], **span}
                    for n, text, i in numbered(clip)
                }
            }
        write_json_atomic(root / f"{split}_v2.json", {"videos": videos})
    write_counts(root, {split: (len(clips), sentences(clips)) for split, clips in splits.items()})


def write_refsav(root: Path, clips: Sequence[DrawnClip]) -> None:
    """The official files; every second frame of a video file is listed."""
    videos: dict[str, Any] = {}
    masks: dict[str, Any] = {}
    for clip in clips:
        file = root / "videos" / clip.name[:7] / f"{clip.name}.mp4"
        file.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(file, 24.0, clip.size) as writer:
            for frame in clip.scene.frames:
                writer.write(frame)
        first = len(masks)
        masks |= {str(first + i): clip.track([i])[::2] for i in clip.objects}
        said = {n: {"exp": text, "anno_id": [str(first + i)]} for n, text, i in numbered(clip)}
        videos[clip.name] = {"frames": frame_names(clip)[::2], "expressions": said}
    write_json_atomic(root / "meta_expressions_valid.json", {"videos": videos})
    write_json_atomic(root / "mask_dict.json", masks)
    write_counts(root, {"ref-sav": (len(clips), sentences(clips))})
