"""The drawn videos of each copy of a video benchmark, and the writing of all copies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from recipes.nano.layouts.clips import DrawnClip, draw_clips
from recipes.nano.layouts.newer_videos import (
    write_groundmore,
    write_longrvos,
    write_mevis_v2,
    write_reasonvos,
    write_refsav,
)
from recipes.nano.layouts.refytvos import (
    write_refytvos,
    write_refytvos_2020,
    write_refytvos_converted,
)
from recipes.nano.layouts.videos import (
    write_custom_videos,
    write_custom_ytvis,
    write_mevis,
    write_refdavis,
    write_refdavis_converted,
    write_refdavis_referformer,
    write_revos,
)


def _splits(seed: int, **names: Sequence[str]) -> dict[str, list[DrawnClip]]:
    return {split: draw_clips(found, seed + n) for n, (split, found) in enumerate(names.items())}


def video_layouts(seed: int = 0) -> Mapping[str, tuple[Callable[..., None], Any]]:
    """Folder -> the writer of its copy, and the drawn videos that it writes; a function of ``seed`` alone."""
    seed *= 100
    youtube = _splits(seed, train=("003234408d", "0043f083b5"), valid=("0062f687f1",), test=("00f88c4f0a",))
    youtube_2020 = {split: youtube[split] for split in ("train", "valid")}
    davis = _splits(seed + 10, train=("classic-car", "dogs-scale"), valid=("bike-packing", "goat"))
    revos = _splits(seed + 20, train=("UVO/all/2E4T5NCywcE", "TAO/train/0041"), valid=("LVVIS/00021",))
    mevis = _splits(seed + 30, train=("002b4dce892c", "01e2f9a1"), valid_u=("0a1d3c5e",), valid=("0f2b4d6e",))
    long = _splits(seed + 60, train=("a1",), valid=("b2", "b3"), test=("c4",))
    actions = _splits(seed + 70, train=("film_0010_0012",), test=("show_0010_0012",))
    # a video file has even sides
    own = draw_clips(("street", "park", "yard"), seed + 40, size=(72, 96))
    return MappingProxyType(
        {
            "ref-youtube-vos": (write_refytvos, youtube),
            "ref-youtube-vos-2020": (write_refytvos_2020, youtube_2020),
            "rvos/YouTube": (write_refytvos_converted, youtube_2020),
            "ref-davis": (write_refdavis, davis),
            "ref-davis-referformer": (write_refdavis_referformer, davis),
            "rvos/DAVIS": (write_refdavis_converted, davis["valid"]),
            "ReVOS": (write_revos, revos),
            "mevis": (write_mevis, mevis),
            "mevis_v2": (write_mevis_v2, mevis),
            "reasonvos": (write_reasonvos, draw_clips(("0ab4afe7", "street"), seed + 50)),
            "long_rvos": (write_longrvos, long),
            "groundmore": (write_groundmore, actions),
            "ref_sav": (write_refsav, draw_clips(("sav_055000", "sav_056001"), seed + 80, size=(72, 96))),
            "custom-videos": (write_custom_videos, own),
            "custom-videos-ytvis": (write_custom_ytvis, own),
        }
    )


def write_video_layouts(root: str | Path, seed: int = 0, places: Collection[str] = ()) -> list[Path]:
    """Writes copies of video layouts; returns their folders.

    Args:
        root: gets a folder for each.
        seed: of the drawn videos, not negative.
        places: folders of :func:`video_layouts`; others are passed over, none means all.
    """
    folders = []
    for name, (write, clips) in video_layouts(seed).items():
        if places and name not in places:
            continue
        write(Path(root) / name, clips)
        folders.append(Path(root) / name)
    return folders
