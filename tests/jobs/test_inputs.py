"""Images and videos that inputs stand for."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from instructseg.jobs.inputs import content, find_all, find_images, find_videos
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


def test_prompts_of_single_inputs() -> None:
    own = {Path("folder/1.png"): ("the dog", "a cat")}
    found = find_images([Path("folder/1.png"), Path("a.png")], own=own)  # type: ignore[arg-type]
    assert [item.prompts for item in found.items] == [("the dog", "a cat"), ()]


def test_images_and_videos_of_mixed_sources() -> None:
    Path("vids/3.png").touch()
    images, videos = find_all([Path("vids"), Path("a.png")])
    assert {item.name for item in images.items} == {"3", "a"} and images.batch
    assert {item.name for item in videos.items} == {"x", "y"}
    with pytest.raises(ValueError, match="empty: no images or videos are there"):
        find_all([Path("empty")])
    with pytest.raises(FileNotFoundError, match="no such image, video or folder: none"):
        find_all([Path("none")])


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = io.TextIOWrapper(io.BytesIO(b"content"))
    monkeypatch.setattr("sys.stdin", given)
    found = find_images(["-"])
    (item,) = found.items
    path = content(item)
    assert isinstance(path, Path) and path.read_bytes() == b"content" and item.name == "stdin"
    assert str(item).startswith("standard input ") and not found.batch
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(ValueError, match="standard input is empty"):
        find_images(["-"])


def test_an_address_is_downloaded_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(address: str, path: Path) -> None:
        asked.append(address)
        path.write_bytes(b"content")

    monkeypatch.setattr("instructseg.media.incoming._download", download)
    found = find_images(["https://x.org/a/dog.jpg?size=2", "http://x.org/b/dog.jpg"])
    assert [item.name for item in found.items] == ["0-dog.jpg", "1-dog.jpg"] and not asked
    for _ in range(2):
        assert [Path(str(content(item))).read_bytes() for item in found.items] == [b"content"] * 2
    assert asked == ["https://x.org/a/dog.jpg?size=2", "http://x.org/b/dog.jpg"]
    with pytest.raises(ValueError, match="use 'instructseg video'"):
        find_images(["https://x.org/clip.mp4"])
