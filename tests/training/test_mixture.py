"""Training on a mixture of data sets as they lie on disk, drawn small."""

from pathlib import Path

import pytest

from instructseg.config import RunConfig, load_config
from instructseg.training import build_model, build_trainer, train
from recipes.nano.layouts.copies import write_copies

YAML = """
model: {{name: preset:nano}}
data:
  kind: mixture
  batch_size: 2
  switch_bs: 4
  mixture:
    - {{name: reasonseg, root: {root}/ReasonSeg, split: train, ratio: 2}}
    - {{name: mevis, root: {root}/mevis, split: train}}
criterion: {{num_points: 64}}
train: {{max_steps: 2, save_every: 0, log_every: 1}}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copies")
    write_copies(folder, ["reasonseg", "mevis"])
    return folder


def run_of(root: Path, tmp_path: Path, text: str = YAML) -> RunConfig:
    file = tmp_path / "run.yaml"
    file.write_text(text.format(root=root))
    return load_config(file)


def test_batches_are_of_one_data_set_in_their_turn(root: Path, tmp_path: Path) -> None:
    run = run_of(root, tmp_path)
    model, processor = build_model(run.model, run.seed)
    trainer = build_trainer(run, tmp_path / "out", processor, model)
    turns = [trainer.loader.names(i)[0].partition("[")[0] for i in range(12)]
    assert turns == [turns[0]] * 4 + [turns[4]] * 2 + [turns[0]] * 4 + [turns[4]] * 2
    assert turns[0] != turns[4]
    inputs, targets = trainer.loader.batch(4)
    assert inputs.clip_pixels.shape[:2] == (2, 5)  # a key frame and four references
    assert len(targets) == 2
    trainer.train()
    assert (tmp_path / "out" / "final" / "model.safetensors").is_file()


def test_each_batch_draws_its_share_of_tokens(root: Path, tmp_path: Path) -> None:
    run = run_of(root, tmp_path, YAML.replace("batch_size: 2", "batch_size: 2\n  keep_tokens: 0.2"))
    shares = []
    for _ in range(2):
        model, processor = build_model(run.model, run.seed)
        trainer = build_trainer(run, tmp_path / "out", processor, model)
        shares.append([trainer.loader.batch(i)[0].keep_tokens for i in range(8)])
    assert shares[0] == shares[1] and len(set(shares[0])) == 8  # by their numbers: a resumed run has the same
    assert min(shares[0]) >= 0.2 and max(shares[0]) < 1 and max(shares[0]) - min(shares[0]) > 0.4
    trainer.train()
    assert (tmp_path / "out" / "final" / "model.safetensors").is_file()


@pytest.mark.parametrize("share", ["0", "1.2"])
def test_a_share_of_tokens_out_of_range_is_an_error(root: Path, tmp_path: Path, share: str) -> None:
    with pytest.raises(ValueError, match="keep_tokens must be above 0 and at most 1, got"):
        run_of(root, tmp_path, YAML.replace("batch_size: 2", f"batch_size: 2\n  keep_tokens: {share}"))


def test_a_split_that_is_not_named_is_an_error(root: Path, tmp_path: Path) -> None:
    run = run_of(root, tmp_path, YAML.replace(", split: train, ratio: 2", ""))
    model, processor = build_model(run.model, run.seed)
    with pytest.raises(ValueError, match="say which split of reasonseg to train on: val, train, test"):
        build_trainer(run, tmp_path / "out", processor, model)


def test_a_run_without_data_sets_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(f"model: {{name: preset:nano}}\noutput_dir: {tmp_path / 'run'}\n")
    with pytest.raises(ValueError, match=r"data.mixture: name the data sets to train on"):
        train(file)
    assert not (tmp_path / "run").exists()
