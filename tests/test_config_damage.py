"""Configurations that are no such thing: always one line that names the file or the command line."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from instructseg.config import load_config

MODEL = "model: {name: nano}\n"
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
FILLED = "x0: abcdefghij\n" + "".join(f"x{i}: '${{x{i - 1}}}${{x{i - 1}}}'\n" for i in range(1, 60))
NESTED = "x0: {a: 1}\n" + "".join(f"x{i}: {{a: '${{x{i - 1}}}', b: '${{x{i - 1}}}'}}\n" for i in range(1, 60))
RELATIVE = "s:\n  x0: abcdefghij\n" + "".join(f"  x{i}: '${{.x{i - 1}}}${{.x{i - 1}}}'\n" for i in range(1, 60))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("_base_: [1]", r"run.yaml: _base_: expected the name of a file, got \[1\]"),
        ("_base_: 3", r"run.yaml: _base_: expected the name of a file, got 3"),
        ("1: 2", r"run.yaml: the key 1 is no word"),
        ("data: {2: 3}", r"run.yaml: data: the key 2 is no word"),
        ("data: " + "[" * 5000, r"run.yaml: nested more than 40 deep"),
        ("data: " + "{a: " * 3000, r"run.yaml: nested more than 40 deep"),
        (LAUGHS, r"run.yaml: more than 50,000 values"),
        ("a: &a [*a]", r"run.yaml: the anchor 'a' is used inside itself"),
        ("a: &a {b: *a}", r"run.yaml: the anchor 'a' is used inside itself"),
        (FILLED, r"cannot fill in an interpolation: they grow beyond 1,000,000"),
        (NESTED, r"cannot fill in an interpolation: they grow beyond 1,000,000"),
        (RELATIVE, r"cannot fill in an interpolation: they grow beyond 1,000,000"),
        ("seed: ${seed}", r"cannot fill in an interpolation"),
        ("train: {optim: {lr: .nan}}", r"run.yaml: train.optim.lr: expected a finite number, got nan"),
        ("train: {max_loss_ratio: .inf}", r"train.max_loss_ratio: expected a finite number, got inf"),
        ("model: {name: nano, overrides: {x: [.inf]}}", r"model.overrides.x.0: expected a finite number"),
        (
            "train: {max_steps: 99999999999999999999999}",
            r"train.max_steps: a whole number of more than 64 bits",
        ),
        ("train: {max_steps: 1000000000000}", r"train: max_steps must be at most 1,000,000,000"),
        (
            "criterion: {num_points: 100000000000}",
            r"criterion: num_points times oversample_ratio must be at most",
        ),
        ("data: {batch_size: 0}", r"run.yaml: data: batch_size must be at least 1, got 0"),
        ("data: {batch_size: 1000000000}", r"batch_size must be at most 65,536"),
        ("data: {seed: -1}", r"run.yaml: data: seed must not be negative"),
        ("train: {optim: {betas: [2, 3]}}", r"train.optim: betas must be in \[0, 1\)"),
        ("seed: !!int x", r"run.yaml: not YAML: invalid literal"),
        ("seed: !!python/object:os.system x", r"run.yaml: not YAML: could not determine a constructor"),
        ("? [1]\n: 2", r"run.yaml: not YAML"),
        ("--- 1\n--- 2", r"run.yaml: not YAML"),
        ("\x01", r"run.yaml: not YAML"),
        ("stages: {../x: {}}", r"stage '../x': a stage is a folder of the run"),
        ("stages: {..: {}}", r"stage '..': a stage is a folder of the run"),
        ("stages: {model: {}}", r"stage 'model': a stage is a folder of the run"),
        ("stages: {'a/b': {}}", r"stage 'a/b': a stage is a folder of the run"),
        ("stages: {'': {}}", r"stage '': a stage is a folder of the run"),
    ],
)
def test_what_is_no_configuration_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text if text.startswith(("--- ", "model: {name")) else MODEL + text)
    with pytest.raises(ValueError, match=message) as caught:
        load_config(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 900


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("a=[", "command line: a: not YAML"),
        ("seed=" + "[" * 3000, "command line: seed: nested more than 40 deep"),
        ("=3", "command line: expected KEY=VALUE, got '=3'"),
        ("a..b=3", "command line: expected KEY=VALUE"),
        ("a[0]=3", "command line: expected KEY=VALUE"),
        (".".join("a" * 90) + "=1", "no key has more than 40 parts"),
        ("train.optim.lr=nan", "train.optim.lr: expected float, got 'nan'"),
        ("train.optim.lr=.nan", "command line: train.optim.lr: expected a finite number, got nan"),
        ("criterion.num_points=1e11", "criterion.num_points: expected int, got 100000000000.0"),
        ("_base_=x.yaml", "command line: _base_: unknown key"),
    ],
)
def test_words_of_the_command_line_are_told_in_one_line(tmp_path: Path, word: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(MODEL)
    with pytest.raises(ValueError, match=message) as caught:
        load_config(path, [word])
    assert "\n" not in str(caught.value)


def test_words_mean_what_they_mean_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(MODEL + "stages: {first words: {}}\n")
    words = ["train.optim.lr=1e-3", "stages.first words.train.max_steps=3", "train.optim.betas=[0.5, 0.6]"]
    run = load_config(path, [*words, "train.best=", "output_dir=a b=c", "model.overrides={objects: [2, 3]}"])
    assert run.train.optim.lr == 1e-3 and run.stages["first words"].train.max_steps == 3
    assert run.train.optim.betas == (0.5, 0.6) and run.train.best is None
    assert run.output_dir == Path("a b=c") and run.model.overrides == {"objects": [2, 3]}


def test_bases_in_a_circle_and_other_encodings(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("_base_: b.yaml")
    (tmp_path / "b.yaml").write_text("_base_: a.yaml")
    with pytest.raises(ValueError, match=r"a.yaml: inherits from itself, by way of .*b.yaml"):
        load_config(tmp_path / "a.yaml")
    (tmp_path / "wide.yaml").write_bytes(MODEL.encode("utf-16"))
    (tmp_path / "mark.yaml").write_bytes(MODEL.encode("utf-8-sig"))
    assert load_config(tmp_path / "wide.yaml") == load_config(tmp_path / "mark.yaml")
    (tmp_path / "latin.yaml").write_bytes("model: {name: é}".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin.yaml: not encoded in UTF-8"):
        load_config(tmp_path / "latin.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(ValueError, match=r"large.yaml: more than 1 MiB is no configuration"):
        load_config(tmp_path / "large.yaml")


PIECES = (
    *("{", "}", "[", "]", ": ", ", ", "- ", "\n", "&a ", "*a", "!!str ", "!!float ", "${seed}", "${", "'", '"'),
    *("1", "-1", "1e999", ".nan", "null", "true", "_base_", "stages", "???", "<<: ", "|\n  ", "\t", "\0", "é"),
    *("%", "9" * 5000, "0x", "1_0", "2001-01-01", "${oc.env:NO}", "a" * 300),
)


@pytest.mark.parametrize("seed", range(4))
def test_changed_configurations_are_read_or_told_in_one_line(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    whole = (
        MODEL
        + "data: {batch_size: 2, val_samples: 3, text_tasks: [res], mixture: [{name: x, root: y, also: [z]}]}\n"
        "train: {max_steps: 3, seed: '${seed}', optim: {lr: 1e-3, betas: [0.9, 0.99], lr_scale: {head: 1}}}\n"
        "criterion: {num_points: 64}\nseed: 3\nstages: {one: {train: {workers: 1}}, two: null}\n"
    )
    path = tmp_path / "run.yaml"
    for _ in range(60):
        text = whole
        for _ in range(rng.choice([1, 1, 2, 5])):
            start = rng.randrange(len(text))
            end = start + rng.choice([0, 1, 1, 4, 12])
            text = text[:start] + rng.choice(PIECES) + text[end:]
        path.write_text(text, encoding="utf-8")
        try:
            load_config(path, [f"model.overrides={rng.choice(PIECES)}{rng.choice(PIECES)}"] * rng.randrange(2))
        except (ValueError, FileNotFoundError) as error:
            assert "\n" not in str(error), text


def test_a_stage_never_leaves_its_run(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(MODEL + "stages: {'../../x': {}}\n")
    with pytest.raises(ValueError, match="a stage is a folder of the run"):
        load_config(path)
