"""One configuration of a run, training or evaluation: what stands in a file of ``configs/``.

::

    _base_: base/train.yaml
    model: {name: preset:nano}
    train: {max_steps: 2000, optim: {lr: 1e-3}}
    stages:                                    # in order; each says only what differs
      masks: {train: {optim: {frozen: [language_model]}}}
      joint: {train: {max_steps: 5000}}

::

    _base_: base/eval.yaml
    model: {name: runs/mine/model}
    eval: {benchmark: refcoco, root: dataset/refer_seg, split: testA, options: {sentences: joined}}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from instructseg.criterion.criterion import CriterionConfig
from instructseg.engine.settings import TrainConfig
from instructseg.engine.stages import check_stage_name
from instructseg.structures import Task
from instructseg.typed_yaml import Origins, Tree, build, merge, read_tree, read_words, resolve


@dataclass(frozen=True)
class StartConfig:
    """The files that training starts from, see :func:`instructseg.convert.assemble_training_start`.

    Attributes:
        mipha: Mipha-3B, a folder or a repository of the Hugging Face hub.
        mask2former: the Mask2Former file (Swin-B, pixel decoder, mask decoder).
        siglip: another SigLIP of the same shape; ``None`` for Mipha's own, as released.
    """

    mipha: str
    mask2former: str
    siglip: str | None = None


_PRESET = "preset:"


@dataclass(frozen=True)
class ModelSource:
    """Where the model comes from.

    Attributes:
        name: trained weights: a folder, a repository of the Hugging Face hub, or ``nano`` (also ``bundled``)
            for those of the package. Random weights: ``preset:`` and the name of a preset, as ``preset:nano``.
        overrides: fields of the model's configuration that differ from it; of a trained model, ``lora`` alone:
            adapters that are added to it.
        start: files that fill the preset; they are joined in ``output_dir/start`` before the first step.
    """

    name: str
    overrides: dict[str, Any] = field(default_factory=dict)
    start: StartConfig | None = None

    @property
    def preset(self) -> str | None:
        """The preset whose sizes get random weights; ``None`` for trained weights."""
        return self.name.removeprefix(_PRESET) if self.name.startswith(_PRESET) else None


@dataclass(frozen=True)
class DatasetConfig:
    """One data set of a mixture.

    Attributes:
        name: as ``instructseg data list`` has it.
        root: its folder, see ``docs/datasets.md``.
        split: one of its splits; ``None`` only where there are none.
        images: where the pictures lie, for the data sets that leave them elsewhere.
        ratio: slots in a cycle, at least 1 (released: 4 of 14 for the RefCOCO family).
        also: further splits, read as if they were one with ``split``.
        sentences: of RefCOCO and Ref-YouTube-VOS, whether a sample asks with ``each`` of an object's sentences
            or with all of them ``joined``, as released for training; ``None`` for ``each``.
    """

    name: str
    root: str
    split: str | None = None
    images: str | None = None
    ratio: int = 1
    also: tuple[str, ...] = ()
    sentences: Literal["each", "joined"] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.ratio <= 10**6:
            raise ValueError(f"ratio must be at least 1 and at most a million, got {self.ratio}")


_MOST = {
    "batch_size": 65_536,
    "switch_bs": 10**9,
    "val_samples": 10**9,
    "length": 10**12,
    "images_per_batch": 4096,
    "expressions_per_scene": 4096,
    "patches": 10**6,
}
"""Numbers of :class:`DataConfig` are at least 1 and at most so many."""


@dataclass(frozen=True)
class DataConfig:
    """What the batches are made of.

    Attributes:
        kind: ``synthetic`` draws scenes of simple shapes as it goes; ``mixture`` reads data sets from disk.
        mixture: the data sets, for ``mixture``; each batch is of one of them (see ``data.mixture``).
        batch_size: samples of a batch of a mixture.
        switch_bs: samples of a slot before the next data set takes over, a multiple of ``batch_size``.
        val: data sets that a run on a mixture is measured on while it trains, see ``train.eval_every``.
        val_samples: samples of each, spread evenly over it.
        text_tasks: tasks whose reply is learned as text (``res``, ``reason_seg``, ``rvos``, ``reason_vos``,
            ``vqa``); ``None`` for those of the processor, as released ``reason_seg`` and ``vqa``.
        wording: of what is said around an instruction in training: as ``released``, or ``varied``, which
            teaches a model not to depend on the words (see ``processing.templates``).
        length: different scenes; later ones repeat them.
        seed: of the scenes and of their order.
        images_per_batch: scenes in a batch.
        clips_per_batch: scenes in a batch of clips, which take longer; ``None`` for as many.
        expressions_per_scene: instructions asked about each scene, one row of the batch each.
        clip_share: share of the batches that are clips instead of images, 0..1.
        scene: options of the scene generator.
        kinds: of instructions on images -> weight, names of ``data.expressions.IMAGE_KINDS``.
        clip_kinds: of instructions on clips -> weight, names of ``CLIP_KINDS``.
        any_key: whether clips to train on may have any of their frames as the key frame, see
            :class:`~recipes.nano.synthetic.SyntheticDataset`.
        photos: folder of photographs that stand behind some scenes; empty for none.
        seen: whether the SigLIP side says the patches of the lesson ``reading`` instead of the truth.
        patches: of a frame that are read in the lesson ``reading``; the background's are left out first.
    """

    kind: Literal["synthetic", "mixture"] = "synthetic"
    mixture: tuple[DatasetConfig, ...] = ()
    batch_size: int = 4
    switch_bs: int = 16
    val: tuple[DatasetConfig, ...] = ()
    val_samples: int = 200
    text_tasks: tuple[str, ...] | None = None
    wording: Literal["released", "varied"] = "released"
    length: int = 10_000
    seed: int = 0
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
    patches: int = 64

    def __post_init__(self) -> None:
        if (self.kind == "mixture") != bool(self.mixture):
            raise ValueError("kind 'mixture' and a list of data sets in 'mixture' go together")
        if self.val and self.kind != "mixture":
            raise ValueError("val belongs to kind 'mixture'; generated scenes have held-out ones of their own")
        tasks = [task.value for task in Task]
        for task in self.text_tasks or ():
            if task not in tasks:
                raise ValueError(f"text_tasks: no task '{task}'; there are {', '.join(tasks)}")
        for name, most in _MOST.items():
            if not 1 <= getattr(self, name) <= most:
                asked = "at least 1" if getattr(self, name) < 1 else f"at most {most:,}"
                raise ValueError(f"{name} must be {asked}, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.clips_per_batch is not None and not 1 <= self.clips_per_batch <= _MOST["images_per_batch"]:
            raise ValueError(f"clips_per_batch must be at least 1, or none, got {self.clips_per_batch}")
        for name in ("kinds", "clip_kinds"):
            if any(weight < 0 for weight in getattr(self, name).values()):
                raise ValueError(f"{name} must not have negative weights, got {getattr(self, name)}")
        if not 0 <= self.clip_share <= 1:
            raise ValueError(f"clip_share must be in [0, 1], got {self.clip_share}")


@dataclass(frozen=True)
class DrawnConfig:
    """What is measured on drawn scenes that are kept from training.

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
class EvalConfig:
    """What is measured, by which protocol.

    Attributes:
        benchmark: a name of ``docs/evaluation.md``.
        root: where its files are.
        split: of the benchmark; empty for its usual one.
        options: of the benchmark's protocol, see ``docs/evaluation.md``.
        limit: only the first so many samples (of Ref-DAVIS17, clips); ``None`` for all.
        pictures: draws so many of the worst cases and as many of the best.
        batch_size: instructions of a picture or clip that are read together.
        device: where the model runs; ``None`` for an accelerator where there is one.
        dtype: of its weights; ``None`` as :func:`instructseg.inference.load` chooses.
    """

    benchmark: str
    root: Path
    split: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None
    pictures: int = 0
    batch_size: int = 16
    device: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("limit", 1), ("pictures", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")


@dataclass(frozen=True)
class RunConfig:
    """A run, or one stage of it.

    Attributes:
        model: what is trained.
        lesson: ``whole`` trains the model end to end; the others teach a part of a small one on generated
            scenes (see :mod:`recipes.nano.lessons`): the SigLIP side its ``patches``, the mask branch
            ``names`` and then ``masks``, the language side ``reading``.
        check: figures of ``metrics.jsonl`` and the least they must have reached at the end of the stage, as
            means of its last lines; a stage that fell short stops the run.
        data: on what.
        criterion: by which losses.
        train: how.
        output_dir: receives checkpoints, metrics and weights; an evaluation makes a folder in it.
        export_dtype: of the weights in ``output_dir/model``, what a finished run hands to its users.
        export_official: whether ``output_dir/official`` gets them too, as the released code reads them.
        seed: of the initial weights; ``base/train.yaml`` hands it to ``data`` and ``train`` too.
        allow_changes: whether ``--resume`` goes on although settings differ that change what is learned.
        stages: name -> the run with that stage's differences, in order; empty for a run of one stage.
        eval: the benchmark that ``--eval-only`` runs; ``None`` for ``drawn``.
        drawn: what ``--eval-only`` measures on held-out drawn scenes.
    """

    model: ModelSource
    lesson: Literal["whole", "patches", "names", "masks", "reading"] = "whole"
    data: DataConfig = field(default_factory=DataConfig)
    criterion: CriterionConfig = field(default_factory=CriterionConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    output_dir: Path = Path("outputs")
    export_dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    export_official: bool = False
    seed: int = 0
    allow_changes: bool = False
    check: dict[str, float] = field(default_factory=dict)
    stages: dict[str, RunConfig] = field(default_factory=dict)
    eval: EvalConfig | None = None
    drawn: DrawnConfig = field(default_factory=DrawnConfig)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        for name in self.stages:
            check_stage_name(name)
        if self.lesson != "whole" and self.data.kind == "mixture":
            raise ValueError(f"lesson '{self.lesson}' is learned on kind 'synthetic', not on a mixture")

    def plan(self) -> dict[str, RunConfig]:
        """The stages, or the run itself as the only one, named ``train``."""
        return self.stages or {"train": self}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads a configuration file.

    Args:
        path: YAML with the fields of :class:`RunConfig`. ``_base_`` inherits from another file, and
            ``stages.<name>: null`` drops an inherited stage.
        overrides: ``dotted.key=value``; applies to every stage, unless the key starts with
            ``stages.<name>``. The command line has the last word.

    Raises:
        FileNotFoundError: when the file or a base of it is missing.
        ValueError: on an unknown key or a wrong value; names the file and the key.
    """
    origins = Origins()
    files, words = read_tree(Path(path), origins), read_words(overrides, origins)
    stages, late = files.pop("stages", {}), words.pop("stages", {})
    if not isinstance(stages, dict) or not isinstance(late, dict):
        raise ValueError(f"{origins.of('stages')}: stages: expected a mapping of names to what differs")
    for name in late.keys() - stages.keys():
        raise ValueError(f"command line: stages.{name}: no such stage; there are {', '.join(stages) or 'none'}")
    run = merge(files, words)
    whole = {
        name: _stage(name, (files, stages[name], words, late.get(name, {})), origins, str(path))
        for name in stages
    }
    return build(
        RunConfig,
        {**resolve(run, str(path)), "stages": {n: stage for n, stage in whole.items() if stage}},
        origins,
    )


_OF_THE_RUN = {"output_dir", "allow_changes", "export_dtype", "export_official", "eval", "drawn"}


def _stage(name: str, layers: tuple[Tree, ...], origins: Origins, where: str) -> Tree | None:
    if layers[1] is None or layers[3] is None:
        return None
    stage: Tree = {}
    for layer in layers:
        if not isinstance(layer, dict) or "stages" in layer:
            raise ValueError(
                f"{origins.of(f'stages.{name}')}: stages.{name}: expected what differs, without stages"
            )
        if layer is layers[1] or layer is layers[3]:
            for key in layer.keys() & _OF_THE_RUN:
                at = f"stages.{name}.{key}"
                raise ValueError(f"{origins.of(at)}: {at}: it is of the whole run; say it outside of stages")
        stage = merge(stage, layer)
    return resolve(stage, where)
