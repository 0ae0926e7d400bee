"""Settings of ``instructseg image``, ``video``, ``ask`` and ``demo``: one field per option."""
# ruff: noqa: RUF009  (_option() makes a dataclass field)

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from instructseg.hub import bundled, bundled_folder
from instructseg.jobs import checks
from instructseg.jobs.job_option import job_option as _option
from instructseg.media import MAX_PIXELS
from instructseg.results import DEFAULT_FORMATS, FORMATS, DrawingOptions, format_of_file, parse_formats
from instructseg.structures import Task

IMAGE, VIDEO, DEMO, ASK = "image", "video", "demo", "ask"
_LOADING = (IMAGE, VIDEO, ASK)

TaskChoice = Enum("TaskChoice", {"AUTO": "auto", **{one.name: one.value for one in Task}}, type=str)  # type: ignore[misc]
"""Values of ``--task``."""
VideoTaskChoice = Enum(  # type: ignore[misc]
    "VideoTaskChoice", {"AUTO": "auto", **{one.name: one.value for one in Task if one.has_mask}}, type=str
)
"""Values of ``--task`` for video, without text replies."""


LegendChoice = Enum("LegendChoice", {one.upper(): one for one in ("below", "inside", "none")}, type=str)  # type: ignore[misc]
"""Values of ``--legend``."""


def parse_task(choice: str | None) -> Task | None:
    """The chosen task; ``None`` for auto."""
    return None if choice is None or choice == "auto" else Task(choice)


@dataclass(frozen=True)
class Job:
    """Settings of a segmentation run; the help of each option describes its field."""

    output: Path = _option(
        Path("out"),
        "Folder; or a .png or .mp4 file for the overlay alone, a .json for run lengths.",
        "--output",
        "-o",
        commands=(IMAGE, VIDEO, DEMO),
        affects_results=False,
    )
    model: str | None = _option(
        None,
        "mini or nano (bundled), a folder, or a hub repository; default: mini.",
        "--model",
        "-m",
        commands=(*_LOADING, DEMO),
        affects_results=False,  # marked by its files
    )
    device: str | None = _option(
        None,
        "cpu, cuda, cuda:1, mps; default: the best available.",
        "--device",
        commands=(*_LOADING, DEMO),
        affects_results=False,
    )
    dtype: str | None = _option(
        None,
        "float32, bfloat16, float16, or auto for the fastest; default: by device.",
        "--dtype",
        commands=_LOADING,
    )
    task: Task | None = _option(
        None,
        "Prompt of the model. Image: auto is res, or vqa for questions. Video: auto is rvos.",
        "--task",
        request=True,
        parse=parse_task,
        types={IMAGE: TaskChoice, VIDEO: VideoTaskChoice},
    )
    threshold: float | None = _option(
        None,
        "Presence below which a mask is empty; default: by weights; 0: never.",
        "--threshold",
        commands=_LOADING,
        request=True,
        min=0,
        max=1,
    )
    soft: bool = _option(False, "Write masks as probabilities, 0..255.", "--soft", request=True)
    all_instances: bool | None = _option(
        None,
        "Every object that fits, each with its own mask and id; default: where the prompt means several.",
        "--all/--best",
        request=True,
    )
    consensus: int = _option(
        1,
        "Paraphrases of each prompt, of which most must agree: gives the share that does, hardly better masks.",
        "--consensus",
        commands=(IMAGE,),
        request=True,
        min=1,
        max=8,
    )
    zoom: int = _option(
        1,
        "Look at N x N enlarged parts, too, where several may answer: small objects, 1 + N * N times the time.",
        "--zoom",
        commands=(IMAGE,),
        request=True,
        min=1,
        max=4,
    )
    classes: str | None = _option(
        None,
        'Classes in place of prompts, as "person, dog, the red car", or a file with one per line.',
        "--classes",
        affects_results=False,
    )
    arrange: str | None = _option(
        None,
        "Result for --classes: instance (default), panoptic or semantic; in these two, masks do not overlap.",
        "--arrange",
        request=True,
    )
    edges: bool | None = _option(
        None,
        "Move outlines of masks to edges of the image; default: by weights, off unless they say so.",
        "--edges/--no-edges",
        request=True,
    )
    union: bool = _option(False, "Join the objects that fit in one mask.", "--union", request=True)
    explain: bool = _option(
        False,
        "Write an explanation first, then segment (reason_seg).",
        "--explain",
        "--answer",
        commands=(IMAGE,),
        request=True,
    )
    formats: tuple[str, ...] = _option(
        (),
        f"{', '.join(FORMATS)}; several with commas, or repeated. Default: {','.join(DEFAULT_FORMATS)}. Where "
        "masks overlap, a palette has the one of the higher score.",
        "--format",
        "-f",
        affects_results=False,
        parse=lambda given: parse_formats(given) if given else (),
        types=dict.fromkeys((IMAGE, VIDEO), list[str] | None),
    )
    legend: str = _option(
        "below",
        "Legend of an overlay: below the frame; inside, over its bottom; or none.",
        "--legend",
        types=dict.fromkeys((IMAGE, VIDEO), LegendChoice),
        parse=lambda choice: getattr(choice, "value", choice),
    )
    edge: int = _option(
        0,
        "Pixels along outlines that a palette has as 255, ignore; voc has 2.",
        "--edge",
        min=0,
        max=99,
    )
    audio: bool = _option(
        True, "Copy the sound to the written videos.", "--audio/--no-audio", commands=(VIDEO,)
    )
    overwrite: bool = _option(
        False,
        "Replace results of earlier runs.",
        "--overwrite",
        commands=(IMAGE, VIDEO, DEMO),
        affects_results=False,
    )
    fps: float | None = _option(
        None,
        "Frames per second; default: by file, 24 for a folder of frames.",
        "--fps",
        commands=(VIDEO,),
    )
    llm_stride: int | str = _option(
        1,
        "Run the language model on every k-th frame, or auto: faster, less exact.",
        "--llm-stride",
        commands=(VIDEO,),
        request=True,
        types={VIDEO: str},
    )
    keep_tokens: float = _option(
        1.0,
        "Share of an image's tokens that the language model reads: faster, less exact below 1.",
        "--keep-tokens",
        request=True,
        min=0.01,
        max=1,
    )
    speed: str = _option(
        "exact",
        "exact, balanced or fast: sets --llm-stride and --keep-tokens.",
        "--speed",
        commands=(VIDEO,),
        request=True,
    )
    spacing: int | None = _option(
        None,
        "Frames between references; default: 1/6 second of a file, 1 in a folder.",
        "--spacing",
        commands=(VIDEO,),
        request=True,
        min=1,
    )
    smooth: float = _option(
        0.0,
        "Share of the frame before in the mask of an object, moved on with it; 0.3 steadies outlines.",
        "--smooth",
        commands=(VIDEO,),
        request=True,
        min=0,
        max=0.95,
    )
    track: str = _option(
        "off", "Carry masks on: flow, sam2.1-tiny, SAM 2 weights.", "--track", commands=(VIDEO,), request=True
    )
    compile: bool = _option(
        False,
        "Compile the model first: pays off on long videos. Needs a C++ compiler.",
        "--compile",
        commands=(VIDEO,),
        affects_results=False,
    )
    quantize: str | None = _option(
        None, "int8 or int4 weights for the language model.", "--quantize", "--quantise", commands=_LOADING
    )
    max_memory: str | None = _option(
        None,
        "Memory budget, e.g. 6GB; dtype, quantization and batch size are chosen to fit.",
        "--max-memory",
        commands=_LOADING,
        affects_results=False,
    )
    recursive: bool = _option(
        False, "Search input folders recursively.", "--recursive", "-r", affects_results=False
    )
    json: bool = _option(
        False,
        "Print the summary as JSON, one line per input.",
        "--json",
        commands=(*_LOADING, DEMO),
        affects_results=False,
    )
    threads: int | None = _option(
        None,
        "CPU threads; default: torch's choice.",
        "--threads",
        commands=_LOADING,
        affects_results=False,
        min=1,
    )
    max_pixels: int = _option(
        MAX_PIXELS,
        "Largest image or frame; larger ones are refused.",
        "--max-pixels",
        commands=_LOADING,
        affects_results=False,
        min=1,
    )
    prompts: Path | None = _option(
        None,
        "Text file with one prompt per line, or CSV, TSV or XLSX with a column 'prompt'; with a column 'image' "
        "or 'video', of its own inputs.",
        "--prompts",
        affects_results=False,
        metavar="FILE",
    )
    yes: bool = _option(
        False, "Take one-word prompts as they are.", "--yes", "-y", commands=_LOADING, affects_results=False
    )

    def request(self) -> dict[str, Any]:
        """Options of a prediction, each only where it differs from its default."""
        shown = [one for one in fields(self) if one.metadata["request"]]
        given = {one.name: getattr(self, one.name) for one in shown}
        return {one.name: given[one.name] for one in shown if str(given[one.name]) != str(one.default)}

    def has_sound(self, sound: str | None) -> bool:
        """Whether the sound of a video is copied: at another speed, it would not fit."""
        return sound is not None and self.audio and self.fps is None

    def drawing(self) -> DrawingOptions:
        """Settings of written masks and overlays."""
        return {"soft": self.soft, "legend": self.legend, "edge": self.edge}  # type: ignore[typeddict-item]

    def marks(self) -> dict[str, Any]:
        """Settings that affect the results, as JSON values."""
        kept = {one.name for one in fields(self) if one.metadata["affects"]}
        settings = {name: value for name, value in asdict(self).items() if name in kept}
        return json.loads(json.dumps({"model": _model_mark(self.model), **settings}, default=str))  # type: ignore[no-any-return]


def checked(job: Job, prompts: Sequence[str]) -> Job:
    """The job with task and formats filled in, checked without the model.

    Raises:
        ValueError: an empty prompt, or an option out of range.
    """
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise ValueError('a prompt is empty: say what to look for, as in "the red circle"')
    checks.check_text("prompt", prompts)
    check_options(job)
    if job.classes is not None and job.arrange is None:
        job = replace(job, arrange="instance")
    if job.classes is None and job.arrange is not None:
        raise ValueError("--arrange is for classes: name them with --classes")
    job = replace(job, formats=job.formats or _default_formats(job.output))
    for name in parse_formats(job.formats):
        FORMATS[name].check(prompts)
    if not job.explain:
        return job
    if job.task not in (None, Task.REASON_SEG):
        raise ValueError(f"task '{job.task.value}' has no explanation: it goes with 'reason_seg'")
    return replace(job, task=Task.REASON_SEG)


def check_options(job: Job) -> None:
    """Checks the value of every option, without torch.

    Raises:
        ValueError: one is out of range.
    """
    checks.check_text("output, model or track", [job.output, job.model or "", job.track])
    checks.check_device(job.device)
    checks.check_dtype(job.dtype)
    checks.check_quantization(job.quantize)
    checks.check_memory(job.max_memory)
    checks.check_choice("arrange", job.arrange, ("instance", "panoptic", "semantic"), {})
    checks.check_stride(job.llm_stride)
    checks.check_choice("speed", job.speed, checks.SPEEDS, {})
    checks.check_fps(job.fps)
    checks.check_share("threshold", job.threshold)
    checks.check_count("spacing", job.spacing, checks.MAX_FRAMES)
    checks.check_count("threads", job.threads, checks.max_threads())


def _default_formats(output: Path) -> tuple[str, ...]:
    """Formats without ``--format``: of one file, the format of that file."""
    single = format_of_file(output)
    return DEFAULT_FORMATS if single is None else (single,)


def _model_mark(model: str | None) -> list[Any]:
    """Fingerprint of weights: their name, and of a folder the sizes and times of its weight files."""
    shipped = bundled(model)
    folder = bundled_folder(model) if shipped else Path(model or "")
    if not folder.is_dir():
        return [model]
    files = [(file.name, file.stat()) for file in sorted(folder.glob("*.safetensors"))]
    name = shipped or str(folder.resolve())
    return [name, *([file, status.st_size, status.st_mtime_ns] for file, status in files)]
