"""One run of an ablation: a model with a new VMTF, and OVP or none, is trained end to end and measured."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from instructseg.engine import Trainer
from instructseg.engine.checkpoint import WEIGHTS, load_weights
from instructseg.engine.trainer import FINAL
from instructseg.model import InstructSeg
from instructseg.pretrained import load_pretrained
from instructseg.processing import InstructSegProcessor
from instructseg.progress import progress
from instructseg.structures import MaskTargets, ModelInputs
from instructseg.training import SampleBatches
from perf.workload import machine
from recipes.nano.ablations.variants import FULL, VARIANTS, Variant
from recipes.nano.config import NanoDataConfig, NanoRunConfig
from recipes.nano.evaluation.drawn import Outcome, measure
from recipes.nano.evaluation.drawn_report import REASON_SEG_KINDS, REASON_VOS_KINDS, RES_KINDS, Figure, figure
from recipes.nano.evaluation.held_out import synthetic_dataset
from recipes.nano.synthetic import SyntheticSamples
from recipes.nano.train import build_trainer

NEW = ("vmtf.",)
"""Parts that start from random weights, as in the paper. OVP does not: to follow objects takes it thousands of
steps of lessons."""
FROZEN = ("vision", "backbone")
"""Parts that do not learn, as in the paper."""
PACE = 10.0
"""Factor on the learning rate of the new parts: the stage's is one for parts that know their task."""
SAVE_EVERY = 50
_MANY = 10**6  # scenes, more than are ever asked for
_KEPT = ("value", "metric", "low", "high", "chance", "n")


@dataclass(frozen=True)
class Settings:
    """Settings shared by all runs of a study.

    Attributes:
        model: folder that all parts but the new ones are taken from.
        weights: the digest of its weights.
        stage: the training whose data, losses and optimiser are taken.
        held_out: what the scenes look like that are measured on.
        steps: of training.
        instructions: of each kind that is measured.
    """

    model: Path
    weights: str
    stage: NanoRunConfig
    held_out: NanoDataConfig
    steps: int
    instructions: int

    @property
    def noted(self) -> dict[str, Any]:
        """Settings as recorded in a result, to tell studies apart."""
        parts = (self.stage.data, self.stage.criterion, self.stage.train, self.held_out)
        described = json.dumps([asdict(part) for part in parts], sort_keys=True, default=str)
        plan = hashlib.sha256(described.encode()).hexdigest()[:12]
        return {"weights": self.weights, "plan": plan, "steps": self.steps, "instructions": self.instructions}


@dataclass(frozen=True)
class Readers:
    """Processors of images and videos; without references a video has no perceiver tokens."""

    images: InstructSegProcessor
    clips: InstructSegProcessor


@dataclass(frozen=True)
class VariantBatches(SampleBatches):
    """Sample batches with a processor of their own for videos."""

    clips: InstructSegProcessor

    def batch(self, index: int) -> tuple[ModelInputs, list[MaskTargets]]:
        """Inputs and targets of batch ``index``."""
        if self.task(index) == "clip":
            return SampleBatches(self.source, self.clips).batch(index)
        return super().batch(index)


def build(variant: Variant, folder: Path, seed: int) -> tuple[InstructSeg, Readers]:
    """The model before training: that of ``folder`` with the parts :data:`NEW` drawn from the seed.

    Parts that a variant shares with the full model are drawn alike in both.
    """
    trained, processor = load_pretrained(folder, "cpu", torch.float32)

    def drawn(fields: Mapping[str, Any]) -> InstructSeg:
        config = deepcopy(trained.config)
        for name, value in fields.items():
            setattr(config, name, value)
        torch.manual_seed(seed)
        return InstructSeg(config)

    model, whole = drawn({**FULL, **variant.model}), drawn(FULL).state_dict()
    state, old = model.state_dict(), trained.state_dict()
    for name, tensor in state.items():
        source = whole if name.startswith(NEW) else old
        if name in source and source[name].shape == tensor.shape:
            state[name] = source[name]
        elif not name.startswith(NEW):
            raise ValueError(f"{folder} does not fill {name}")
    model.load_state_dict(state)
    queries = model.config.ovp_queries if model.config.use_ovp else 0
    clips = with_places(processor, queries if variant.references else 0)
    return model, Readers(with_places(processor, queries), clips)


def with_places(processor: InstructSegProcessor, queries: int) -> InstructSegProcessor:
    """The processor with so many places for each reference frame."""
    return InstructSegProcessor(processor.tokenizer, replace(processor.config, num_temporal_queries=queries))


def trainer(
    settings: Settings, variant: Variant, seed: int, folder: Path, model: InstructSeg, readers: Readers
) -> Trainer:
    """Trains on scenes of the seed's own, by the losses and with the optimiser of the stage."""
    stage = settings.stage
    data = replace(stage.data, seed=seed, **variant.data(stage.data))
    paces = stage.train.optim.lr_scale | {part.rstrip("."): PACE for part in NEW}
    paces = {part: pace for part, pace in paces.items() if getattr(model, part, None) is not None}
    config = replace(
        stage.train, max_steps=settings.steps, eval_every=0, save_every=SAVE_EVERY, keep_checkpoints=1,
        workers=0, seed=seed, optim=replace(stage.train.optim, frozen=FROZEN, lr_scale=paces),
    )  # fmt: skip
    made = build_trainer(replace(stage, data=data, train=config), folder, readers.images, model)
    usual = made.loader
    assert isinstance(usual, SampleBatches) and isinstance(usual.source, SyntheticSamples)
    clips = synthetic_dataset(data, "train", True, references=variant.references)
    reader = with_places(usual.processor, readers.clips.config.num_temporal_queries)
    made.loader = VariantBatches(
        SyntheticSamples(replace(usual.source.batches, clips=clips)), usual.processor, reader
    )
    return made


def evaluate(
    settings: Settings, variant: Variant, model: InstructSeg, readers: Readers
) -> tuple[dict[str, Figure], int]:
    """Figures by name of ``MEASURES``, and the number of instructions; videos are measured whole."""

    def ask(kinds: Sequence[str], clips: bool) -> list[Outcome]:
        processor = readers.clips if clips else readers.images
        options: dict[str, Any] = {"references": variant.references} if clips else {}
        found: list[Outcome] = []
        for kind in kinds:
            dataset = synthetic_dataset(settings.held_out, "test", clips, _MANY, {kind: 1.0}, **options)
            asked = measure(model, processor, dataset, settings.instructions, whole_clips=clips)
            with progress(asked, None, "instructions", f"{kind} on {'clips' if clips else 'images'}") as shown:
                found += shown
        return found

    res, reason_seg = ask(RES_KINDS, False), ask(REASON_SEG_KINDS, False)
    appearance, twins = ask(("attribute",), True), ask(("motion",), True)
    reason_vos = ask(REASON_VOS_KINDS, True)
    figures = {
        "res_ciou": figure(res, "cIoU", False),
        "res_giou": figure(res, "gIoU", False),
        "reason_seg": figure(reason_seg, "gIoU", False),
        "rvos_appearance": figure(appearance, "J&F", False),
        "rvos_twins": figure(twins, "J&F", False),
        "reason_vos": figure(reason_vos, "J&F", False),
    }
    return figures, sum(map(len, (res, reason_seg, appearance, twins, reason_vos)))


def run(settings: Settings, name: str, seed: int, folder: Path) -> dict[str, Any]:
    """Trains and measures one variant; resumes an earlier call in the same folder.

    Args:
        seed: of the new weights, the scenes of training and everything else that is random.
        folder: keeps checkpoints until the run is measured, then the weights and how the losses went.

    Returns:
        What the results keep.

    Raises:
        Interrupted: on Ctrl-C while it trains, with a checkpoint written.
    """
    variant = VARIANTS[name]
    model, readers = build(variant, settings.model, seed)
    if (folder / FINAL / WEIGHTS).is_file():
        load_weights(model, folder / FINAL)
    else:
        trainer(settings, variant, seed, folder, model, readers).train()
    start = time.process_time()
    figures, asked = evaluate(settings, variant, model.eval(), readers)
    seconds = time.process_time() - start
    for left in folder.glob("checkpoint-*"):
        shutil.rmtree(left)
    rows = {key: {part: asdict(row)[part] for part in _KEPT} for key, row in figures.items()}
    asked_in = {"instructions": asked, "processor_s": round(seconds, 1)}
    return {
        "machine": machine(), "variant": name, "seed": seed, "settings": settings.noted,
        "measured": asked_in, "figures": rows,
    }  # fmt: skip
