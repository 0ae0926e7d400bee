"""``instructseg calibrate``: presence threshold and temperature of weights, fitted on an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from instructseg.cli.errors import reported

if TYPE_CHECKING:
    import numpy as np

Samples = Annotated[
    list[Path],
    typer.Argument(
        metavar="SAMPLES...", help="Files samples.jsonl of 'instructseg eval', with and without targets."
    ),
]


def calibrate_command(
    samples: Samples,
    model: Annotated[Path, typer.Option("--model", "-m", help="Folder of the weights; mini, nano.")],
    answered: Annotated[
        float | None,
        typer.Option(
            "--answered",
            help="Share of instructions with a target that keep their mask, e.g. 0.95; default: the largest "
            "mean of T-acc and N-acc.",
        ),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Store both in the weights' folder.")] = False,
    diagram: Annotated[
        Path | None, typer.Option("--diagram", help="A PNG file for the reliability diagram.", metavar="FILE")
    ] = None,
) -> None:
    """Fit the presence threshold and temperature of weights on an evaluation.

    instructseg calibrate output/eval/samples.jsonl --model my-folder --answered 0.95 --write
    """
    with reported():
        for line in calibrate(samples, model, answered, write, diagram):
            typer.echo(line)


def calibrate(
    samples: list[Path], model: Path, answered: float | None, write: bool, diagram: Path | None = None
) -> list[str]:
    """Fits and, with ``write``, stores; returns the lines of a report.

    The diagram is of the presence that the weights give from then on: as fitted with ``write``, else as it was.

    Raises:
        FileNotFoundError, ValueError: a file is missing, damaged or of another evaluation; all instructions
            have a target, or none; ``write`` with the name of bundled weights.
    """
    from dataclasses import replace

    from instructseg.evaluation import calibration
    from instructseg.files import read_json, write_json_atomic
    from instructseg.processing.processor import CONFIG_NAME
    from instructseg.processing.processor_config import ProcessorConfig

    if diagram is not None and diagram.suffix.lower() != ".png":
        raise ValueError(f"{diagram}: the diagram is a .png file")

    presence, present = _read(samples)
    model = _folder(model, write)
    file = model / CONFIG_NAME
    if not file.is_file():
        raise FileNotFoundError(f"{model} is no folder of weights: it has no {CONFIG_NAME}")
    config = ProcessorConfig.from_dict(read_json(file), str(file))
    before = config.presence_temperature or 1.0
    temperature = calibration.fit_temperature(presence, present)
    fitted = calibration.with_temperature(presence, temperature)
    threshold = round(calibration.fit_threshold(fitted, present, answered), 4)
    there, absent = calibration.accuracies(fitted, present, threshold)
    bins = calibration.reliability(fitted, present)
    lines = [
        f"{len(presence)} instructions, {int(present.sum())} with a target",
        f"temperature {temperature * before:.3f}: calibration error "
        f"{calibration.calibration_error(presence, present):.3f} -> "
        f"{calibration.calibration_error(fitted, present):.3f}",
        f"threshold {threshold:.4f}: T-acc {there:.3f}, N-acc {absent:.3f}",
        "presence  with a target  instructions",
        *(f"{one.presence:8.3f}  {one.share:13.3f}  {one.size:12}" for one in bins),
    ]
    if write:
        stored = replace(
            config, presence_threshold=threshold, presence_temperature=round(temperature * before, 4)
        )
        write_json_atomic(file, stored.to_dict(), indent=2)
        lines.append(f"wrote {file}")
    if diagram is not None:
        _draw(diagram, fitted if write else presence, present)
        lines.append(f"wrote {diagram}")
    return lines


def _folder(model: Path, write: bool) -> Path:
    """The folder of the weights, of bundled ones by their name.

    Raises:
        ValueError: bundled ones would be written.
    """
    from instructseg import hub

    if not hub.is_bundled(str(model)):
        return model
    if write:
        raise ValueError(f"{model} is part of the package: --write needs a copy, which save_pretrained makes")
    return hub.bundled_folder(str(model))


def _draw(diagram: Path, presence: np.ndarray, present: np.ndarray) -> None:
    """Writes the reliability diagram."""
    from instructseg.evaluation import calibration
    from instructseg.media import save_image
    from instructseg.visualization.reliability import draw_reliability

    error = calibration.calibration_error(presence, present)
    title = f"{len(presence)} instructions, calibration error {error:.3f}"
    save_image(diagram, draw_reliability(calibration.reliability(presence, present), title))


def _read(files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Presence ``float[N]`` and whether there is a target ``bool[N]`` of all samples."""
    import numpy as np

    from instructseg.benchmarks.report import read_samples

    presence, present = list[float](), list[bool]()
    for file in files:
        for name, record in read_samples(file).items():
            value, nothing = record.get("presence"), record.get("is_nothing")
            if not isinstance(value, int | float) or not isinstance(nothing, bool) or not 0 <= value <= 1:
                raise ValueError(
                    f"{file}: sample '{name}' has no presence and is_nothing: evaluate masks in images, such "
                    "as grefcoco or custom_images"
                )
            presence.append(float(value))
            present.append(not nothing)
    if not presence:
        raise ValueError(f"{files[0]} holds no sample")
    return np.array(presence), np.array(present)
