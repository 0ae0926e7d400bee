"""The commands of ``docs/tuning.md``, as printed but at a tiny size, and the held-out split they rest on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from instructseg import hub
from instructseg.cli import app
from instructseg.config import load_config
from instructseg.data.custom.custom_images import CustomImages
from instructseg.data.custom.custom_videos import CustomVideos
from instructseg.data.custom.tables import part_of
from tests.pages import ROOT, Block, blocks_of, commands_of

PAGE = ROOT / "docs" / "tuning.md"
SMALL = [
    "train.max_steps=2",
    "train.eval_every=1",
    "data.batch_size=2",
    "data.switch_bs=2",
    "data.val_samples=2",
]
FEW = ["eval.limit=2", "eval.pictures=0"]


def draw_stand_ins() -> None:
    """Runs the page's Python, which draws the two folders, with few images and videos."""
    (block,) = blocks_of(PAGE, "python")
    assert '"custom-images", 40' in block.text and '"custom-videos", 5' in block.text
    exec(
        block.text.replace('"custom-images", 40', '"custom-images", 6').replace('-videos", 5', '-videos", 3'),
        {},
    )


def page_commands() -> list[list[str]]:
    """The words of the page's commands, in order."""
    blocks: list[Block] = blocks_of(PAGE, "bash")
    return [words for block in blocks for words in commands_of(block)]


def made_small(words: list[str]) -> list[str]:
    """The command with few steps and samples."""
    return words + {"train": SMALL, "eval": FEW}.get(words[1], [])


def test_the_page_runs_from_folder_to_model(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "DEFAULT_MODEL", checkpoint)
    Image.new("RGB", (64, 48), "red").save("photo.jpg")
    draw_stand_ins()
    for words in page_commands():
        assert words[0] == "instructseg", f"{words}: needs a clone"
        result = CliRunner().invoke(app, made_small(words)[1:], catch_exceptions=False)
        assert result.exit_code == 0, f"{words}\n{result.output}"
    for run in ("mine", "drawn", "mine_video"):
        lines = [json.loads(line) for line in Path(f"runs/{run}/train/metrics.jsonl").read_text().splitlines()]
        found = [line["eval/mean/giou"] for line in lines if "eval/mean/giou" in line]
        assert len(found) == 3  # before, between and behind two steps
        assert json.loads(Path(f"runs/{run}/train/best.json").read_text())["value"] == max(found)
        assert Path(f"runs/{run}/model/model.safetensors").is_file()
    for folder in ("before/custom_images_val", "after/custom_images_val", "after_video/custom_videos_val"):
        assert "|" in Path("runs", folder, "results.md").read_text()
    train, val = (CustomImages("my_data/custom-images", split) for split in ("train", "val"))
    everything = CustomImages("my_data/custom-images")
    pictures = [{row.image for row in part.rows} for part in (train, val)]
    assert not pictures[0] & pictures[1] and len(pictures[1]) == 2  # one in five of six, rounded up
    assert pictures[0] | pictures[1] == {row.image for row in everything.rows}
    assert len(train) + len(val) == sum(row.masks is not None for row in everything.rows)
    clips = [
        {c.name for c in CustomVideos.open("my_data/custom-videos", split).clips} for split in ("train", "val")
    ]
    assert [len(part) for part in clips] == [2, 1] and not clips[0] & clips[1]


def test_the_names_alone_decide() -> None:
    names = [f"images/{number}.jpg" for number in range(11)]
    train, val = part_of(names, "train"), part_of(names[::-1] + names[:3], "val")
    assert len(val) == 3 and train | val == set(names) and not train & val
    assert val == {"images/6.jpg", "images/1.jpg", "images/7.jpg"}  # the smallest of printf NAME | sha256sum
    assert part_of(["one"], "train") == {"one"} and not part_of(["one"], "val")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_written_split_counts(tmp_path: Path, split: str) -> None:
    for name in "abcdef":
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / f"{name}.png")
    rows = [f"{name}.png,it,none,{'val' if name in 'ab' else 'train'}" for name in "abcdef"]
    (tmp_path / "instructions.csv").write_text("\n".join(["image,instruction,mask,split", *rows]))
    found = {row.image.stem for row in CustomImages(tmp_path, split).rows}
    assert found == set("ab" if split == "val" else "cdef")


def test_one_word_moves_both_splits_to_another_folder() -> None:
    run = load_config("nano-tune", ["eval.root=elsewhere"])
    assert [part.root for part in (*run.data.mixture, *run.data.val)] == ["elsewhere"] * 2
    assert [part.split for part in (*run.data.mixture, *run.data.val)] == ["train", "val"]
    assert run.train.final == "best" and run.train.patience and run.train.best == "mean/giou"
