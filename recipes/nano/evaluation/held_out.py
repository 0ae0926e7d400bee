"""Drawn scenes as a configuration describes them, and how well a model does on some that are kept from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from instructseg.engine.stopping import Validation
from instructseg.evaluation.sums import mean
from instructseg.structures import Task
from recipes.nano.config import NanoDataConfig
from recipes.nano.evaluation.drawn import Outcome, measure
from recipes.nano.language.expressions import CLIP_KINDS, IMAGE_KINDS
from recipes.nano.scenes.options import check_scene
from recipes.nano.scenes.photos import read_photos
from recipes.nano.scenes.scenes import SceneConfig
from recipes.nano.synthetic import SceneBatches, SyntheticDataset

if TYPE_CHECKING:
    from torch import nn

    from instructseg.processing import InstructSegProcessor

ANSWERED = 0.95
"""Part of the instructions with a target that must be answered by a mask where nothing may be, too."""


def synthetic_dataset(
    config: NanoDataConfig,
    split: str,
    clips: bool,
    length: int | None = None,
    kinds: Mapping[str, float] | None = None,
    scene: Mapping[str, Any] | None = None,
    **options: Any,
) -> SyntheticDataset:
    """Generated images or five-frame videos, as ``config`` describes them.

    Args:
        length: scenes; ``None`` for the configuration's.
        kinds: of expressions, with weights; ``None`` for the configuration's.
        scene: options of the scene generator that differ from the configuration's.
        options: further arguments of :class:`SyntheticDataset`.

    Raises:
        FileNotFoundError, ValueError: an option is wrong, or there are no photographs.
    """
    check_scene(config.scene, bool(config.photos))
    photos = read_photos(config.photos) if config.photos else ()
    drawn = SceneConfig(**{"photos": photos, **config.scene, "frames": 5 if clips else 1, **(scene or {})})
    return SyntheticDataset(
        length or config.length,
        seed=config.seed,
        config=drawn,
        tasks=(Task.RVOS,) if clips else (Task.RES,),
        expressions_per_scene=config.expressions_per_scene,
        split=split,
        any_key=clips and config.any_key and split == "train",
        kinds=kinds or (config.clip_kinds if clips else config.kinds),
        **options,
    )


def scene_batches(config: NanoDataConfig) -> SceneBatches:
    """The batches that are trained on.

    Raises:
        FileNotFoundError, ValueError: an option is wrong, or there are no photographs.
    """
    clips = synthetic_dataset(config, "train", clips=True) if config.clip_share else None
    counts = config.images_per_batch, config.clips_per_batch or config.images_per_batch
    return SceneBatches(synthetic_dataset(config, "train", clips=False), clips, config.clip_share, counts)


IN_WORDS = ("question", "count")
"""Kinds that are answered in words."""


def held_out(
    config: NanoDataConfig, processor: InstructSegProcessor, split: str = "val", scenes: int = 40
) -> Validation:
    """An evaluation while training: ``scenes`` of each kind that is trained on, key frames alone.

    Args:
        config: what the scenes look like, and the kinds.
        split: another one than is trained on.
        scenes: of a kind, with at most ``config.expressions_per_scene`` instructions each.

    Returns:
        A function of the model, with the names of its values:
        ``<image|clip>/<kind>/<metric>``, 0..1. The metric is ``giou``,
        for questions ``accuracy``, for instructions that nothing answers ``n_acc`` where at least 95 % of the
        others are answered. ``<image|clip>/all/ciou`` and ``giou`` are of all that have a mask.
    """

    def run(model: nn.Module) -> dict[str, float]:
        values: dict[str, float] = {}
        for name, clips, kinds in (("image", False, config.kinds), ("clip", True, config.clip_kinds)):
            found: dict[str, list[Outcome]] = {}
            for kind in kinds:
                if kind in (CLIP_KINDS if clips else IMAGE_KINDS):
                    dataset = synthetic_dataset(config, split, clips, scenes, {kind: 1.0})
                    found[kind] = list(measure(model, processor, dataset))
            values |= {f"{name}/{key}": value for key, value in _figures(found).items()}
        return values

    return Validation(run, frozenset(_names("image", config.kinds) | _names("clip", config.clip_kinds)))


def _names(name: str, kinds: Mapping[str, float]) -> set[str]:
    """Names of all metrics of an evaluation on these kinds."""
    measured = [kind for kind in kinds if kind in (CLIP_KINDS if name == "clip" else IMAGE_KINDS)]
    keys = {f"{kind}/{'accuracy' if kind in IN_WORDS else 'giou'}" for kind in measured}
    keys |= {f"{kind}/n_acc" for kind in measured if kind in ("absent", "unknown")}
    keys -= {f"{kind}/giou" for kind in ("absent", "unknown")}
    joint = {"all/giou", "all/ciou"} if any(key.endswith("/giou") for key in keys) else set()
    return {f"{name}/{key}" for key in keys | joint}


def _figures(found: Mapping[str, list[Outcome]]) -> dict[str, float]:
    values: dict[str, float] = {}
    masks = [one for outcomes in found.values() for one in outcomes if one.has_target]
    for kind, outcomes in found.items():
        if kind in IN_WORDS:
            values[f"{kind}/accuracy"] = mean(one.score for one in outcomes)
        elif kind in ("absent", "unknown"):
            if masks:
                threshold = presence_threshold(masks)
                values[f"{kind}/n_acc"] = mean(one.presence < threshold for one in outcomes)
        else:
            values[f"{kind}/giou"] = mean(one.score for one in outcomes)
    if masks:
        values["all/giou"] = mean(one.score for one in masks)
        values["all/ciou"] = sum(one.intersection for one in masks) / max(1, sum(one.union for one in masks))
    return values


def presence_threshold(answerable: list[Outcome], answered: float = ANSWERED) -> float:
    """The highest presence below which at most ``1 - answered`` of these instructions would be refused.

    Args:
        answerable: at least one, of instructions that have a target.
        answered: 0..1.
    """
    ascending = sorted(one.presence for one in answerable)
    return ascending[int((1 - answered) * len(ascending) + 1e-9)]
