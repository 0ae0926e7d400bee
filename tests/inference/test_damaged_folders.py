"""Model folders with a mutation of any file: the same answer as before, or one line that says what is wrong."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from instructseg.inference import ImagePredictor
from instructseg.model import InstructSeg
from instructseg.pretrained import load_pretrained
from instructseg.processing import InstructSegProcessor

Pair = tuple[InstructSeg, InstructSegProcessor]
WRONG: tuple[Any, ...] = (
    None, True, -1, 10**30, 1e300, float("nan"), "", "no such value", [], [[None]], {}, {"a": 1}, "float31",
)  # fmt: skip
SAME_KIND = (bool, int, float, str)
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


@pytest.fixture(scope="module")
def sharded(nano: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in shards with an index."""
    folder = tmp_path_factory.mktemp("sharded")
    ImagePredictor(*nano).save_pretrained(folder, max_shard_size="6MB")
    return folder


def answer(folder: Path) -> torch.Tensor:
    """What the model in a folder says of an image."""
    (found,) = ImagePredictor(*load_pretrained(folder, "cpu")).predict(IMAGE, "the red circle", soft=True)
    return torch.from_numpy(found.probability)


def damage_json(chance: random.Random, value: Any) -> Any:
    """The content of a JSON file with a key removed, or a value of another kind in its place."""
    place, key = value, chance.choice(sorted(value))
    while isinstance(place[key], dict) and place[key] and chance.random() < 0.8:
        place = place[key]
        key = chance.choice(sorted(place))
    if chance.random() < 0.4:
        del place[key]
    else:  # another value of the same kind may be that of another, valid model
        wrong = [
            entry for entry in WRONG if type(entry) is not type(place[key]) or type(entry) not in SAME_KIND
        ]
        place[key] = chance.choice(wrong)
    return value


def damage(chance: random.Random, file: Path) -> str:
    """Mutates a file; says how."""
    raw = file.read_bytes()
    ways = ["removed", "cut", "random", "deep", "other"] + ["values"] * 5
    way = chance.choice(ways)
    if way == "removed":
        file.unlink()
    elif way == "cut":
        file.write_bytes(raw[: chance.randrange(len(raw))])
    elif way == "random":
        file.write_bytes(chance.randbytes(200))
    elif way == "deep":
        file.write_bytes(b'{"a":' * 100_000)
    elif way == "other":
        file.write_text(json.dumps(chance.choice([None, 3, [], "x", {}])))
    elif file.suffix == ".json":
        file.write_text(json.dumps(damage_json(chance, json.loads(raw))))
    else:
        length = int.from_bytes(raw[:8], "little")
        text = json.dumps(damage_json(chance, json.loads(raw[8 : 8 + length]))).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])
    return f"{file.name} {way}"


@pytest.mark.parametrize("seed", range(3))
def test_mutations(seed: int, sharded: Path, tmp_path: Path) -> None:
    chance = random.Random(seed)
    wanted = answer(sharded)
    refused = 0
    for case in range(12):
        folder = tmp_path / str(case)
        shutil.copytree(sharded, folder)
        how = damage(chance, chance.choice(sorted(folder.iterdir())))
        try:
            assert torch.equal(answer(folder), wanted), how
        except (FileNotFoundError, ValueError) as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 900, how
        shutil.rmtree(folder)
    assert refused > 3
