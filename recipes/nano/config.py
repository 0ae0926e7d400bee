"""Configuration of a run on drawn scenes: ``recipe: nano`` stands at the top of its file.

::

    recipe: nano
    model: {name: preset:nano}
    data: {images_per_batch: 8, scene: {objects: [2, 5]}}
    stages:
      patches: {lesson: patches, train: {max_steps: 4000}}
      whole: {train: {max_steps: 3000}}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from instructseg import config
from instructseg.config import DataConfig, RunConfig

_MOST = {"length": 10**12, "images_per_batch": 4096, "expressions_per_scene": 4096, "patches": 10**6}
"""Numbers of :class:`NanoDataConfig` are at least 1 and at most so many."""


@dataclass(frozen=True)
class NanoDataConfig(DataConfig):
    """Batches of scenes of simple shapes, drawn as needed.

    Attributes:
        kind: ``synthetic``.
        length: different scenes; later ones repeat them.
        images_per_batch: scenes in a batch.
        clips_per_batch: scenes in a batch of videos, which take longer; ``None`` for as many.
        expressions_per_scene: instructions asked about each scene, one row of the batch each.
        clip_share: share of the batches that are videos instead of images, 0..1.
        scene: options of the scene generator.
        kinds: of instructions on images -> weight, names of ``language.expressions.IMAGE_KINDS``.
        clip_kinds: of instructions on videos -> weight, names of ``CLIP_KINDS``.
        any_key: whether videos to train on may have any of their frames as the key frame, see
            :class:`~recipes.nano.synthetic.SyntheticDataset`.
        photos: folder of photographs that stand behind some scenes; empty for none.
        seen: whether the SigLIP side says the patches of the lesson ``reading`` instead of the truth.
        guided: whether the lesson ``reading`` also teaches where to look and how each object stands, by heads
            of its own that begin at random; false spares a model that has learned it.
        patches: of a frame that are read in the lesson ``reading``; the background's are left out first.
    """

    kind: str = "synthetic"
    length: int = 10_000
    images_per_batch: int = 5
    clips_per_batch: int | None = None
    expressions_per_scene: int = 6
    clip_share: float = 0.0
    scene: dict[str, Any] = field(default_factory=dict)
    kinds: dict[str, float] = field(default_factory=lambda: {"attribute": 1.0})
    clip_kinds: dict[str, float] = field(default_factory=lambda: {"attribute": 1.0})
    any_key: bool = False
    photos: str = ""
    seen: bool = False
    guided: bool = True
    patches: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_numbers(_MOST)
        if self.clips_per_batch is not None and not 1 <= self.clips_per_batch <= _MOST["images_per_batch"]:
            raise ValueError(f"clips_per_batch must be at least 1, or none, got {self.clips_per_batch}")
        for name in ("kinds", "clip_kinds"):
            if any(weight < 0 for weight in getattr(self, name).values()):
                raise ValueError(f"{name} must not have negative weights, got {getattr(self, name)}")
        if not 0 <= self.clip_share <= 1:
            raise ValueError(f"clip_share must be in [0, 1], got {self.clip_share}")

    def check_kind(self) -> None:
        """Raises ``ValueError`` where these are data sets on disk."""
        if self.kind != "synthetic" or self.mixture or self.val:
            raise ValueError(
                "recipe nano draws its scenes (kind 'synthetic') and is measured on held-out ones: "
                "data sets belong to a configuration without 'recipe'"
            )


@dataclass(frozen=True)
class DrawnConfig:
    """Measurement on drawn scenes held out from training.

    Attributes:
        instructions: of each row; a row that joins several kinds has as many of each.
        split: ``test``, or ``val`` for choices that are still open.
        tables: only these parts of the table, such as ``res`` or ``rvos``; empty for all.
        threshold: presence (0..1) below which a mask is empty; ``None`` for that of the weights, as predictors
            do, 0 for always a mask.
    """

    instructions: int = 300
    split: Literal["val", "test"] = "test"
    tables: tuple[str, ...] = ()
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.instructions < 1:
            raise ValueError(f"instructions must be at least 1, got {self.instructions}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold {self.threshold} is outside 0..1")


@dataclass(frozen=True)
class NanoRunConfig(RunConfig):
    """A run on drawn scenes, or one stage of it; further fields are those of :class:`RunConfig`.

    Attributes:
        recipe: ``nano``.
        lesson: ``whole`` trains the model end to end; the others teach a part of a small one (see
            :mod:`recipes.nano.lessons`): the SigLIP side its ``patches``, the mask branch ``names`` and then
            ``masks``, the language side ``reading``.
        data: what is drawn.
        stages: name -> the run with that stage's differences, in order; empty for a run of one stage.
        drawn: what ``--eval-only`` measures on held-out drawn scenes where there is no ``eval``.
    """

    recipe: Literal["nano"] = "nano"
    lesson: Literal["whole", "patches", "names", "masks", "reading"] = "whole"
    data: NanoDataConfig = field(default_factory=NanoDataConfig)
    stages: dict[str, NanoRunConfig] = field(default_factory=dict)  # type: ignore[assignment]  # it is frozen
    drawn: DrawnConfig = field(default_factory=DrawnConfig)

    OF_THE_RUN = RunConfig.OF_THE_RUN | {"recipe", "drawn"}
    FREE = RunConfig.FREE | {"data.scene.", "data.kinds.", "data.clip_kinds."}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> NanoRunConfig:
    """Reads a configuration of this recipe; see :func:`instructseg.config.load_config`."""
    return config.load_config(path, overrides, NanoRunConfig)
