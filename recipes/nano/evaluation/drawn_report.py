"""The table of a model on drawn scenes: each kind of instruction, and each way in which the data may differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructseg.evaluation.sums import mean
from instructseg.files import write_json_atomic, write_text_atomic
from instructseg.log import get_logger
from instructseg.processing.templates import Wording
from instructseg.progress import progress
from recipes.nano.config import DrawnConfig, NanoDataConfig
from recipes.nano.evaluation.bootstrap import interval
from recipes.nano.evaluation.drawn import Outcome, measure
from recipes.nano.evaluation.held_out import ANSWERED, presence_threshold, synthetic_dataset
from recipes.nano.evaluation.plain_drawings import PlainDrawings
from recipes.nano.synthetic import RENDERERS, SPLITS

if TYPE_CHECKING:
    from instructseg.processing import InstructSegProcessor

logger = get_logger(__name__)

RES_KINDS = ("attribute", "relation", "superlative", "ordinal")
REASON_SEG_KINDS = ("knowledge", "function", "odd")
REASON_VOS_KINDS = ("leading", "leaving", "parked", "speed")
IMAGE_PAIRS = ("attribute", "relation", "knowledge")
CLIP_PAIRS = ("attribute", "motion")
"""Kinds of which ``absent`` has counterparts that nothing answers."""
TABLES = (
    "res",
    "reason_seg",
    "rvos",
    "reason_vos",
    "no_target",
    "question",
    "composition",
    "wording",
    "renderer",
    "drawings",
)
TABLE, RESULTS = "drawn.md", "drawn.json"
"""Files that an evaluation leaves."""
_MANY = 10**6  # scenes, more than are ever asked for
_DRAWINGS = 7, 4  # drawings to the instructions of a row: not all can be asked for all


@dataclass(frozen=True)
class Source:
    """Choice of instructions.

    Attributes:
        is_clip: whether on videos.
        wording: ``seen`` or ``unseen``.
        held_out: whether all are on pairs of colour and shape that no training scene shows.
        renderer: what draws the scenes.
        whole: whether all frames of a video are measured.
        copies: whether copies of the key frame stand in for the references.
        template: of the processor, what is said around the instruction.
    """

    kind: str
    is_clip: bool = False
    split: str = "test"
    count: int = 300
    wording: str = "seen"
    held_out: bool = False
    renderer: str = "own"
    whole: bool = False
    copies: bool = False
    template: Wording = "released"

    def describe(self) -> str:
        """Kind and number, and whatever is not as usual."""
        usual = Source(self.kind, self.is_clip, count=self.count)
        differs = [f"{name} {value}" for name, value in asdict(self).items() if value != getattr(usual, name)]
        what = "clips" if self.is_clip else "images"
        return ", ".join([f"{self.count} {self.kind} on {what}", *differs])


@dataclass(frozen=True)
class Figure:
    """A row of the table.

    Attributes:
        value: of the metric, 0..1 (a gain may be negative).
        low, high: bounds of the bootstrap over scenes, 95 %.
        chance: the value of a guess; ``None`` where there is none.
        scenes: that they are on.
        forms: form of instruction -> value and number.
    """

    value: float
    metric: str
    low: float
    high: float
    chance: float | None
    n: int
    scenes: int
    forms: dict[str, dict[str, float]] = field(default_factory=dict)


class Answers:
    """The outcomes of sources, measured when they are first asked for."""

    def __init__(
        self, model: Any, processor: InstructSegProcessor, data: NanoDataConfig, threshold: float | None = None
    ) -> None:
        self.model, self.processor, self.data = model, processor, data
        self.threshold = (processor.config.presence_threshold or 0.0) if threshold is None else threshold
        self._found: dict[Source, list[Outcome]] = {}

    def __getitem__(self, source: Source) -> list[Outcome]:
        """Outcomes of ``source.count`` instructions or, to the end of a scene, a few more."""
        if source not in self._found:
            start = time.perf_counter()
            config = replace(self.processor.config, wording=source.template)
            processor = type(self.processor)(self.processor.tokenizer, config)
            found = measure(
                self.model, processor, self._dataset(source), source.count, source.whole, source.copies,
                self.threshold,
            )  # fmt: skip
            label = source.describe()
            with progress(found, None, "instructions", label) as shown:
                self._found[source] = list(shown)
            logger.info("%s: %.0f s", label, time.perf_counter() - start)
        return self._found[source]

    def _dataset(self, source: Source) -> Any:
        return synthetic_dataset(
            self.data, source.split, source.is_clip, _MANY, {source.kind: 1.0}, {"held_out": source.held_out},
            wording=source.wording, renderer=source.renderer,
        )  # fmt: skip

    def all_of(self, kinds: Iterable[str], source: Source) -> list[Outcome]:
        """Outcomes of ``source`` for each of the kinds."""
        return [one for kind in kinds for one in self[replace(source, kind=kind)]]


def figure(outcomes: Sequence[Outcome], metric: str, forms: bool = True) -> Figure:
    """The mean score of outcomes, or their cumulative IoU where the metric is ``cIoU``; forms have mean scores.

    The chance of questions is that of saying the most frequent right reply of each form.
    """
    scenes = [one.scene for one in outcomes]
    if metric == "cIoU":
        above, below = [float(one.intersection) for one in outcomes], [float(one.union) for one in outcomes]
        guessed = sum(one.chance_intersection for one in outcomes)
        of = sum(one.chance_union for one in outcomes)
    else:
        above, below = [one.score for one in outcomes], [1.0] * len(outcomes)
        guessed, of = sum(one.chance for one in outcomes), float(len(outcomes))
    by_form: dict[str, list[Outcome]] = {}
    for one in outcomes:
        by_form.setdefault(one.form, []).append(one)
    if metric == "accuracy":
        replies = [[one.answer for one in some] for some in by_form.values()]
        guessed = sum(max(map(some.count, some)) for some in replies)
    parts = {
        form: {"value": mean(one.score for one in some), "n": len(some)}
        for form, some in sorted(by_form.items())
    }
    return Figure(
        sum(above) / max(1e-9, sum(below)), metric, *interval(above, below, scenes),
        guessed / max(1, of), len(outcomes), len(set(scenes)), parts if forms else {},
    )  # fmt: skip


def part(outcomes: Sequence[Outcome], metric: str, holds: Callable[[Outcome], bool], chance: float) -> Figure:
    """The part of outcomes for which something holds."""
    return figure([replace(one, score=float(holds(one)), chance=chance) for one in outcomes], metric)


def tables(answers: Answers, config: DrawnConfig) -> dict[str, Callable[[], dict[str, Figure]]]:
    """Name of each part of the table -> what measures it; rows are named ``<table>/<row>``."""
    image = Source("attribute", split=config.split, count=config.instructions)
    clip = replace(image, is_clip=True)
    whole = replace(clip, whole=True)

    def each(name: str, kinds: Sequence[str], source: Source, metric: str, joined: str) -> dict[str, Figure]:
        rows = {name: figure(answers.all_of(kinds, source), joined)}
        return rows | {f"{name}/{kind}": figure(answers[replace(source, kind=kind)], metric) for kind in kinds}

    def rvos() -> dict[str, Figure]:
        twins = replace(whole, kind="motion")
        moving, still = answers[twins], answers[replace(twins, copies=True)]
        gains = [replace(a, score=a.score - b.score, chance=0.0) for a, b in zip(moving, still, strict=True)]
        return {
            "rvos/appearance": figure(answers[whole], "J&F"),
            "rvos/twins": figure(moving, "J&F"),
            "rvos/twins, references replaced": figure(still, "J&F"),
            "rvos/twins, gain by references": figure(gains, "J&F"),
        }

    def question() -> dict[str, Figure]:
        outcomes = answers[replace(image, kind="question")]
        rows = {"question": figure(outcomes, "accuracy")}
        for form in sorted({one.form for one in outcomes}):
            rows[f"question/{form}"] = figure([one for one in outcomes if one.form == form], "accuracy", False)
        return rows

    def composition() -> dict[str, Figure]:
        return {
            "composition/seen": figure(answers[image], "gIoU"),
            "composition/held out": figure(answers[replace(image, held_out=True)], "gIoU"),
        }

    return {
        "res": lambda: each("res", RES_KINDS, image, "gIoU", "cIoU"),
        "reason_seg": lambda: each("reason_seg", REASON_SEG_KINDS, image, "gIoU", "gIoU"),
        "rvos": rvos,
        "reason_vos": lambda: each("reason_vos", REASON_VOS_KINDS, whole, "J&F", "J&F"),
        "no_target": lambda: _no_target(answers, image, clip),
        "question": question,
        "composition": composition,
        "wording": lambda: _wording(answers, image, clip),
        "renderer": lambda: _renderer(answers, image, whole),
        "drawings": lambda: _drawings(answers, image, clip),
    }


def _threshold(answers: Answers, image: Source, clip: Source) -> float:
    """The presence below which nothing is said to answer, chosen on the validation split."""
    image, clip = (replace(source, split="val") for source in (image, clip))
    return presence_threshold(answers.all_of(IMAGE_PAIRS, image) + answers.all_of(CLIP_PAIRS, clip), ANSWERED)


def _no_target(answers: Answers, image: Source, clip: Source) -> dict[str, Figure]:
    threshold = _threshold(answers, image, clip)
    logger.info("threshold of presence, chosen on the split val: %.3f", threshold)
    pictures = answers[replace(image, kind="absent")], answers.all_of(IMAGE_PAIRS, image)
    clips = answers[replace(clip, kind="absent")], answers.all_of(CLIP_PAIRS, clip)
    rows = {}
    for name, (absent, present) in (
        ("no_target", (pictures[0] + clips[0], pictures[1] + clips[1])),
        ("no_target/image", pictures),
        ("no_target/clip", clips),
    ):
        rows[name] = part(absent, "N-acc", lambda one: one.presence < threshold, 1 - ANSWERED)
        rows[f"{name}, with target"] = part(present, "T-acc", lambda one: one.presence >= threshold, ANSWERED)
    strange = answers[replace(image, kind="unknown", wording="unseen")]
    rows["no_target/unknown words"] = part(strange, "N-acc", lambda one: one.presence < threshold, 1 - ANSWERED)
    return rows


def _wording(answers: Answers, image: Source, clip: Source) -> dict[str, Figure]:
    """Phrases kept from training beside the usual ones; videos on their key frames."""
    rows = {}
    asked = [replace(image, kind=kind) for kind in (*RES_KINDS, *REASON_SEG_KINDS, "question", "absent")]
    asked += [replace(clip, kind=kind) for kind in (*CLIP_PAIRS, *REASON_VOS_KINDS, "absent")]
    for source in asked:
        name = f"wording/{'clip' if source.is_clip else 'image'} {source.kind}"
        for wording in ("seen", "unseen"):
            outcomes = answers[replace(source, wording=wording)]
            if source.kind == "absent":
                threshold = _threshold(answers, image, clip)
                row = part(outcomes, "N-acc", lambda one, t=threshold: one.presence < t, 1 - ANSWERED)  # type: ignore[misc]
            else:
                row = figure(outcomes, "accuracy" if source.kind == "question" else "gIoU")
            rows[f"{name}, {wording}"] = row
    for name, source in (("image", image), ("clip", clip)):
        outcomes = answers[replace(source, template="held_out")]
        rows[f"wording/{name} attribute, unseen template"] = figure(outcomes, "gIoU")
    return rows


def _renderer(answers: Answers, image: Source, whole: Source) -> dict[str, Figure]:
    """The same kinds drawn by other means."""
    rows = {}
    for renderer in RENDERERS:
        drawn = replace(image, renderer=renderer)
        for name, kinds in (("res", RES_KINDS), ("reason_seg", REASON_SEG_KINDS)):
            count = drawn.count if renderer == "own" else -(-drawn.count // len(kinds))
            outcomes = answers.all_of(kinds, replace(drawn, count=count))
            rows[f"renderer/{renderer}, {name}"] = figure(outcomes, "gIoU")
        if renderer in ("own", "second"):
            for name, kind in (("appearance", "attribute"), ("twins", "motion")):
                outcomes = answers[replace(whole, kind=kind, renderer=renderer)]
                rows[f"renderer/{renderer}, {name}"] = figure(outcomes, "J&F")
    return rows


def _drawings(answers: Answers, image: Source, clip: Source) -> dict[str, Figure]:
    """Images made without the generator, see :mod:`recipes.nano.evaluation.plain_drawings`; forms are radii."""
    drawings = PlainDrawings(-(-image.count * _DRAWINGS[0] // _DRAWINGS[1]), SPLITS.index(image.split))
    outcomes = list(measure(answers.model, answers.processor, drawings, threshold=answers.threshold))
    threshold = _threshold(answers, image, clip)
    of = {kind: [one for one in outcomes if one.kind == kind] for kind in sorted({o.kind for o in outcomes})}
    rows = {}
    for kind, some in of.items():
        if kind != "absent":
            metric = "gIoU" if some[0].has_target else "accuracy"
            rows[f"drawings/{kind}"] = figure(some, metric)
    for answer in ("yes", "no"):
        some = [one for one in of["is there"] if one.answer == answer]
        rows[f"drawings/is there, {answer}"] = replace(figure(some, "accuracy"), chance=0.5)
    rows["drawings/absent"] = part(of["absent"], "N-acc", lambda one: one.presence < threshold, 1 - ANSWERED)
    present = [one for one in outcomes if one.has_target and one.kind.startswith("mask")]
    rows["drawings/absent, with target"] = part(
        present, "T-acc", lambda one: one.presence >= threshold, ANSWERED
    )
    return dict(sorted(rows.items()))


def evaluate(
    model: Any,
    processor: InstructSegProcessor,
    data: NanoDataConfig | None = None,
    config: DrawnConfig | None = None,
    folder: Path | None = None,
) -> dict[str, float]:
    """Measures a model on drawn scenes.

    Args:
        config: how many instructions, and which parts of the table.
        folder: receives ``drawn.json`` and ``drawn.md``, anew after each part; ``None`` to write nothing.

    Returns:
        ``<row>/<metric>`` -> value, and ``<row>/low``, ``high``, ``chance`` and ``n``.

    Raises:
        ValueError: there is no such part.
    """
    data, config = data or NanoDataConfig(), config or DrawnConfig()
    unknown = set(config.tables) - set(TABLES)
    if unknown:
        raise ValueError(f"unknown table {sorted(unknown)[0]!r}: there are {', '.join(TABLES)}")
    start, answers = time.perf_counter(), Answers(model, processor, data, config.threshold)
    rows: dict[str, Figure] = {}
    for name, measured in tables(answers, config).items():
        if name in (config.tables or TABLES):
            rows |= measured()
            if folder is not None:
                seconds = round(time.perf_counter() - start, 1)
                found = {
                    "split": config.split,
                    "threshold": answers.threshold,
                    "seconds": seconds,
                    "rows": {k: asdict(r) for k, r in rows.items()},
                }
                write_json_atomic(folder / RESULTS, found, indent=2)
                write_text_atomic(folder / TABLE, markdown(rows))
    values: dict[str, float] = {}
    for key, row in rows.items():
        values |= {f"{key}/{row.metric}": row.value, f"{key}/low": row.low, f"{key}/high": row.high}
        values |= {f"{key}/n": row.n} | ({} if row.chance is None else {f"{key}/chance": row.chance})
    return values


def markdown(rows: dict[str, Figure]) -> str:
    """The table in percent."""
    lines = ["| instructions | metric | value | 95 % interval | chance | n |", "|---|---|---:|---:|---:|---:|"]
    for name, row in rows.items():
        bounds = f"{100 * row.low:.1f} to {100 * row.high:.1f}"
        chance = "–" if row.chance is None else f"{100 * row.chance:.1f}"
        lines.append(f"| {name} | {row.metric} | {100 * row.value:.1f} | {bounds} | {chance} | {row.n} |")
    return "\n".join(lines) + "\n"
