"""WebDataset shards and Parquet tables, written by the libraries that own them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instructseg.jobs.archives import members, read_member
from instructseg.jobs.inputs import IMAGES, VIDEOS, find_all, find_images
from instructseg.media import load_image


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def shard(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_members_of_a_shard(tmp_path: Path) -> None:
    files = {f"./set/{i:03d}.png": png(i) for i in range(3)}
    files |= {"./set/000.txt": b"the dog\na cat\n", "./set/001.json": json.dumps({"prompt": "a hat"}).encode()}
    path = shard(tmp_path / "a.tar", {**files, "clip.mp4": b"film", "notes.md": b""})
    items = members(path, IMAGES)
    assert [item.name for item in items] == ["set/000", "set/001", "set/002"]
    assert [item.prompts for item in items] == [("the dog", "a cat"), ("a hat",), ()]
    assert [int(load_image(read_member(item))[0, 0, 0]) for item in items] == [0, 1, 2]
    (video,) = members(path, VIDEOS)
    assert video.name == "clip" and read_member(video) == b"film" and str(video) == f"{path}:clip.mp4"
    images, videos = find_all([tmp_path])
    assert len(images.items) == 3 and len(videos.items) == 1


def test_webdataset_writes_such_shards(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as sink:
        for i in range(4):
            image = np.full((4, 5, 3), i / 8, np.float32)
            sink.write({"__key__": f"{i:04d}", "png": image, "json": {"prompts": [f"dog {i}"]}, "txt": ""})
    items = members(tmp_path / "a.tar", IMAGES)
    assert [item.name for item in items] == ["0000", "0001", "0002", "0003"]
    assert [item.prompts for item in items] == [(f"dog {i}",) for i in range(4)]
    assert load_image(read_member(items[2]))[0, 0, 0] == pytest.approx(2 / 8 * 255, abs=1)


@pytest.mark.parametrize("record", [False, True])
def test_rows_of_a_table(tmp_path: Path, record: bool) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    values = [{"bytes": png(i), "path": f"{i}.png"} if record else png(i) for i in range(5)]
    table = pyarrow.table({"image": values, "key": [f"k{i}.png" for i in range(5)], "prompt": ["dog"] * 5})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    items = members(tmp_path / "a.parquet", IMAGES)
    assert [item.name for item in items] == [f"k{i}" for i in range(5)]
    assert all(item.prompts == ("dog",) for item in items)
    assert [int(load_image(read_member(item))[0, 0, 0]) for item in reversed(items)] == [4, 3, 2, 1, 0]
    assert members(tmp_path / "a.parquet", VIDEOS) == []
    parquet.write_table(pyarrow.table({"image": [png(7)]}), tmp_path / "b.parquet")
    (item,) = members(tmp_path / "b.parquet", IMAGES)
    assert item.name == "b-0-0" and item.prompts == ()
    parquet.write_table(pyarrow.table({"other": [1]}), tmp_path / "c.parquet")
    with pytest.raises(ValueError, match="has no column of images: call it one of image"):
        members(tmp_path / "c.parquet", IMAGES)


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"nothing" * 100)
    with pytest.raises(ValueError, match=r"a\.tar is no WebDataset shard, or compressed"):
        members(tmp_path / "a.tar", IMAGES)
    path = shard(tmp_path / "b.tar", {"../../x.png": png(1)})
    with pytest.raises(ValueError, match="cannot be the name of a result"):
        members(path, IMAGES)
    good = shard(tmp_path / "c.tar", {"x.png": png(1)})
    (item,) = members(good, IMAGES)
    good.write_bytes(good.read_bytes()[:540])
    with pytest.raises(ValueError, match="is cut: the shard is shorter"):
        read_member(item)
    pytest.importorskip("pyarrow")
    (tmp_path / "d.parquet").write_bytes(b"PAR1nothing")
    with pytest.raises(ValueError, match=r"d\.parquet is no Parquet table"):
        members(tmp_path / "d.parquet", IMAGES)


def test_names_of_members_of_several_shards_differ(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shard(tmp_path / f"{name}.tar", {"x.png": png(1)})
    found = find_images([tmp_path])
    assert {item.name for item in found.items} == {"a/x", "b/x"} and len(found.beside) == 2
