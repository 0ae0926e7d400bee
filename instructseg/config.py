"""Configuration of a training or evaluation run, the schema of ``configs/``.

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

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

from instructseg.criterion.criterion import CriterionConfig
from instructseg.engine.settings import TrainConfig
from instructseg.structures import Task
from instructseg.typed_yaml import Origins, Tree, build, merge, read_tree, read_words, resolve

Run = TypeVar("Run", bound="RunConfig")

_STAGE_NAME = re.compile(r"\w(?:[\w .-]{0,98}[\w-])?")
_OTHER_FOLDERS = frozenset({"model", "official", "start"})
"""Folders of a run beside those of its stages."""


@dataclass(frozen=True)
class StartConfig:
    """Pretrained weights that training starts from: the released ones, or parts in the layout of transformers.

    Attributes:
        mipha: Mipha-3B, a folder or a repository of the Hugging Face hub (with ``mask2former``).
        mask2former: Mask2Former file (Swin-B, pixel decoder, mask decoder).
        siglip: another SigLIP of the same shape; ``None`` for Mipha's own, as released.
        language: language model, a folder or a hub repository such as ``Qwen/Qwen3-0.6B``; gives the tokenizer.
        vision: SigLIP or SigLIP 2 of fixed size; ``None`` for random weights or a shared tower.
        backbone: mask backbone; ``None`` for random weights.
    """

    mipha: str | None = None
    mask2former: str | None = None
    siglip: str | None = None
    language: str | None = None
    vision: str | None = None
    backbone: str | None = None

    def __post_init__(self) -> None:
        released = (self.mipha, self.mask2former, self.siglip)
        parts = (self.language, self.vision, self.backbone)
        if any(released) and any(parts):
            raise ValueError("give mipha and mask2former, or language, vision and backbone, not both")
        if any(released) and not (self.mipha and self.mask2former):
            raise ValueError("the released start needs both mipha and mask2former")
        if not any(released) and not self.language:
            raise ValueError("language needs a value: the tokenizer comes with it")


_PRESET = "preset:"


@dataclass(frozen=True)
class ModelSource:
    """Source of the model.

    Attributes:
        name: trained weights: a folder, a repository of the Hugging Face hub, or ``mini`` (also ``bundled``)
            or ``nano`` for those of the package. Random weights: ``preset:`` and the name of a preset, as
            ``preset:nano``.
        overrides: fields of the model's configuration to override; for a trained model ``lora`` alone, which
            adds adapters.
        start: pretrained weights for the preset, joined once in ``output_dir/start``.
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
        images: folder of the images, for data sets that keep them elsewhere.
        ratio: slots in a cycle, at least 1 (released: 4 of 14 for the RefCOCO family).
        also: further splits, concatenated to ``split``.
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


_MOST = {"batch_size": 65_536, "switch_bs": 10**9, "val_samples": 10**9}
"""Numbers of :class:`DataConfig` are at least 1 and at most so many."""


@dataclass(frozen=True)
class DataConfig:
    """Training data: a mixture of data sets on disk. A recipe may have other data, see ``recipes/``.

    Attributes:
        kind: ``mixture``.
        mixture: the data sets; each batch is of one of them (see ``data.mixture``).
        batch_size: samples of a batch.
        switch_bs: samples of a slot before the next data set takes over, a multiple of ``batch_size``.
        val: data sets of the evaluation during training, see ``train.eval_every``.
        val_samples: samples of each, spread evenly over it.
        text_tasks: tasks whose reply is learned as text (``res``, ``reason_seg``, ``rvos``, ``reason_vos``,
            ``vqa``); ``None`` for those of the processor, as released ``reason_seg`` and ``vqa``.
        wording: of what is said around an instruction in training: as ``released``, or ``varied``, which
            teaches a model not to depend on the words (see ``processing.templates``).
        keep_tokens: least share of the key frame's tokens that the language model reads, above 0 and at most 1:
            each batch draws its share between this and 1, which teaches a model to be asked with any
            (``keep_tokens`` of predictors).
        seed: of the order, and of whatever else is drawn.
    """

    kind: str = "mixture"
    mixture: tuple[DatasetConfig, ...] = ()
    batch_size: int = 4
    switch_bs: int = 16
    val: tuple[DatasetConfig, ...] = ()
    val_samples: int = 200
    text_tasks: tuple[str, ...] | None = None
    wording: Literal["released", "varied"] = "released"
    keep_tokens: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.check_kind()
        tasks = [task.value for task in Task]
        for task in self.text_tasks or ():
            if task not in tasks:
                raise ValueError(f"text_tasks: no task '{task}'; there are {', '.join(tasks)}")
        self.check_numbers(_MOST)
        if not 0 < self.keep_tokens <= 1:
            raise ValueError(f"keep_tokens must be above 0 and at most 1, got {self.keep_tokens}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")

    def check_kind(self) -> None:
        """Raises ``ValueError`` where these are other data than this class describes."""
        if self.kind != "mixture":
            raise ValueError(f"kind must be 'mixture', got '{self.kind}'; scenes are drawn with 'recipe: nano'")
        if self.val and not self.mixture:
            raise ValueError("val is measured while a model trains: name the data sets of 'mixture', too")

    def check_numbers(self, most: Mapping[str, int]) -> None:
        """Raises ``ValueError`` where a field is below 1 or above its limit."""
        for name, limit in most.items():
            if not 1 <= getattr(self, name) <= limit:
                asked = "at least 1" if getattr(self, name) < 1 else f"at most {limit:,}"
                raise ValueError(f"{name} must be {asked}, got {getattr(self, name)}")


@dataclass(frozen=True)
class EvalConfig:
    """Benchmark of an evaluation run.

    Attributes:
        benchmark: a name of ``docs/evaluation.md``.
        root: where its files are.
        split: of the benchmark; empty for its usual one.
        options: of the benchmark's protocol, see ``docs/evaluation.md``.
        limit: number of samples (of Ref-DAVIS17, videos); ``None`` for all.
        pictures: number of worst cases to draw, and of best ones.
        batch_size: instructions of an image or video per batch.
        device: of the model; ``None`` for an accelerator if there is one.
        dtype: of its weights; ``None`` as :func:`instructseg.pretrained.load_pretrained` chooses.
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
    """Run, or one stage of it.

    Attributes:
        model: initial model.
        check: least values of metrics at the end of the stage, as means of the last lines of
            ``metrics.jsonl``; a stage below them stops the run.
        data: training data.
        criterion: losses.
        train: training loop.
        output_dir: receives checkpoints, metrics and weights; an evaluation makes a folder in it.
        export_dtype: of the exported weights in ``output_dir/model``.
        export_official: whether they are also written to ``output_dir/official``, for the released code.
        seed: of the initial weights; ``base/train.yaml`` hands it to ``data`` and ``train`` too.
        allow_changes: whether ``--resume`` accepts changed settings that affect training.
        stages: name -> the run with that stage's differences, in order; empty for a run of one stage.
        eval: the benchmark that ``--eval-only`` runs.
    """

    model: ModelSource
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

    # fields that a stage cannot have, and those in which names are the user's; without an annotation, so that
    # they are no fields themselves
    OF_THE_RUN = frozenset({"output_dir", "allow_changes", "export_dtype", "export_official", "eval"})
    FREE = frozenset({"model.overrides.", "train.optim.lr_scale."})

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        for name in self.stages:
            check_stage_name(name)

    def plan(self: Run) -> dict[str, Run]:
        """The stages, or the run itself as the only one, named ``train``."""
        stages: dict[str, Any] = self.stages
        return stages or {"train": self}


def check_stage_name(name: str) -> None:
    """Raises ``ValueError`` unless ``name`` can be a folder of the run, beside its others."""
    if not _STAGE_NAME.fullmatch(name) or name in _OTHER_FOLDERS:
        raise ValueError(
            f"stage {name!r}: a stage is a folder of the run: use letters, digits, blanks, '-', '_' and '.' "
            f"after a letter or digit, and none of {', '.join(sorted(_OTHER_FOLDERS))}"
        )


@overload
def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig: ...


@overload
def load_config(path: str | Path, overrides: Sequence[str], kind: type[Run]) -> Run: ...


def load_config(path: str | Path, overrides: Sequence[str] = (), kind: type[Any] = RunConfig) -> Any:
    """Reads a configuration file.

    Args:
        path: YAML with the fields of :class:`RunConfig`, or the name of a shipped one. ``_base_`` inherits from
            another file, and ``stages.<name>: null`` drops an inherited stage.
        overrides: ``dotted.key=value``; applies to every stage, unless the key starts with
            ``stages.<name>``. The command line has the last word.
        kind: what is made of it; a recipe has fields of its own.

    Raises:
        FileNotFoundError: when the file or a base of it is missing.
        ValueError: on an unknown key or a wrong value, which are named with the file; it is of another recipe.
    """
    origins = Origins(path)
    files, words = read_tree(Path(path), origins), read_words(overrides, origins)
    stages, late = files.pop("stages", {}), words.pop("stages", {})
    if not isinstance(stages, dict) or not isinstance(late, dict):
        raise ValueError(f"{origins.of('stages')}: stages: expected a mapping of names to what differs")
    for name in late.keys() - stages.keys():
        raise ValueError(f"command line: stages.{name}: no such stage; there are {', '.join(stages) or 'none'}")
    run = merge(files, words)
    if "recipe" in run and "recipe" not in {entry.name for entry in fields(kind)}:
        raise ValueError(
            f"{origins.of('recipe')}: recipe: '{run['recipe']}' is no part of the package: in a clone of the "
            f"repository, run python train_net.py --config-file {path}"
        )
    whole = {
        name: _stage(
            name, (files, stages[name], words, late.get(name, {})), kind.OF_THE_RUN, origins, str(path)
        )
        for name in stages
    }
    return build(
        kind,
        {**resolve(run, str(path)), "stages": {n: stage for n, stage in whole.items() if stage}},
        origins,
    )


def recipe_of(path: str | Path, overrides: Sequence[str] = ()) -> str:
    """Which recipe a configuration belongs to; empty where the package itself trains by it.

    Raises:
        FileNotFoundError, ValueError: as :func:`load_config`, of what is read as YAML alone.
    """
    origins = Origins()
    return str(merge(read_tree(Path(path), origins), read_words(overrides, origins)).get("recipe") or "")


def _stage(
    name: str, layers: tuple[Tree, ...], of_the_run: Collection[str], origins: Origins, where: str
) -> Tree | None:
    if layers[1] is None or layers[3] is None:
        return None
    stage: Tree = {}
    for layer in layers:
        if not isinstance(layer, dict) or "stages" in layer:
            raise ValueError(
                f"{origins.of(f'stages.{name}')}: stages.{name}: expected what differs, without stages"
            )
        if layer is layers[1] or layer is layers[3]:
            for key in layer.keys() & set(of_the_run):
                at = f"stages.{name}.{key}"
                raise ValueError(f"{origins.of(at)}: {at}: it is of the whole run; say it outside of stages")
        stage = merge(stage, layer)
    return resolve(stage, where)
