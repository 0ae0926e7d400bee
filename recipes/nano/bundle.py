"""Makes the bundled folder from the export of a run: ``python -m recipes.nano.bundle --help``.

Thresholds stay those of the bundled weights until ``instructseg calibrate`` and
``recipes.nano.evaluation.all_objects`` fit others; the words that were met in training are written beside them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from instructseg.hub import DRAWN_MODEL
from instructseg.pretrained import load_pretrained
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Task
from recipes.nano.language.synonyms import SYNONYMS
from recipes.nano.language.word_tokenizer import reading
from recipes.nano.lessons.corpus import met_words


def bundle(model: Path, output: Path, before: float = 0.0) -> None:
    """Writes weights in half precision, and the processor of the bundled ones.

    Args:
        model: folder of the export of a run.
        output: folder that receives the files; it may be that of the bundled weights.
        before: share of the bundled weights in the mean with those of the run, 0..1.
    """
    trained, _ = load_pretrained(str(model), "cpu", torch.float32)
    if before:
        bundled, _ = load_pretrained(str(DRAWN_MODEL), "cpu", torch.float32)
        kept = bundled.state_dict()
        mixed = {
            name: value.lerp(kept[name], before) if value.is_floating_point() else value
            for name, value in trained.state_dict().items()
        }
        trained.load_state_dict(mixed)
    processor = InstructSegProcessor.from_pretrained(DRAWN_MODEL)
    backend = getattr(processor.tokenizer, "backend_tokenizer")  # noqa: B009  # of fast tokenizers
    backend.normalizer = reading(SYNONYMS)
    processor.config = replace(processor.config, words=met_words(), text_tasks=(Task.VQA,))
    trained.half().save_pretrained(output)
    processor.save_pretrained(output)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=DRAWN_MODEL, help="export of a run")
    parser.add_argument("--before", type=float, default=0.0, help="share of the bundled weights in the mean")
    parser.add_argument("--output", type=Path, default=DRAWN_MODEL)
    arguments = parser.parse_args()
    bundle(arguments.model, arguments.output, arguments.before)


if __name__ == "__main__":
    main()
