"""The copies of image and text benchmarks: their folders, their writers, and the writing of all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType

from instructseg.data.catalog import check
from instructseg.data.datasets import vqa
from recipes.nano.layouts.images import write_counts, write_grefcoco, write_reasonseg, write_refcoco
from recipes.nano.layouts.newer_images import write_mmr, write_muse, write_refzom
from recipes.nano.layouts.text import write_llava, write_mmbench, write_own, write_vqa


def write_image_layouts(
    folder: str | Path, pictures: int = 4, seed: int = 0, names: Collection[str] = ()
) -> dict[str, Path]:
    """Writes layouts of :data:`WRITERS` below ``folder``.

    Args:
        folder: made if it is missing; files of an earlier copy are replaced.
        names: of the layouts; others are passed over, none means all.

    Returns:
        Name of the benchmark -> its root, to be handed to its adapter. A ``counts.json`` there tells what was
        written.

    Raises:
        ValueError: ``pictures`` is below 1.
    """
    if pictures < 1:
        raise ValueError(f"pictures must be at least 1, got {pictures}")
    roots = {}
    for name, (place, writer) in WRITERS.items():
        if names and name not in names:
            continue
        roots[name] = root = Path(folder) / place
        writer(root, pictures, seed)
        write_counts(root, check(name, root))
    return roots


Writer = Callable[[Path, int, int], None]

WRITERS: Mapping[str, tuple[str, Writer]] = MappingProxyType(
    {
        "refcoco": ("refer_seg", write_refcoco),
        "grefcoco": ("grefer_seg", write_grefcoco),
        "reasonseg": ("ReasonSeg", write_reasonseg),
        "ref-zom": ("ref_zom", write_refzom),
        "muse": ("muse", write_muse),
        "mmr": ("mmr", write_mmr),
        "llava": ("llava_dataset", write_llava),
        **{name: ("eval", write_vqa[name]) for name in vqa.BENCHMARKS},
        "mmbench": ("eval", write_mmbench),
        "custom-images": ("custom-images", write_own),
    }
)
"""Name -> folder below the root of all, and writer of ``(root, images per split, seed)``."""
