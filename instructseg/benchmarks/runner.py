"""Evaluation loop: predicts missing samples, in one process or several, and writes the results.

::

    <output_dir>/<benchmark>_<split>/
        settings.json       what the records below depend on, with the contents of the weights and of custom
                            data; a run with other settings is refused
        samples.jsonl       one line per sample, named <name>#<index>, in the order of the data set
        samples.rank0.jsonl ...    of each process while it runs
        results.json        results.md
        predictions/  submission.*  cases/     where the benchmark has them

Samples are distributed by image or video, so that shared features are computed once. An interrupted image is
repeated as a whole: the same samples share a batch then, and the numbers stay the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from instructseg import distributed
from instructseg.benchmarks.base import Benchmark, ResultTable, Runner, ScoreRecord
from instructseg.benchmarks.report import TABLE_HEADER, SampleLog, markdown_rows, read_samples
from instructseg.benchmarks.table import completed, open_benchmark
from instructseg.config import EvalConfig, RunConfig
from instructseg.files import path_below, read_json, write_json_atomic, write_text_atomic
from instructseg.log import get_logger, setup_logging
from instructseg.media import save_image
from instructseg.pretrained import load_pretrained
from instructseg.progress import progress

logger = get_logger(__name__)

SAMPLES = "samples.jsonl"
LOG_SECONDS = 30.0
"""Time between two lines of progress in the log."""
_FREE = ("limit", "pictures", "device")
"""Fields of :class:`EvalConfig` without influence on the records."""
_MARKED = 512
_ENDS = 1 << 17
"""Bytes at either end of a large image or video that are compared."""
_TEXTS = (".csv", ".json", ".jsonl")
"""Files that are compared as a whole."""


def run_benchmark(config: RunConfig, report: Callable[[str], object] | None = None) -> dict[str, float]:
    """Evaluates the model of a configuration on its benchmark.

    Under ``torchrun`` every process does its part; the first one writes and reports.

    Args:
        config: with a section ``eval``.
        report: called once with the results as JSON, as in ``results.json``; by default they are logged.

    Returns:
        ``<row>/<metric>`` to value, 0..1, the same in every process.

    Raises:
        FileNotFoundError: a file of the benchmark or the model is missing; names it.
        ValueError: a setting or a file is wrong, or the folder holds an evaluation with other settings.
    """
    if config.eval is None:
        raise ValueError("the configuration has no section 'eval'")
    if config.model.overrides:
        raise ValueError("model.overrides: a model is measured as it is; drop them")
    setup_logging()
    given = completed(config.eval)
    with process_group():
        benchmark = open_benchmark(given)
        folder = path_below(config.output_dir, benchmark.row)
        model, processor = load_pretrained(config.model.name, _device(given), given.dtype)
        settle(
            folder, config.model.name, given, {"weights": weights_mark(model), "files": files_mark(benchmark)}
        )
        runner = Runner(model, processor, folder, given.batch_size)
        wanted = range(min(given.limit or len(benchmark), len(benchmark)))
        records = collect(benchmark, runner, wanted)
        scored = [record for record in records.values() if "score" in record]
        results = benchmark.results(scored) if scored else {}
        if distributed.is_main():
            write_samples(folder, records)
            content = results_content(config.model.name, given, len(records), len(scored), results)
            write_results(folder, content)
            (report or logger.info)(json.dumps(content, indent=2, ensure_ascii=False))
            benchmark.submit(runner, records)
            draw_cases(benchmark, runner, records, given.pictures)
    return {f"{row}/{name}": value for row, values in results.items() for name, value in values.items()}


@contextmanager
def process_group() -> Iterator[None]:
    """Joins the processes of ``torchrun``; does nothing for a single one, or once joined."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    # gloo, since only records are exchanged; the fastest process may wait long for the slowest
    dist.init_process_group("gloo", timeout=timedelta(days=7))
    try:
        yield
    finally:
        dist.destroy_process_group()


def weights_mark(model: torch.nn.Module) -> str:
    """Fingerprint of the weights, the same on each device and in each precision."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in model.state_dict().items():
        some = tensor.detach().flatten()[:: max(1, tensor.numel() // _MARKED)]
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(some.to("cpu", torch.bfloat16).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def files_mark(benchmark: Benchmark) -> str:
    """Fingerprint of the files that custom data are read from; empty for published data.

    Only the first process reads them, since others may write already. The time of a file is ignored: a copy has
    another.
    """
    mark = _contents_mark(benchmark.dataset.sources()) if distributed.is_main() else ""
    return distributed.gathered(mark)[0]


def _contents_mark(files: Iterable[Path]) -> str:
    digest, found = hashlib.blake2b(digest_size=8), False
    for path in sorted(set(files)):
        found = True
        digest.update(f"{path.name} ".encode("utf-8", "surrogateescape"))
        if not path.is_file():
            digest.update(b"is missing ")
            continue
        size = path.stat().st_size
        digest.update(f"{size} ".encode())
        with path.open("rb") as file:
            whole = path.suffix.lower() in _TEXTS or size <= 2 * _ENDS
            for part in iter(partial(file.read, _ENDS), b""):
                digest.update(part)
                if not whole and file.tell() < size - _ENDS:
                    file.seek(size - _ENDS)  # images and videos differ at an end, or in size
    return digest.hexdigest() if found else ""


def settle(folder: Path, model: str, config: EvalConfig, marks: Mapping[str, str]) -> None:
    """Stores what the records in ``folder`` depend on.

    Args:
        marks: name -> fingerprint of its contents.

    Raises:
        ValueError: there are records with other settings; names the difference.
    """
    fault = _settle(folder, model, config, marks) if distributed.is_main() else ""
    if fault := distributed.gathered(fault)[0]:  # all processes stop, or none
        raise ValueError(fault)


def _settle(folder: Path, model: str, config: EvalConfig, marks: Mapping[str, str]) -> str:
    """The difference to the records in ``folder``; empty where there is none."""
    settings = {key: value for key, value in asdict(config).items() if key not in _FREE}
    settings |= {"model": model, "root": str(config.root.resolve()), **marks}
    file = folder / "settings.json"
    if not file.is_file():
        write_json_atomic(file, settings, indent=2)
        return ""
    try:
        before = read_json(file)
    except ValueError as error:
        return str(error)
    for key in settings:
        found = before.get(key) if isinstance(before, dict) else None
        if found != settings[key]:
            return (
                f"{folder} holds an evaluation with {key} {found!r}, not {settings[key]!r}: "
                "remove it, or choose output_dir=..."
            )
    return ""


def _device(config: EvalConfig) -> str | None:
    """The GPU of this process, in turn."""
    if distributed.world_size() > 1 and config.device in (None, "auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
    return config.device


def collect(benchmark: Benchmark, runner: Runner, wanted: Sequence[int]) -> dict[int, ScoreRecord]:
    """The records of the samples ``wanted``, in order, from the logs or from the model.

    Every process must call it; each receives all records.
    """
    done = _of_all(read_logs(runner.folder))  # also waits: no process appends before all have read
    groups = group(benchmark, wanted)
    left = [indices for indices in groups if any(index not in done for index in indices)]
    if len(left) < len(groups):
        logger.info("%d of %d %s were finished before", len(groups) - len(left), len(groups), benchmark.unit)
    mine = left[distributed.rank() :: distributed.world_size()]
    with SampleLog(runner.folder / f"samples.rank{distributed.rank()}.jsonl") as log:
        for indices in reported(mine, benchmark):
            for index, record in zip(indices, benchmark.run(runner, indices), strict=True):
                if index not in done:
                    # two rows of custom data may have the same name
                    named = {**record, "name": f"{record['name']}#{index}", "index": index}
                    done[index] = named
                    log.append(named)
    everything = _of_all(done)
    return {index: everything[index] for index in wanted}


def _of_all(records: dict[int, ScoreRecord]) -> dict[int, ScoreRecord]:
    """The records of all processes."""
    return {index: record for part in distributed.gathered(records) for index, record in part.items()}


def read_logs(folder: Path) -> dict[int, ScoreRecord]:
    """The records of all logs in ``folder`` by sample, without an incomplete last line."""
    records: dict[int, ScoreRecord] = {}
    for file in sorted(folder.glob("samples*.jsonl")):
        for name, record in read_samples(file).items():
            if type(record.get("index")) is not int:
                raise ValueError(f"{file}: the record of {name!r} has no index: it is of another program")
            records[record["index"]] = record
    return records


def group(benchmark: Benchmark, wanted: Sequence[int]) -> list[list[int]]:
    """Groups of samples that share an image or video, in the order of their first sample."""
    groups: dict[str, list[int]] = {}
    for index in wanted:
        groups.setdefault(benchmark.image_key(index), []).append(index)
    return list(groups.values())


def reported(groups: Sequence[list[int]], benchmark: Benchmark) -> Iterator[list[int]]:
    """``groups``, with a progress bar on a terminal and lines in the log, by the first process."""
    if not distributed.is_main():
        yield from groups
        return
    with progress(groups, len(groups), benchmark.unit, benchmark.row) as items:
        yield from _logged(items, len(groups), benchmark)


def _logged(items: Iterable[list[int]], total: int, benchmark: Benchmark) -> Iterator[list[int]]:
    start = last = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= LOG_SECONDS:
            rate = number / (now - start)
            left = timedelta(seconds=round((total - number) / rate))
            logger.info(
                "%s: %d of %d %s, %.2f/s, %s left", benchmark.row, number, total, benchmark.unit, rate, left
            )
            last = now


def write_samples(folder: Path, records: dict[int, ScoreRecord]) -> None:
    """Merges the logs of all processes, in the order of the data set; keeps other samples."""
    parts = sorted(folder.glob("samples.rank*.jsonl"))
    known = read_logs(folder) | records
    lines = (json.dumps(known[index], ensure_ascii=False) for index in sorted(known))
    write_text_atomic(folder / SAMPLES, "".join(f"{line}\n" for line in lines))
    for file in parts:
        file.unlink()


def results_content(
    model: str, config: EvalConfig, samples: int, scored: int, results: ResultTable
) -> dict[str, Any]:
    """Content of ``results.json``."""
    return {
        "model": model,
        "benchmark": config.benchmark,
        "split": config.split,
        "options": config.options,
        "limit": config.limit,
        "samples": samples,
        "scored": scored,
        "results": results,
    }


def write_results(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes ``results.json`` and, beside the paper's figures, ``results.md``."""
    write_json_atomic(folder / "results.json", content, indent=2)
    # a part of a benchmark is not what the paper measured
    part = "" if content["limit"] is None else f", first {content['samples']}"
    part += ", some left out" if content["options"].get("exclude") else ""
    rows = [markdown_rows(f"{row}{part}", values) for row, values in content["results"].items()]
    write_text_atomic(folder / "results.md", "\n".join([TABLE_HEADER, *rows]) + "\n")
    if not rows:
        logger.info("%s: no public ground truth; predictions are in %s", content["benchmark"], folder)


def draw_cases(benchmark: Benchmark, runner: Runner, records: dict[int, ScoreRecord], count: int) -> None:
    """Writes ``cases/{worst,best}_<place>.png``; ties in the order of the data set."""
    scored = {index: record["score"] for index, record in records.items() if "score" in record}
    worst = sorted(scored, key=lambda index: (scored[index], index))
    best = sorted(scored, key=lambda index: (-scored[index], index))
    for kind, order in (("worst", worst), ("best", best)):
        for place, index in enumerate(islice(order, count), 1):
            drawing = benchmark.show(runner, index, records[index])
            save_image(runner.folder / "cases" / f"{kind}_{place:03d}.png", drawing)
