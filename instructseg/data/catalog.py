"""Catalog of data sets: one row each, for checks, training, evaluation and other frameworks.

A new data set needs an adapter (a :class:`~instructseg.data.dataset.Dataset`) and a row of :data:`CATALOG`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from instructseg.data.catalog_row import CatalogRow, Evaluation, Options, complete_options
from instructseg.data.custom import custom_images, custom_videos
from instructseg.data.dataset import CheckReport, Concatenated, Dataset, check_parts, check_split
from instructseg.data.datasets import (
    grefcoco,
    groundmore,
    llava,
    longrvos,
    mevis,
    mmbench,
    multitarget,
    reasonseg,
    reasonvos,
    refcoco,
    refdavis,
    refsav,
    refytvos,
    refzom,
    revos,
    vqa,
)
from instructseg.data.referring_videos import VideoSampling
from instructseg.structures import Task


def find(name: str) -> CatalogRow:
    """The row of ``name``; raises ``ValueError`` with the closest name."""
    known = ALIASES.get(name, name)
    if known not in CATALOG:
        (close,) = get_close_matches(name, CATALOG, n=1, cutoff=0.0)
        raise ValueError(f"unknown data set {name!r}; the closest is {close!r}")
    return CATALOG[known]


def check(name: str, root: str | Path, deep: bool = False, options: Options | None = None) -> CheckReport:
    """Checks every part of a data set on disk; see :func:`~instructseg.data.dataset.check_parts`.

    Args:
        name: key of :data:`CATALOG`.
        root: its folder; of custom data also a file.
        deep: also reads every image and decodes every mask.
        options: those of the row that differ, such as ``images``.

    Raises:
        FileNotFoundError: no such root.
        ValueError: no such data set or option.
    """
    row, root = find(name), _existing(root)
    given = complete_options(name, row.options, options or {})
    if row.parts is not None:
        return check_parts(name, root, row.parts(root, given), deep)
    parts = {split or name: partial(row.open, root, split, given) for split in row.splits or (None,)}
    return check_parts(name, root, parts, deep)


def open_split(
    name: str, root: str | Path, split: str | None = None, options: Options | None = None
) -> Dataset:
    """Opens one split.

    Args:
        name, root, options: see :func:`check`.
        split: one of the row's; ``None`` for the usual one.

    Raises:
        FileNotFoundError, ValueError: as :func:`check`, and as the adapter.
    """
    row, root = find(name), _existing(root)
    if split is None and row.splits:
        split = row.splits[0]
    elif row.splits:
        check_split(name, split, row.splits)
    return row.open(root, split, complete_options(name, row.options, options or {}))


def open_splits(name: str, root: str | Path, splits: Sequence[str | None], options: Options | None) -> Dataset:
    """Opens several splits as one data set; see :func:`open_split`."""
    opened = [open_split(name, root, split, options) for split in splits]
    return opened[0] if len(opened) == 1 else Concatenated(opened)


def evaluations() -> dict[str, tuple[CatalogRow, Evaluation]]:
    """Every evaluation of the catalog by name."""
    return {found.name: (row, found) for row in CATALOG.values() for found in row.evaluations}


def paper_figures(row: str) -> Mapping[str, float]:
    """The paper's figures, metric -> percent, beside a row of the result table; empty where there are none."""
    papers = (found.paper for _, found in evaluations().values())
    return next((paper[row] for paper in papers if row in paper), {})


def _existing(root: str | Path) -> Path:
    if not Path(root).exists():
        raise FileNotFoundError(f"{root} is missing: give the folder of the data set")
    return Path(root)


def _excluding(options: Options) -> VideoSampling:
    return VideoSampling(exclude=options["exclude"])


def _videos(
    title: str,
    name: str,
    metric: str,
    opener: Callable[..., Dataset],
    splits: tuple[str, ...],
    submission: str = "folders",
) -> CatalogRow:
    """A benchmark of expressions on videos; its folder is called as its evaluation."""
    return CatalogRow(
        title,
        lambda root, split, options: opener(root, split, sampling=_excluding(options)),
        splits,
        {"exclude": []},
        evaluations=(Evaluation(name, metric, splits or ("",), submission=submission),),
        folder=name,
    )


def _questions(name: str, title: str, metric: str = "", split: str = "", **paper: float) -> CatalogRow:
    """A benchmark of questions in LLaVA's layout; without a metric, for training alone."""
    row = f"{name}_{split}" if split else name
    evaluations = (Evaluation(name, metric, (split,), paper={row: paper}),) if metric else ()
    opener = vqa.BENCHMARKS[name]
    return CatalogRow(title, lambda root, split, options: opener(root), (name,), evaluations=evaluations)


_MEVIS = ("valid_u", "train", "valid")
_REF_ZOM = Evaluation("ref_zom", "zero_one_many")
_SENTENCES: Options = {"sentences": "each", "images": ""}
_JOINED: Options = {
    "sentences": "joined",
    "split_by": "",
    "converted": False,
    "images": "",
    "official_polygons": False,
}


def _refcoco(name: str, splits: str, paper: Mapping[str, float]) -> Evaluation:
    """``paper``: split to cIoU in percent."""
    figures = {f"{name}_{split}": {"cIoU": figure} for split, figure in paper.items()}
    opener, suffix = partial(refcoco.open_evaluation, name), refcoco.evaluation_suffix
    return Evaluation(name, "iou", tuple(splits.split()), opener, _JOINED, paper=figures, suffix=suffix)


# The paper's figures are those of the tables imgs/exp_{res,rvos,revos,mmbench}.jpg of InstructSeg's repository.
# RefCOCO's are of one instruction per object, joined from all its sentences.
CATALOG: dict[str, CatalogRow] = {
    "refcoco": CatalogRow(
        "RefCOCO, RefCOCO+ and RefCOCOg, original files",
        refcoco.open_split,
        tuple(dict.fromkeys(("refcoco/unc/val", *refcoco.ORIGINAL_SPLITS))),
        _SENTENCES,
        refcoco.parts,
        (
            _refcoco("refcoco", "val testA testB test train", {"val": 85.8, "testA": 86.6, "testB": 84.0}),
            _refcoco("refcoco+", "val testA testB train", {"val": 80.1, "testA": 83.8, "testB": 75.6}),
            _refcoco("refcocog", "val test train", {"val": 79.3, "test": 80.3}),
        ),
        "refer_seg",
        refcoco.public_name,
    ),
    "refcoco-converted": CatalogRow(
        "RefCOCO, RefCOCO+ and RefCOCOg as the released code reads them",
        refcoco.open_converted_split,
        tuple(dict.fromkeys(("refcoco/val", *refcoco.CONVERTED_SPLITS))),
        _SENTENCES,
        refcoco.converted_parts,
    ),
    "grefcoco": CatalogRow(
        "gRefCOCO",
        grefcoco.open_split,
        ("val", "train", "testA", "testB"),
        _SENTENCES,
        grefcoco.parts,
        (Evaluation("grefcoco", "generalized", ("val", "testA", "testB", "train")),),
        "grefer_seg",
    ),
    "reasonseg": CatalogRow(
        "ReasonSeg",
        lambda root, split, options: reasonseg.ReasonSeg(
            root, str(split), options["official_ignore_as_background"]
        ),
        ("val", "train", "test"),
        {"official_ignore_as_background": False},
        evaluations=(
            Evaluation(
                "reasonseg", "reasoning", ("val", "test", "train"),
                paper={"reasonseg_val": {"gIoU": 61.9, "cIoU": 65.2}},
            ),
        ),
        folder="ReasonSeg",
    ),
    "refytvos": CatalogRow(
        "Ref-YouTube-VOS: 2021, 2020 or converted",
        refytvos.open_split,
        ("valid", "train", "converted/valid", "converted/train"),
        {"sentences": "each"},
        refytvos.parts,
        (
            Evaluation(
                "refytvos", "expressions", ("valid", "train"), refytvos.open_evaluation,
                {"converted": False, "official_count": True, "exclude": []}, "ref-youtube-vos",
                {"refytvos_valid": {"J": 65.4, "F": 69.5, "J&F": 67.5}},
            ),
        ),
        "ref-youtube-vos",
    ),
    "refdavis": CatalogRow(
        "Ref-DAVIS17: original, ReferFormer's or converted",
        refdavis.open_split,
        ("valid", "train", "converted/valid"),
        {"sentences": "each"},
        refdavis.parts,
        (
            Evaluation(
                "refdavis", "davis", ("val", "train"), refdavis.open_evaluation,
                {"annotation": None, "converted": False, "exclude": []}, "davis",
                {"refdavis_val": {"J": 67.3, "F": 74.9, "J&F": 71.1}}, refdavis.evaluation_suffix,
            ),
        ),
        "ref-davis",
    ),
    "revos": CatalogRow(
        "ReVOS",
        lambda root, split, options: revos.ReVos.open(root, str(split)),
        ("valid", "train"),
        evaluations=(
            Evaluation(
                "revos", "revos", options={"exclude": []}, submission="folders",
                open=lambda root, split, options: revos.ReVos.open(
                    root, str(split), foreground=True, sampling=_excluding(options)
                ),
                paper={
                    "revos_reasoning": {"J": 49.2, "F": 54.7, "J&F": 51.9},
                    "revos_referring": {"J": 54.8, "F": 59.2, "J&F": 57.0},
                    "revos_overall": {"J": 52.0, "F": 56.9, "J&F": 54.5},
                },
            ),
        ),
        folder="ReVOS",
    ),
    "mevis": _videos("MeViS", "mevis", "expressions", mevis.MeVis.open, _MEVIS, "mevis"),
    "mevis-v2": _videos(
        "MeViS v2", "mevis_v2", "no_target", partial(mevis.MeVis.open, version=2), _MEVIS, "mevis"
    ),
    "reasonvos": _videos("ReasonVOS", "reasonvos", "typed_expressions", reasonvos.ReasonVos.open, ()),
    "long-rvos": _videos("Long-RVOS", "long_rvos", "long_term", longrvos.LongRvos.open, longrvos.SPLITS),
    "groundmore": _videos(
        "GroundMoRe", "groundmore", "typed_expressions", groundmore.GroundMore.open, groundmore.SPLITS
    ),
    "ref-sav": _videos("Ref-SAV", "ref_sav", "expressions", refsav.RefSav.open, ()),
    "ref-zom": CatalogRow(
        "Ref-ZOM", refzom.open_split, refzom.SPLITS, _SENTENCES, refzom.parts, (_REF_ZOM,), "ref_zom"
    ),
    **{
        name: CatalogRow(
            name.upper(),
            partial(multitarget.open_split, name),
            tuple(multitarget.FILES[name]),
            {"images": ""},
            evaluations=(Evaluation(name, "reasoning"),),
            folder=name,
        )
        for name in multitarget.FILES
    },
    "llava": CatalogRow(
        "LLaVA-1.5 mix and LLaVA-Instruct-150k",
        lambda root, split, options: llava.Llava(root, split),
        parts=llava.parts,
    ),
    "vqav2": CatalogRow(
        "VQAv2 test-dev",
        lambda root, split, options: vqa.vqav2(root),
        ("vqav2",),
        evaluations=(
            Evaluation(
                "vqav2", "vqa_accuracy", ("test-dev", "val"),
                lambda root, split, options: vqa.vqav2(root) if split == "test-dev" else vqa.vqav2_val(root),
                submission="vqav2", paper={"vqav2_test-dev": {"accuracy": 79.0}},
            ),
        ),
    ),
    "vqav2_val": _questions("vqav2_val", "VQAv2 val2014"),
    "gqa": _questions("gqa", "GQA test-dev balanced", "gqa", "testdev", accuracy=62.3),
    "pope": _questions("pope", "POPE", "pope", f1=87.0),
    "scienceqa": _questions("scienceqa", "ScienceQA test", "img_accuracy", "test", img_accuracy=69.2),
    "mmbench": CatalogRow(
        "MMBench",
        lambda root, split, options: mmbench.MMBench(root, split or mmbench.FILE),
        parts=mmbench.parts,
        evaluations=(
            Evaluation(
                "mmbench", "circular_accuracy", ("",),
                lambda root, split, options: mmbench.MMBench(root, options["file"]), {"file": mmbench.FILE},
                "mmbench", {"mmbench": {"accuracy": 68.6}}, mmbench.evaluation_suffix,
            ),
        ),
    ),
    "custom-images": CatalogRow(
        "Custom images",
        lambda root, split, options: custom_images.CustomImages(root, split),
        evaluations=(
            Evaluation(
                "custom_images", "custom_masks",
                open=lambda root, split, options: custom_images.open_for_masks(root, split),
            ),
        ),
        folder="custom-images",
    ),
    "custom-videos": CatalogRow(
        "Custom videos",
        lambda root, split, options: custom_videos.CustomVideos.open(root, split),
        evaluations=(
            Evaluation(
                "custom_videos", "expressions", submission="folders",
                open=lambda root, split, options: custom_videos.CustomVideos.open(
                    root, split or None, Task(options["task"]), _excluding(options)
                ),
                options={"task": Task.RVOS.value, "exclude": []},
            ),
        ),
        folder="custom-videos",
    ),
}  # fmt: skip
"""Name -> data set."""

ALIASES: Mapping[str, str] = {
    "own-images": "custom-images",
    "own-videos": "custom-videos",
    "own_images": "custom_images",
    "own_videos": "custom_videos",
}
"""Earlier names of data sets and of their evaluations -> those of today."""
