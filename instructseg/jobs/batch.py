"""Many images and videos over processes: by ``torchrun``, one share each, or by Ray Data over machines.

The results and their record lie in one folder that all processes reach. A run that was killed goes on where it
stopped: what the record lists as done is skipped.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from instructseg.jobs.job import IMAGE, VIDEO, Job, checked
from instructseg.jobs.run_summary import Summary
from instructseg.jobs.segment import image_places, segment_images, segment_videos
from instructseg.jobs.systems import Systems
from instructseg.results import Inputs, Item, ResultFolder, plan_paths

AT_ONCE = 8
"""Inputs that a worker of Ray takes at a time; its record is read once for them."""


def run_share(found: Mapping[str, Inputs], prompts: Sequence[str], job: Job) -> Iterator[Summary]:
    """Segments the share of this process of ``torchrun``, or everything without it.

    The first process waits for the others, and writes the files about all inputs.

    Args:
        found: images and videos, by :data:`IMAGE` and :data:`VIDEO`.
        prompts: of all inputs.
        job: settings; without a device, each process takes the GPU of its local rank.

    Raises:
        ValueError: as :func:`~instructseg.jobs.segment.segment_images`.
    """
    rank, count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if count > 1:
        import torch
        from torch import distributed

        distributed.init_process_group("gloo", timeout=timedelta(days=7))
        if job.device is None and torch.cuda.is_available():
            job = replace(job, device=f"cuda:{os.environ.get('LOCAL_RANK', 0)}")
    own = {kind: replace(inputs, items=inputs.items[rank::count]) for kind, inputs in found.items()}
    try:
        yield from _segment(own, prompts, job, Systems(gathers=False))
        if count > 1:
            distributed.barrier()
        if rank == 0:
            gather(found, prompts, job)
        if count > 1:
            distributed.barrier()  # torchrun ends the others once one fails
    finally:
        if count > 1:
            distributed.destroy_process_group()


def run_ray(
    found: Mapping[str, Inputs], prompts: Sequence[str], job: Job, address: str, workers: int
) -> Iterator[Summary]:
    """Segments everything by workers of Ray Data.

    Args:
        found, prompts, job: as of :func:`run_share`.
        address: of a cluster, or ``local`` for one on this machine.
        workers: their number; each has a GPU where the cluster has any.

    Raises:
        ModuleNotFoundError: Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ModuleNotFoundError("--ray needs an extra package: pip install 'ray[data]'") from error

    job, rows = replace(job, output=job.output.absolute(), model=_absolute(job.model)), list[dict[str, str]]()
    for kind, inputs in found.items():
        for item in _pending(kind, inputs, prompts, job):
            row = {"kind": kind, **asdict(replace(item, path=item.path.absolute()))}
            rows.append({"item": json.dumps(row, default=str)})
    if not rows:
        gather(found, prompts, job)
        return
    if address == "local":
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    else:
        ray.init(address=address, log_to_driver=False)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        gpus = 1 if ray.cluster_resources().get("GPU", 0) else 0
        results = ray.data.from_items(rows, override_num_blocks=max(1, -(-len(rows) // AT_ONCE))).map_batches(
            BatchWorker,
            fn_constructor_args=(list(prompts), job),
            batch_size=AT_ONCE,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_gpus=gpus,
        )
        for row in results.iter_rows():
            yield Summary(**json.loads(row["summary"]))
    finally:
        ray.shutdown()
    gather(found, prompts, job)


class BatchWorker:
    """A process of Ray: opens the system once, and segments the inputs that it is given."""

    def __init__(self, prompts: Sequence[str], job: Job) -> None:
        self.prompts, self.job = prompts, job
        self.systems = Systems(gathers=False)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        """JSON of items (column ``item``) to JSON of summaries (column ``summary``)."""
        found = {kind: Inputs(batch=True) for kind in (IMAGE, VIDEO)}
        for text in batch["item"]:
            row = json.loads(str(text))
            found[row.pop("kind")].items.append(_item(row))
        summaries = _segment(found, self.prompts, self.job, self.systems)
        return {"summary": [json.dumps(asdict(one), default=str) for one in summaries]}


def gather(found: Mapping[str, Inputs], prompts: Sequence[str], job: Job) -> None:
    """Writes the files about all inputs that have results."""
    job = replace(job, overwrite=False)
    first, *others = (_results(kind, inputs, prompts, job) for kind, inputs in found.items() if inputs.items)
    with first:
        first.gather(others)


def _pending(kind: str, inputs: Inputs, prompts: Sequence[str], job: Job) -> list[Item]:
    """Inputs without results; raises what would fail, before workers start."""
    with _results(kind, inputs, prompts, job) as results:
        return [step.item for step in results.todo]


def _results(kind: str, inputs: Inputs, prompts: Sequence[str], job: Job) -> ResultFolder:
    job = checked(_fitting(kind, job), prompts)
    places = [
        plan_paths(item.name, job.output, job.formats, video=True)
        if kind == VIDEO
        else image_places(item, prompts, job)
        for item in inputs.items
    ]
    return ResultFolder(job.output, inputs, places, prompts, job.marks(), job.overwrite)


def _fitting(kind: str, job: Job) -> Job:
    """The settings of a kind of input: those of the other have their defaults."""
    other: dict[str, Any] = {
        one.name: one.default for one in fields(job) if kind not in one.metadata["commands"]
    }
    return replace(job, **other)


def _segment(
    found: Mapping[str, Inputs], prompts: Sequence[str], job: Job, systems: Systems
) -> Iterator[Summary]:
    if found[IMAGE].items:
        yield from segment_images(found[IMAGE], prompts, _fitting(IMAGE, job), systems)
    if found[VIDEO].items:
        yield from segment_videos(found[VIDEO], prompts, _fitting(VIDEO, job), systems)


def _absolute(model: str | None) -> str | None:
    """A folder by its whole path; workers have another working directory."""
    return str(Path(model).absolute()) if model is not None and Path(model).is_dir() else model


def _item(row: dict[str, Any]) -> Item:
    place = row["place"]
    return Item(Path(row["path"]), row["name"], row["source"], tuple(row["prompts"]), place and tuple(place))
