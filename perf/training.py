"""Training steps per second of the nano model, as configured in ``configs/nano.yaml``.

    OMP_NUM_THREADS=1 python -m perf.training --json perf/results/training.json

A step is forward with deep supervision, losses, backward, clipping and the optimiser on one batch; batches are
prepared before and timed on their own. Processor seconds with one thread, medians.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch

from instructseg.criterion import SegCriterion
from instructseg.engine.optim import build_optimizer, select_trainable, train_mode
from instructseg.engine.trainer import seed_everything
from instructseg.structures import MaskTargets, ModelInputs
from instructseg.training import SampleBatches, build_model
from perf.workload import Clock, save, seconds
from recipes.nano.config import load_config
from recipes.nano.evaluation.held_out import scene_batches
from recipes.nano.synthetic import SyntheticSamples


def main() -> None:
    """Measures steps on images and on clips."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default="configs/nano.yaml")
    parser.add_argument("--stage", default="whole", help="of the configuration")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    plan = load_config(options.config).plan()
    if options.stage not in plan:
        raise SystemExit(f"{options.config} has no stage {options.stage}; it has {', '.join(plan)}")
    run = plan[options.stage]
    model, processor = build_model(run.model, seed=0)
    select_trainable(model, run.train.optim)
    optimizer, criterion = build_optimizer(model, run.train.optim), SegCriterion(run.criterion)
    train_mode(model)
    batches = SampleBatches(SyntheticSamples(scene_batches(run.data)), processor)
    clock = Clock()
    taken: dict[str, list[float]] = {"image": [], "clip": []}

    def step(inputs: ModelInputs, targets: list[MaskTargets]) -> None:
        losses = criterion(model(inputs, aux=True), targets, inputs.labels)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), run.train.optim.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for index in range(options.steps + 1):
        with clock("batch"):
            inputs, targets = batches.batch(index)
        seed_everything(0, index)
        spent = seconds(lambda: step(inputs, targets))  # noqa: B023  (called at once)
        if index:
            taken["clip" if inputs.clip_pixels.shape[1] > 1 else "image"].append(spent)
    medians = {kind: statistics.median(values) for kind, values in taken.items() if values}
    mean = sum(sum(values) for values in taken.values()) / options.steps
    save(
        options.json,
        {
            "rows_per_batch": len(inputs.input_ids),
            "step_s": medians,
            "steps_per_second": 1 / mean,
            "batch_s": clock.seconds["batch"] / clock.calls["batch"],
        },
    )


if __name__ == "__main__":
    main()
