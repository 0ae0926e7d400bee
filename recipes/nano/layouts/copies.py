"""Small copies of data sets by name: which folders they are, and how they are written together."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

from instructseg.data.catalog import find
from recipes.nano.layouts.image_copies import write_image_layouts
from recipes.nano.layouts.video_copies import write_video_layouts

COPIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "refcoco": ("refer_seg",),
        "refcoco-converted": ("refer_seg/RES",),
        "grefcoco": ("grefer_seg",),
        "reasonseg": ("ReasonSeg",),
        "refytvos": ("ref-youtube-vos", "ref-youtube-vos-2020", "rvos/YouTube"),
        "refdavis": ("ref-davis", "ref-davis-referformer", "rvos/DAVIS"),
        "revos": ("ReVOS",),
        "mevis": ("mevis",),
        "mevis-v2": ("mevis_v2",),
        "reasonvos": ("reasonvos",),
        "long-rvos": ("long_rvos",),
        "groundmore": ("groundmore",),
        "ref-sav": ("ref_sav",),
        "ref-zom": ("ref_zom",),
        "muse": ("muse",),
        "mmr": ("mmr",),
        "llava": ("llava_dataset",),
        "vqav2": ("eval",),
        "vqav2_val": ("eval",),
        "gqa": ("eval",),
        "pope": ("eval",),
        "scienceqa": ("eval",),
        "mmbench": ("eval",),
        "custom-images": ("custom-images",),
        "custom-videos": ("custom-videos", "custom-videos-ytvis"),
    }
)
"""Name of a data set -> folders of its copies, one for each layout that is read."""


def write_copies(
    folder: str | Path, names: Collection[str] = (), pictures: int = 4, seed: int = 0
) -> dict[str, list[Path]]:
    """Draws small copies of data sets in every layout that their adapters read.

    Args:
        folder: must not exist, or be empty; it is there whole or not at all.
        names: of data sets; none for all.
        pictures: of each split of an image data set, at least 1.
        seed: of the scenes, not negative.

    Returns:
        Name -> the roots of its copies.

    Raises:
        FileExistsError: the folder holds something.
        ValueError: there is no such data set, or a number is too small.
    """
    folder, chosen = Path(folder), names or tuple(COPIES)
    for name in chosen:
        find(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not empty: choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
        fresh = Path(beside) / folder.name
        fresh.mkdir()
        write_image_layouts(fresh, pictures, seed, {name.removesuffix("-converted") for name in chosen})
        write_video_layouts(fresh, seed, {place for name in chosen for place in COPIES[name]})
        fresh.replace(folder)
    return {name: [folder / place for place in COPIES[name]] for name in chosen}
