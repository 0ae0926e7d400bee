"""Which words are inputs, which are prompts, and what inputs stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from instructseg.jobs.inputs import find_images, find_videos, read_prompts, split_words
from instructseg.media.reading import FRAME_SUFFIXES


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``a.png``, ``b.png``, ``[c].png``, ``folder`` with images, ``vids`` with videos, and ``empty``."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "[c].png", "word", "folder/1.png", "folder/2.JPG", "folder/deep/1.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(name, "png")
    for name in ("vids/x.mp4", "vids/y.mov", "vids/deep/x.mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("empty").mkdir()


@pytest.mark.parametrize(
    ("words", "inputs", "prompts"),
    [
        ("a.png|the red circle", "a.png", "the red circle"),
        ("a.png|a|b", "a.png", "a|b"),
        ("a.png|b.png|the red circle|dog", "a.png|b.png", "the red circle|dog"),
        ("a.png|folder|dog|cat", "a.png|folder", "dog|cat"),
        ("a.png|empty", "a.png", "empty"),  # an empty folder is nobody's input, and may be a word
        ("*.png|dog", "[c].png|a.png|b.png", "dog"),
        ("[c].png|dog", "[c].png", "dog"),
        ("folder/*|dog", "folder/1.png|folder/2.JPG", "dog"),
        ("a.png|folder/?.png|what rolls?", "a.png|folder/1.png", "what rolls?"),
        ("a.png|is it red?|[which] one*", "a.png", "is it red?|[which] one*"),
        ("none|dog", "none", "dog"),  # told when it is opened
    ],
)
def test_words(words: str, inputs: str, prompts: str) -> None:
    assert split_words(words.split("|")) == (list(map(Path, inputs.split("|"))), prompts.split("|"))


def test_prompts_by_an_option_or_a_file() -> None:
    assert split_words(["a.png", "b.png"], ["b.png", "the"]) == (
        [Path("a.png"), Path("b.png")],
        ["b.png", "the"],
    )
    Path("prompts.txt").write_text("\ufeffthe dog\n\n  a cat \n", encoding="utf-8")
    assert read_prompts(Path("prompts.txt")) == ["the dog", "a cat"]
    for raw, message in ((b"", "has no prompts"), (b"caf\xe9", "not encoded in UTF-8")):
        Path("prompts.txt").write_bytes(raw)
        with pytest.raises(ValueError, match=message):
            read_prompts(Path("prompts.txt"))
    with pytest.raises(FileNotFoundError, match="no such file of prompts"):
        read_prompts(Path("none.txt"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a.png", "Missing argument PROMPT"),
        ("a.png|folder", "Missing argument PROMPT: 'folder' is an input, as it exists"),
        ("a.png|dog|b.png", "'b.png' is a file or a folder, not a prompt"),
        ("a.png|dog|folder", "'folder' is a file or a folder, not a prompt"),
        ("a.png|dog|word", "'word' is a file or a folder, not a prompt"),
        ("a.png|dog|none.mp4", "'none.mp4' is a file or a folder, not a prompt"),
        ("a.png|none.png|dog", "no such image: none.png"),
        ("none/*.png|dog", "no image, video or folder matches 'none/"),
        ("a.png|the|red|circle", 'put a sentence in quotes, as "the red circle"'),
        ("a.png|circle|on|left", "put a sentence in quotes"),
        ("a.png|red|circle", "put a sentence in quotes"),
        ("a.png|A|dog", "put a sentence in quotes"),
        ("https://x.org/a.jpg|dog", "is an address, and inputs are files: download it"),
        ("a.png|s3://x/a.jpg|dog", "s3://x/a.jpg"),
        ("-|dog", "standard input is not read"),
        ("0|dog", "a camera is not read by the command line"),
        ("|dog", "an input is empty"),
        ("a.png|caf\udce9", r"'caf.udce9' is not encoded in UTF-8"),
        ("a\udce9.png|dog", "is not encoded in UTF-8"),
    ],
)  # fmt: skip
def test_what_is_refused(words: str, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message.replace("*", r"\*")):
        split_words(words.split("|"))


@pytest.mark.parametrize("prompts", [["dog", "cat"], ["red", "blue"], ["the dog", "on"], ["the"], ["a"] * 9])
def test_single_words_may_be_meant(prompts: list[str]) -> None:
    assert split_words(["a.png", *prompts])[1] == prompts


def test_images_of_a_folder() -> None:
    for suffix in ("tif", "gif", "avif", "jp2", "heic"):
        Path(f"folder/3.{suffix}").touch()
    Path("folder/.hidden.png").touch()
    Path("folder/notes.txt").touch()
    found = find_images([Path("folder")])
    assert [item.path.name for item in found.items] == [
        "1.png", "2.JPG", "3.avif", "3.gif", "3.heic", "3.jp2", "3.tif",
    ]  # fmt: skip
    assert [item.name for item in found.items] == ["1", "2", "3.avif", "3.gif", "3.heic", "3.jp2", "3.tif"]
    assert found.batch and found.notes == [
        "folder: skipped 1 folder (--recursive searches them) and 1 other file"
    ]
    deep = find_images([Path("folder")], recursive=True)
    assert {item.name for item in deep.items} == {item.name for item in found.items} | {"deep/1"}


def test_every_frame_of_a_folder_is_an_image() -> None:
    for suffix in FRAME_SUFFIXES:
        Path(f"empty/x{suffix}").touch()
    assert len(find_images([Path("empty")]).items) == len(FRAME_SUFFIXES)


def test_names_of_results_differ() -> None:
    for name in ("other/1.png", "other/A.png", "x/folder/1.png", "1.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    sources = ["folder/1.png", "other/1.png", "x/folder/1.png", "1.png", "a.png", "other/A.png", "./a.png"]
    names = [item.name for item in find_images(list(map(Path, sources))).items]
    assert len(names) == 6 and len({name.casefold() for name in names}) == 6
    long = Path("é" * 120 + ".png")
    long.touch()
    (item,) = find_images([long]).items
    assert 0 < len(item.name.encode()) <= 150


def test_videos() -> None:
    assert [item.name for item in find_videos([Path("vids")]).items] == ["x", "y"]
    assert {item.name for item in find_videos([Path("vids")], recursive=True).items} == {"x", "y", "deep/x"}
    frames = find_videos([Path("folder")])
    assert [item.name for item in frames.items] == ["folder"] and not frames.batch
    assert find_videos([Path("folder"), Path("vids/x.mp4")]).batch


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("empty", "empty has no images"),
        ("none", "no such image: none"),
        ("vids/x.mp4", "use 'instructseg video'"),
    ],
)
def test_what_has_no_images(source: str, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        find_images([Path(source)])
