"""The built wheel, in an environment of its own and a folder without a clone.

The environment sees the installed libraries, which are large, but not the source of this package: only what
lies in the wheel is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from instructseg.shipped import config_names
from tests.pages import PAGES, ROOT, blocks_of, commands_of

pytestmark = pytest.mark.slow


def run(*words: str | Path, cwd: Path, status: int = 0) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=560
    )
    assert done.returncode == status, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the source distribution, and the wheel built from it."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def program(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``instructseg`` of a fresh environment, with the extras ``app`` and ``serve``."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    inside = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # a plain line adds a folder, but not what its own .pth files name: an editable install stays out
    Path(inside, "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = distributions.glob("*.whl")
    names = ("torch", "numpy", "pillow", "transformers", "huggingface_hub")
    kept = folder / "constraints.txt"
    kept.write_text("".join(f"{name}=={metadata.version(name)}\n" for name in names if name != "pillow"))
    run(python, "-m", "pip", "install", "-q", "-c", kept, f"{wheel}[app,serve]", cwd=folder)
    return python.with_name("instructseg")


def test_twine_accepts_them(distributions: Path) -> None:
    pytest.importorskip("twine")
    assert len(list(distributions.iterdir())) == 2
    said = run(sys.executable, "-m", "twine", "check", "--strict", *distributions.iterdir(), cwd=distributions)
    assert said.count("PASSED") == 2


def test_the_wheel_has_all_of_the_package_and_nothing_else(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "instructseg", "configs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = {n if n.startswith("instructseg/") else f"instructseg/{n}" for n in listed.stdout.split()}
    assert names == wanted


def test_it_segments_and_finds_configurations(program: Path, tmp_path: Path) -> None:
    where = run(
        program.with_name("python"), "-c", "import instructseg; print(instructseg.__file__)", cwd=tmp_path
    )
    assert str(program.parent.parent) in where  # not the source
    run(program, "demo", "--output", "out", cwd=tmp_path)
    assert (tmp_path / "out" / "dog_overlay.mp4").is_file()
    assert run(program, "config", "list", cwd=tmp_path).count("\n") == len(config_names())
    shown = run(program, "config", "show", "nano-tune", cwd=tmp_path)
    assert shown == config_names()["nano-tune"].read_text()
    assert "my_data" in run(program, "train", "nano-tune", cwd=tmp_path, status=2)  # found; its data is not


def test_every_command_of_the_pages_is_there(program: Path, tmp_path: Path) -> None:
    names = {
        tuple(word for word in words[1:3] if word.isalpha())
        for page in PAGES
        for block in blocks_of(page, "bash")
        for words in commands_of(block)
        if words[0] == "instructseg"
    }
    commands = {
        name[:2] if name[0] in ("data", "convert", "export", "config") else name[:1] for name in names if name
    }
    assert {("image",), ("video",), ("train",), ("data", "check")} <= commands
    for command in sorted(commands):
        assert "Usage" in run(program, *command, "--help", cwd=tmp_path)


SHOWN = """from instructseg import load, load_video

reveal_type(load().predict("photo.jpg", "the truck", consensus=3))
reveal_type(load("nano").answer("drawing.png", "how many circles are there?"))
for result in load_video().predict("clip.mp4", "the dog", llm_stride=4):
    reveal_type(result.predictions[0].mask)
for found in load("my-folder").predict("photo.jpg", ["the truck"]):
    found.save("mask.png")
load("mini").predict("photo.jpg", "the truck", treshold=0.5)
"""


def test_types_are_shown_to_an_editor(program: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (installed,) = program.parents[1].glob("lib/*/site-packages/instructseg")
    assert (installed / "py.typed").is_file()
    (tmp_path / "types").mkdir()
    (tmp_path / "types" / "instructseg").symlink_to(installed)  # alone: torch takes minutes to read
    (tmp_path / "shown.py").write_text(SHOWN)
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nmypy_path = types\nno_site_packages = True\nignore_missing_imports = True"
    )
    said = run(sys.executable, "-m", "mypy", "shown.py", cwd=tmp_path, status=1)
    assert "list[instructseg.prediction.Prediction]" in said and 'Revealed type is "str"' in said, said
    assert 'Unexpected keyword argument "treshold"' in said and "Found 1 error" in said, said


TESTS = {
    "tests/test_readme.py": "test_a_page_runs and not CONTRIBUTING",
    "tests/cli/test_tuning.py": "from_folder_to_model",
    "tests/serve/test_service_page.py": "every_client",
}
"""Which run the pages, by file; blocks that say that they need a clone are left out (``tests/pages.py``)."""


@pytest.mark.parametrize("file", TESTS)
def test_the_pages_run_without_a_clone(program: Path, tmp_path: Path, file: str) -> None:
    for name in ("tests", "recipes", "docs", "README.md", "CONTRIBUTING.md"):
        (tmp_path / name).symlink_to(ROOT / name)  # the tests need them; neither the package nor configurations
    (tmp_path / "configs").mkdir()
    words = ("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", file, "-k", TESTS[file])
    said = run(program.with_name("python"), *words, cwd=tmp_path)
    pages = len(PAGES) - 2  # CONTRIBUTING.md and service.md
    assert f"{pages if 'readme' in file else 1} passed" in said, said
