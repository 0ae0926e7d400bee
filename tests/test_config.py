from __future__ import annotations

from pathlib import Path

import pytest

from instructseg.config import RunConfig, load_config, recipe_of

CONFIGS = Path(__file__).parents[1] / "configs"


def write(folder: Path, text: str, name: str = "run.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "path", sorted(CONFIGS.glob("**/*.yaml")), ids=lambda path: str(path.relative_to(CONFIGS))
)
def test_every_file_of_configs_is_valid(path: Path) -> None:
    overrides = ["model.name=any"] if path.parent.name == "base" else []
    if recipe_of(path):
        with pytest.raises(
            ValueError, match=r"recipe: '\w+' is no part of the package: in a clone .* train_net.py"
        ):
            load_config(path, overrides)
        return
    config = load_config(path, overrides)
    assert isinstance(config, RunConfig) and config.plan()


def test_defaults_base_file_stage_and_command_line_in_this_order(tmp_path: Path) -> None:
    write(tmp_path, "train: {max_steps: 1, workers: 1, save_every: 1, log_every: 1}", "base.yaml")
    path = write(
        tmp_path,
        """
        _base_: base.yaml
        model: {name: preset:nano, overrides: {depth: 2}}
        train: {workers: 2, save_every: 2, log_every: 2}
        stages:
          one: {train: {save_every: 3, log_every: 3}}
          two: {data: {batch_size: 7}, train: {optim: {frozen: [backbone], lr: 1e-3}}}
        """,
    )
    config = load_config(path, ["train.log_every=4", "stages.two.train.log_every=5", "model.overrides.depth=3"])

    def steps(run: RunConfig) -> tuple[int, ...]:
        train = run.train
        return train.accumulate, train.max_steps, train.workers, train.save_every, train.log_every

    assert steps(config) == (1, 1, 2, 2, 4)
    assert list(config.plan()) == ["one", "two"]
    assert steps(config.stages["one"]) == (1, 1, 2, 3, 4)
    assert steps(config.stages["two"]) == (1, 1, 2, 2, 5)
    assert config.stages["two"].train.optim.frozen == ("backbone",)
    assert config.stages["two"].train.optim.lr == 0.001
    assert config.stages["two"].data.batch_size == 7
    assert config.stages["one"].model.overrides == {"depth": 3}


def test_types_are_those_of_the_dataclass(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "model: {name: preset:nano}\noutput_dir: here\ntrain: {max_minutes: 3, optim: {betas: [0, 0.9]}}",
    )
    config = load_config(path)
    assert config.output_dir == Path("here")
    assert config.train.max_minutes == 3.0 and isinstance(config.train.max_minutes, float)
    assert config.train.optim.betas == (0.0, 0.9)
    assert config.plan() == {"train": config}


def test_interpolation_sees_the_command_line_and_the_stage(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "model: {name: preset:nano}\ntrain: {max_steps: 4, seed: '${seed}', save_every: '${train.max_steps}'}\n"
        "stages: {a: {train: {max_steps: 9}}, b: null}",
    )
    config = load_config(path, ["seed=3"])
    assert config.train.seed == 3 and config.train.save_every == 4
    assert config.stages["a"].train.save_every == 9
    assert list(config.stages) == ["a"]


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("train: {max_step: 3}", [], r"run.yaml: train.max_step: unknown key; .* 'train.max_steps'"),
        ("train: {lr: 0.1}", [], r"run.yaml: train.lr: unknown key; .* 'train.optim.lr'"),
        ("", ["trian.max_steps=3"], r"command line: trian: unknown key; .* 'train'"),
        ("train: {max_steps: many}", [], r"run.yaml: train.max_steps: expected int, got 'many'"),
        ("train: {max_steps: true}", [], r"run.yaml: train.max_steps: expected int, got True"),
        (
            "train: {precision: half}",
            [],
            r"run.yaml: train.precision: expected Literal\['float32', 'bfloat16', 'float16'\]",
        ),
        ("train: {optim: {betas: [0.9]}}", [], r"run.yaml: train.optim.betas: expected tuple\[float, float\]"),
        ("train: {optim: {frozen: [3]}}", [], r"run.yaml: train.optim.frozen.0: expected str, got 3"),
        ("train: {optim: {lr_scale: {head: a}}}", [], r"run.yaml: train.optim.lr_scale.head: expected float"),
        ("train: 3", [], r"run.yaml: train: expected a mapping, got 3"),
        ("", ["train.optim.lr=-1"], r"command line: train.optim: lr must be positive"),
        ("data: {val_samples: 0}", [], "run.yaml: data: val_samples must be at least 1, got 0"),
        (
            "data: {kind: synthetic}",
            [],
            r"run.yaml: data: kind must be 'mixture', got 'synthetic'; .*recipe: nano",
        ),
        ("data: {val: [{name: refcoco, root: x}]}", [], "run.yaml: data: val is measured while a model trains"),
        ("data: {scene: {}}", [], r"run.yaml: data.scene: unknown key"),
        (
            "stages: {a: {train: {optm: {}}}}",
            [],
            r"run.yaml: stages.a.train.optm: unknown .*'stages.a.train.optim'",
        ),
        ("stages: {a: {}}", ["stages.b.seed=1"], r"command line: stages.b: no such stage; there are a"),
        ("stages: [a]", [], r"run.yaml: stages: expected a mapping"),
        (
            "stages: {a: {export_dtype: float16}}",
            [],
            r"run.yaml: stages.a.export_dtype: it is of the whole run",
        ),
        (
            "stages: {a: {}}",
            ["stages.a.output_dir=x"],
            r"command line: stages.a.output_dir: it is of the whole run",
        ),
        ("lesson: patches", [], r"run.yaml: lesson: unknown key"),
        ("recipe: nano", [], r"run.yaml: recipe: 'nano' is no part of the package"),
        ("", ["recipe=nano"], r"command line: recipe: 'nano' is no part of the package"),
        ("stages: {a: 3}", [], r"run.yaml: stages.a: expected what differs"),
        ("", ["seed"], r"command line: expected KEY=VALUE, got 'seed'"),
        ("seed: ${sed}", [], r"cannot fill in an interpolation: .*sed"),
        ("train: [", [], r"run.yaml: not YAML"),
        ("_base_: run.yaml", [], r"run.yaml: inherits from itself"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, words: list[str], message: str) -> None:
    path = write(tmp_path, "model: {name: preset:nano}\n" + text)
    with pytest.raises(ValueError, match=message) as caught:
        load_config(path, words)
    assert "\n" not in str(caught.value)


def test_mistake_in_a_base_names_the_base(tmp_path: Path) -> None:
    write(tmp_path, "train: {max_step: 3}", "base.yaml")
    with pytest.raises(ValueError, match=r"base.yaml: train.max_step"):
        load_config(write(tmp_path, "_base_: base.yaml\nmodel: {name: preset:nano}\ntrain: {workers: 1}"))


def test_missing_files_and_values(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no configuration file .*none.yaml"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(FileNotFoundError, match=r"configs/quite-other.yaml, and none of that name"):
        load_config("configs/quite-other.yaml")
    with pytest.raises(FileNotFoundError, match=r"none.yaml, the base of .*run.yaml"):
        load_config(write(tmp_path, "_base_: none.yaml"))
    with pytest.raises(ValueError, match=r"model: needs a value"):
        load_config(write(tmp_path, "seed: 1"))


def test_a_wrong_key_of_a_section_that_may_be_missing_names_the_closest(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("model: {name: preset:nano}\neval: {benchmark: refcoco, root: data, splt: val}\n")
    with pytest.raises(ValueError, match=r"the closest is 'eval\.split'"):
        load_config(file)
