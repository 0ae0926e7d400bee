"""Summaries of results, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import typer

from instructseg.jobs import checks
from instructseg.jobs.faults import SOME_FAILED
from instructseg.prediction import Prediction


@dataclass
class Summary:
    """Results on one image or video.

    Attributes:
        source: the input.
        files: written files and folders.
        frames: number of frames.
        prompts: for each its text, whether it was found in any frame, the number of objects where there are
            several, and means over the frames: score of the best, presence, share of the pixels; or its reply;
            the system that answered, if it is another, and whether the answer is an image.
        notes: remarks about the results.
        error: reason for missing results.
        several: whether it is one of several inputs, and shown with its name.
    """

    source: str
    files: list[str] = field(default_factory=list)
    frames: int = 0
    prompts: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    several: bool = False
    _ids: list[set[int]] = field(default_factory=list, repr=False)

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Adds the predictions on one frame."""
        by_prompt: dict[int, list[Prediction]] = {}
        for one in predictions:
            by_prompt.setdefault(one.instruction_id, []).append(one)
        if not self.frames:
            self.prompts = [{"prompt": some[0].instruction, "found": False} for some in by_prompt.values()]
            self._ids = [set() for _ in by_prompt]
        self.frames += 1
        for entry, ids, some in zip(self.prompts, self._ids, by_prompt.values(), strict=True):
            best, covered = some[0], np.any([one.mask for one in some], axis=0)
            values = {"score": best.score, "presence": best.presence, "area": float(covered.mean())}
            for name, value in values.items():
                mean = entry.get(name, 0.0)
                entry[name] = mean + (value - mean) / self.frames
            entry["found"] = entry["found"] or bool(covered.any())
            ids.update(one.id for one in some if one.found)
            if len(ids) > 1:
                entry["objects"] = len(ids)
            if best.system:
                entry["system"] = best.system
            if best.drawn is not None:
                entry["drawn"] = True
            if best.text is not None:
                entry["answer"] = best.text

    def reply(self, prompts: Sequence[str], replies: Mapping[int, str]) -> None:
        """Inserts text replies at their places among the prompts."""
        for place, text in sorted(replies.items()):
            self.prompts.insert(place, {"prompt": prompts[place], "answer": text})
        if any(not text.strip() for text in replies.values()):
            self.notes.append("these weights wrote no words to a question: they may not have learned to")

    def to_json(self) -> str:
        """One line of JSON, in ASCII for any terminal or pipe."""
        values = asdict(self)
        del values["several"], values["_ids"]
        for name in ("notes", "error"):
            if not values[name]:
                del values[name]
        return json.dumps(_plain(values))

    def to_text(self) -> str:
        """A line per prompt, note and file; with several inputs, the name of this one first."""
        lines = [f"{self.source}:"] if self.several else []
        for entry in self.prompts:
            values = [f"{name} {entry[name]:.3f}" for name in ("score", "presence", "area") if name in entry]
            if "drawn" in entry and not entry["found"]:
                values = ["an image"]
            elif entry.get("found") is False:
                values.insert(0, "nothing found")
            elif "objects" in entry:
                values.insert(0, f"{entry['objects']} objects")
            values += [f"by {entry['system']}"] if "system" in entry else []
            lines.append(f"{entry['prompt']}: {', '.join(values)}" if values else entry["prompt"])
            if "answer" in entry:  # weights not trained to write give an empty one
                lines.append(f"  {entry['answer'].strip() or '(no text)'}")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join([*lines, *(f"wrote {file}" for file in self.files)])


def show_all(summaries: Iterable[Summary], as_json: bool, unit: str) -> None:
    """Prints each summary as it comes.

    Raises:
        SystemExit: some inputs failed; their number is printed.
    """
    failed: list[Summary] = []
    count = 0
    for count, summary in enumerate(summaries, 1):  # noqa: B007
        failed += [summary] * (summary.error is not None)
        if summary.error is not None and not as_json:
            named = "" if summary.source in summary.error else f"{summary.source}: "
            typer.echo(f"error: {named}{summary.error}", err=True)
        else:
            show(summary, as_json)
    if failed:
        show_failures([(one.source, str(one.error)) for one in failed], count, unit)
        raise SystemExit(SOME_FAILED)


def show_failures(failures: Sequence[tuple[str, str]], count: int, unit: str) -> None:
    """Prints a table of failed inputs with their reasons on stderr, and their number."""
    widest = min(60, max(len(source) for source, _ in failures))
    typer.echo(f"{'failed':{widest}}  reason", err=True)
    for source, reason in failures:
        typer.echo(f"{source:{widest}}  {reason.removeprefix(source).strip()}", err=True)
    others = ", the others are done" * (len(failures) < count)
    typer.echo(f"error: {len(failures)} of {count} {unit} failed{others}", err=True)


def show(summary: Summary, as_json: bool) -> None:
    """Prints a summary on stdout."""
    typer.echo(summary.to_json() if as_json else summary.to_text())


def _plain(value: Any) -> Any:
    """The same with ``None`` for NaN and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return checks.finite(value) if isinstance(value, float) else value
