"""A new data set costs an adapter and one row of the catalog."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.cli.arguments import evaluate
from instructseg.config import DatasetConfig
from instructseg.data.catalog import CATALOG, paper_figures
from instructseg.data.catalog_row import CatalogRow, Evaluation
from instructseg.data.data_files import read_image
from instructseg.data.dataset import Dataset
from instructseg.interop.splits import splits
from instructseg.media import save_image
from instructseg.structures import Sample, Task
from instructseg.training.mixture_samples import open_dataset


class Toy(Dataset):
    """Images in a folder per split; the target of each is its left half."""

    def __init__(self, root: Path, split: str) -> None:
        self.name, self.published = f"toy/{split}", {"images": 2}
        self.files = sorted((root / split).glob("*.png"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        pixels = read_image(self.files[index])
        mask = np.zeros((1, *pixels.shape[:2]), np.uint8)
        mask[:, :, : pixels.shape[1] // 2] = 1
        return Sample(pixels, "the left half", Task.RES, masks=mask, name=f"{self.name}/{index}")

    def image_key(self, index: int) -> str:
        return str(self.files[index])

    def counts(self) -> dict[str, int]:
        return {"images": len(self)}


ROW = CatalogRow(
    "Toy",
    lambda root, split, options: Toy(root, str(split)),
    ("val", "train"),
    evaluations=(Evaluation("toy", "iou", paper={"toy_val": {"cIoU": 50.0}}),),
    folder="toy",
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(CATALOG, "toy", ROW)
    for split in ("val", "train"):
        for number in range(2):
            pixels = np.full((40, 56, 3), 90 * number, np.uint8)
            save_image(tmp_path / "toy" / split / f"{number}.png", pixels)
    return tmp_path / "toy"


def test_it_is_checked(root: Path) -> None:
    result = CliRunner().invoke(app, ["data", "check", "toy", "--root", str(root), "--deep"])
    assert result.exit_code == 0 and result.stdout.endswith("toy: no problems\n")
    (root / "val" / "0.png").write_bytes(b"no image")
    result = CliRunner().invoke(app, ["data", "check", "toy", "--root", str(root), "--deep"])
    assert result.exit_code == 1 and "undecodable image: " in result.stdout


def test_it_is_evaluated(root: Path, checkpoint: Path) -> None:
    file, out = root.parent / "eval.yaml", root.parent / "out"
    file.write_text(
        f"model: {{name: {checkpoint}}}\noutput_dir: {out}\n"
        f"eval: {{benchmark: toy, root: {root}, device: cpu, pictures: 0}}\n"
    )
    values = evaluate(file)
    assert 0 <= values["toy_val/cIoU"] <= 1
    assert "| toy_val | cIoU |" in (out / "toy_val" / "results.md").read_text()
    assert paper_figures("toy_val") == {"cIoU": 50.0}
    assert "| 50.0 |" in (out / "toy_val" / "results.md").read_text()


def test_it_is_trained_on_and_registered(root: Path) -> None:
    dataset = open_dataset(DatasetConfig("toy", str(root), "train", also=("val",)))
    assert [dataset[i].name for i in range(4)] == ["toy/train/0", "toy/train/1", "toy/val/0", "toy/val/1"]
    registered = {split.name: split for split in splits(root.parent)}
    assert len(registered["toy_train"].open()) == 2 and registered["toy_val"].metrics == "referring"
