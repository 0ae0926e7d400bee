"""``instructseg data``, on drawn copies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import instructseg
from instructseg.cli import app
from instructseg.data.catalog import CATALOG
from recipes.nano.layouts.copies import COPIES as PLACES
from recipes.nano.layouts.copies import write_copies

COPIES = [(name, place) for name, places in PLACES.items() for place in places]


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["data", *(str(word) for word in words)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "copies"
    write_copies(folder, pictures=1)
    return folder


@pytest.mark.parametrize(("name", "place"), COPIES)
def test_a_copy_is_clean(copies: Path, name: str, place: str) -> None:
    result = run("check", name, "--root", copies / place, "--deep")
    assert result.stdout.splitlines()[-1].endswith(": no problems")


# the images of mmbench are inside its table, those of groundmore are what its folders hold
@pytest.mark.parametrize("name", [name for name in CATALOG if name not in ("mmbench", "groundmore")])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_copies(tmp_path / "copy", [name], pictures=1)
    root = tmp_path / "copy" / PLACES[name][0]
    elsewhere = root.parent / "images" if name == "refcoco-converted" else root
    kinds = {"scienceqa": "*.png", "custom-videos": "*.png", "ref-sav": "*.mp4"}
    victim = sorted(elsewhere.rglob(kinds.get(name, "*.jpg")))[0]
    victim.unlink()
    result = run("check", name, "--root", root, code=1)
    assert f"missing file: {victim}: the file is missing" in result.stdout.splitlines()
    assert result.stdout.splitlines()[-1].endswith(": 1 x missing file")


def test_a_missing_folder_and_the_limit(copies: Path, tmp_path: Path) -> None:
    (tmp_path / "ReasonSeg" / "val").mkdir(parents=True)
    for file in (copies / "ReasonSeg" / "val").glob("*.json"):
        (tmp_path / "ReasonSeg" / "val" / file.name).write_bytes(file.read_bytes())
        (tmp_path / "ReasonSeg" / "val" / f"more_{file.name}").write_bytes(file.read_bytes())
    out = run("check", "reasonseg", "--root", tmp_path / "ReasonSeg", "--limit", 1, code=1).stdout
    assert "missing file: 3 more; --limit prints them" in out
    assert "unexpected count: val: 2 images, expected 200" in out
    out = run("check", "reasonseg", "--root", tmp_path / "ReasonSeg", code=1).stdout
    assert f"{tmp_path / 'ReasonSeg' / 'train'}: the folder is missing" in out


def test_images_may_lie_elsewhere(copies: Path, tmp_path: Path) -> None:
    root = tmp_path / "RES"
    (copies / "refer_seg" / "RES").rename(root)
    try:
        assert "x missing file" in run("check", "refcoco-converted", "--root", root, code=1).stdout
        images = copies / "refer_seg" / "images" / "mscoco" / "images" / "train2014"
        run("check", "refcoco-converted", "--root", root, "--images", images)
    finally:
        root.rename(copies / "refer_seg" / "RES")


@pytest.mark.parametrize(("name", "place"), COPIES)
def test_a_sample_is_drawn(copies: Path, tmp_path: Path, name: str, place: str) -> None:
    out = tmp_path / "new" / "sample.png"
    split = ("--split", "converted/valid") if place.startswith("rvos/") else ()
    result = run("show", name, "--root", copies / place, "--index", 0, "--out", out, *split)
    assert f"wrote {out}" in result.stdout
    pixels = np.asarray(Image.open(out))
    assert min(pixels.shape[:2]) >= 256 and pixels.std() > 5


def test_every_split_is_opened(copies: Path, tmp_path: Path) -> None:
    for name in ("refcoco", "refcoco-converted", "grefcoco", "reasonseg", "revos", "mevis"):
        for split in CATALOG[name].splits:
            root = copies / PLACES[name][0]
            out = run("show", name, "--root", root, "--split", split, "--out", tmp_path / "a.png").stdout
            assert split.split("/")[-1] in out.partition(",")[0]


def test_the_list_names_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    out = run("list").stdout
    assert all(name in out and ", ".join(entry.splits) in out for name, entry in CATALOG.items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "refcocoo", "--root", "{}"], "unknown data set 'refcocoo'; the closest is 'refcoco'"),
        (["show", "mevi", "--root", "{}", "--out", "a.png"], "the closest is 'mevis'"),
        (["check", "gqa", "--root", "{}/none"], "none is missing: give the folder of the data set"),
        (["check", "gqa", "--root", "{}", "--images", "{}"], "the images of gqa lie below its root"),
        (
            ["show", "mevis", "--root", "{}/mevis", "--split", "test"],
            "no split 'test': there are valid_u, train",
        ),
        (["show", "mevis", "--root", "{}/mevis", "--index", "99"], "--index 99: mevis/valid_u has"),
        (["show", "mevis", "--root", "{}/mevis", "--out", "a.txt"], "a.txt: the name must end in"),
    ],
)
def test_bad_usage_is_one_line(
    copies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*(word.format(copies) for word in words), code=2)
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_looking_for_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, instructseg.cli.data\n"
        "assert not {'torch', 'cv2', 'pycocotools'} & set(sys.modules)\n"
        "assert not [name for name in sys.modules if name.startswith('instructseg.data')]\n"
    )
    place = str(Path(instructseg.__file__).parents[1])
    result = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": place}, timeout=60)
    assert result.returncode == 0
