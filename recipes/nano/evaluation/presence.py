"""Presence of ``nano`` on held-out scenes, as ``instructseg calibrate`` reads it.

python -m recipes.nano.evaluation.presence FILE [INSTRUCTIONS]

The instructions are those on whose likes the threshold was chosen: images of the split ``val``, with a target
and without.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from instructseg.files import write_text_atomic
from instructseg.pretrained import load_pretrained
from recipes.nano.config import load_config
from recipes.nano.evaluation.drawn_report import IMAGE_PAIRS, Answers, Source


def main(file: str, instructions: int = 300) -> None:
    """Asks and writes, of each kind so many instructions, a line for each."""
    data = load_config("configs/nano/test.yaml").data
    answers = Answers(*load_pretrained("nano", "cpu"), data)
    lines = [
        json.dumps({"name": f"{kind}-{i}", "presence": one.presence, "is_nothing": not one.has_target})
        for kind in (*IMAGE_PAIRS, "absent")
        for i, one in enumerate(answers[Source(kind, split="val", count=instructions)])
    ]
    write_text_atomic(Path(file), "\n".join([*lines, ""]))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
