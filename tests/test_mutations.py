"""Damaged files of every kind: a one-line error or a valid result; no crash, hang, or made-up size."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from instructseg.config import load_config
from instructseg.convert.readers import open_weights
from instructseg.data import catalog
from instructseg.data.custom.custom_images import CustomImages
from instructseg.data.custom.custom_videos import CustomVideos
from instructseg.data.datasets.refcoco import RefCoco
from instructseg.data.records import DataError
from instructseg.masks import mask_to_rle, save_palette_png
from instructseg.media import load_image, open_video
from instructseg.processing.storage import load_tokenizer
from recipes.nano.language.word_tokenizer import build_tokenizer
from recipes.nano.layouts.copies import COPIES, write_copies
from recipes.nano.layouts.images import write_python2_pickle
from tests.media.clips import frames, make
from tests.mutations import ROOM, faults

SIZE = (48, 64)
IDS = np.zeros(SIZE, np.uint8)
IDS[4:20, 6:30] = 1
IDS[24:40, 30:60] = 2


def picture() -> Image.Image:
    grain = np.random.default_rng(0).integers(0, 30, (*SIZE, 3), np.uint8)
    return Image.fromarray(frames(1, *SIZE)[0] + grain)


def image(suffix: str, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        picture().save(folder / f"image{suffix}", **options)
        return folder / f"image{suffix}"

    return write


def animation(suffix: str, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        first, *others = (Image.fromarray(frame) for frame in frames(4, *SIZE))
        first.save(folder / f"moving{suffix}", save_all=True, append_images=others, **options)
        return folder / f"moving{suffix}"

    return write


def video(name: str, codec: str) -> Callable[[Path], Path]:
    return lambda folder: make(folder / name, 12, size=SIZE, codec=codec)


def read_image(file: Path) -> None:
    _check(load_image(file))


def read_video(file: Path) -> None:
    for frame in open_video(file):
        _check(frame)


def _check(frame: np.ndarray) -> None:
    assert frame.dtype == np.uint8
    assert frame.ndim == 3
    assert frame.shape[2] == 3
    assert frame.size


def table(folder: Path) -> Path:
    picture().save(folder / "a.png")
    save_palette_png(folder / "ids.png", IDS)
    rows = io.StringIO()
    csv.writer(rows).writerows(
        [("image", "instruction", "mask", "object"), ("a.png", "the box", "ids.png", "1"),
         ("a.png", "both, please", "ids.png", "1;2")]
    )  # fmt: skip
    (folder / "instructions.csv").write_text(rows.getvalue())
    return folder / "instructions.csv"


def table_masks(folder: Path) -> Path:
    return table(folder).with_name("ids.png")


def coco(folder: Path) -> Path:
    picture().save(folder / "a.png")
    entry = {"image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [6, 4, 24, 16], "area": 384}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 1, "name": "box"}],
        "annotations": [
            {"id": 1, "segmentation": [[6, 4, 30, 4, 30, 20, 6, 20]], **entry},
            {"id": 2, "segmentation": mask_to_rle(IDS == 2), "instruction": "the other", **entry},
        ],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder / "annotations.json"


def read_custom(file: Path) -> None:
    part = CustomImages(file)
    for index in range(len(part)):
        sample = part[index]
        _check(sample.key_frame)
        assert sample.masks is None or sample.masks.shape[1:] == sample.key_frame.shape[:2]


def tracks(folder: Path) -> Path:
    for t, frame in enumerate(frames(2, *SIZE)):
        (folder / "JPEGImages" / "v").mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(folder / "JPEGImages" / "v" / f"{t:05d}.jpg")
    video = {
        "id": 1,
        "file_names": ["v/00000.jpg", "v/00001.jpg"],
        "height": SIZE[0],
        "width": SIZE[1],
        "length": 2,
    }
    track = {"id": 1, "video_id": 1, "category_id": 1, "iscrowd": 0, "instruction": ["the box"],
             "segmentations": [mask_to_rle(IDS == 1), None]}  # fmt: skip
    content = {"videos": [video], "categories": [{"id": 1, "name": "box"}], "annotations": [track]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder / "annotations.json"


def read_tracks(file: Path) -> None:
    part = CustomVideos.open(file)
    for index in range(len(part)):
        _check(part[index].key_frame)


def refer(folder: Path) -> Path:
    (folder / "images" / "mscoco" / "images" / "train2014").mkdir(parents=True)
    name = "COCO_train2014_000000000003.jpg"
    picture().save(folder / "images" / "mscoco" / "images" / "train2014" / name)
    record = {"id": 7, "image_id": 3, "iscrowd": 0, "segmentation": [[6, 4, 30, 4, 30, 20]]}
    shown = {"id": 3, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
    said = [{"sent_id": i, "sent": text, "raw": text, "tokens": []} for i, text in enumerate(["a b", "c"])]
    refs = [{"ref_id": 9 + i, "ann_id": 7, "image_id": 3, "split": "val", "sentences": said} for i in range(3)]
    write_python2_pickle(folder / "refcoco" / "refs(unc).p", refs)
    (folder / "refcoco" / "instances.json").write_text(json.dumps({"images": [shown], "annotations": [record]}))
    return folder / "refcoco" / "refs(unc).p"


def read_refer(file: Path) -> None:
    part = RefCoco.open(file.parent.parent, "refcoco", "val", "unc")
    for index in range(len(part)):
        _check(part[index].key_frame)


def _tensors() -> dict[str, torch.Tensor]:
    return {f"layer.{i}.weight": torch.arange(12.0).view(3, 4) * i for i in range(3)}


def safetensors(folder: Path) -> Path:
    save_file(_tensors(), folder / "model.safetensors")
    return folder / "model.safetensors"


def zipped(folder: Path) -> Path:
    torch.save(_tensors(), folder / "model.pth")
    return folder / "model.pth"


def numpy_pickle(folder: Path) -> Path:
    import pickle

    content = {name: tensor.numpy() for name, tensor in _tensors().items()}
    (folder / "model.pkl").write_bytes(pickle.dumps({"model": content}, 2))
    return folder / "model.pkl"


def read_weights(file: Path) -> None:
    for name, tensor in open_weights(file):
        assert isinstance(name, str)
        assert tensor.numel() < 1 << 20


def settings(folder: Path) -> Path:
    text = """\
output_dir: runs/x
model: {name: preset:nano, overrides: {num_queries: 10}}
data: {batch_size: 4, mixture: [{name: refcoco, root: data/refer, split: refcoco/unc/train, ratio: 4}]}
criterion: &loss {class_weight: 2.0, mask_weight: 5.0}
train:
  max_steps: 100
  optim: {lr: 4.0e-5, betas: [0.9, 0.999], trainable: ["*.lora_*", ovp]}
"""
    (folder / "config.yaml").write_text(text)
    return folder / "config.yaml"


def words(folder: Path) -> Path:
    build_tokenizer(["the red circle", "a blue square"], 300).save_pretrained(folder)
    return folder / "tokenizer.json"


def read_tokenizer(file: Path) -> None:
    tokenizer = load_tokenizer(file.parent)
    assert all(isinstance(number, int) for number in tokenizer.encode("the red circle"))


def copied(name: str, pattern: str, split: str | None = None) -> tuple[Any, Any, int]:
    """A file of the drawn copy of a data set, whose samples are read through its adapter."""

    def write(folder: Path) -> Path:
        write_copies(folder / "copy", [name], pictures=1)
        return sorted((folder / "copy").rglob(pattern))[0]

    def read(file: Path) -> None:
        top = next(parent for parent in file.parents if parent.name == "copy")
        part = catalog.open_split(name, top / COPIES[name][0], split)
        for index in range(min(len(part), 4)):
            try:
                _check(part[index].key_frame)
            except DataError as error:  # another object, a valid one, may be in no frame: the sample is named
                if "is visible in no frame" not in str(error):
                    raise

    return write, read, 10


CASES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], None], int]] = {
    "png": (image(".png"), read_image, 30),
    "palette png": (
        lambda folder: save_palette_png(folder / "ids.png", IDS) or folder / "ids.png",
        read_image,
        20,
    ),
    "jpeg": (image(".jpg", quality=80), read_image, 30),
    "progressive jpeg": (image(".jpg", progressive=True), read_image, 20),
    "webp": (image(".webp"), read_image, 20),
    "lossless webp": (image(".webp", lossless=True), read_image, 20),
    "tiff": (image(".tiff"), read_image, 20),
    "compressed tiff": (image(".tiff", compression="tiff_lzw"), read_image, 20),
    "gif": (image(".gif"), read_image, 20),
    "moving gif": (animation(".gif", duration=100), read_video, 20),
    "moving png": (animation(".png", duration=100), read_video, 20),
    "moving webp": (animation(".webp", duration=100), read_video, 20),
    "tiff pages": (animation(".tiff"), read_video, 20),
    "mp4": (video("clip.mp4", "h264"), read_video, 12),
    "mkv": (video("clip.mkv", "h264"), read_video, 12),
    "webm": (video("clip.webm", "libvpx-vp9"), read_video, 12),
    "csv": (table, read_custom, 30),
    "coco json": (coco, read_custom, 30),
    "ytvis json": (tracks, read_tracks, 30),
    "refer pickle": (refer, read_refer, 40),
    "safetensors": (safetensors, read_weights, 40),
    "torch zip": (zipped, read_weights, 30),
    "numpy pickle": (numpy_pickle, read_weights, 40),
    "yaml": (settings, lambda file: load_config(file), 30),
    "tokenizer": (words, read_tokenizer, 20),
    "masks of custom images": (table_masks, lambda file: read_custom(file.with_name("instructions.csv")), 20),
    "grefs": copied("grefcoco", "grefs*.json"),
    "reasonseg": copied("reasonseg", "val/*.json", "val"),
    "refytvos": copied("refytvos", "valid/meta_expressions.json", "valid"),
    "davis texts": copied("refdavis", "Davis17_annot1.txt", "valid"),
    "masks of davis": copied("refdavis", "480p/bike-packing/00000.png", "valid"),
    "tracks of revos": copied("revos", "mask_dict.json", "valid"),
    "meta of mevis": copied("mevis-v2", "valid_u/meta_expressions.json"),
    "tracks of mevis": copied("mevis-v2", "valid_u/mask_dict.json"),
    "reasonvos": copied("reasonvos", "meta_expressions.json"),
    "long-rvos": copied("long-rvos", "valid/meta_expressions.json"),
    "groundmore": copied("groundmore", "test_v2.json"),
    "ref-sav": copied("ref-sav", "meta_expressions_valid.json"),
    "ref-zom": copied("ref-zom", "refs*.p"),
    "muse": copied("muse", "muse_val.json"),
    "llava": copied("llava", "*.json"),
    "vqa": copied("gqa", "*.jsonl"),
    "mmbench": copied("mmbench", "*.tsv"),
}
"""Kind of file -> writes one, reads all of it, and mutations in the fast run."""


THREADED = dict.fromkeys(("mp4", "mkv", "webm", "ref-sav"), 1 << 29)
"""Bytes that decoders with threads of their own may map."""


def found(kind: str, folder: Path, seeds: range) -> list[str]:
    """Faults of one kind of file."""
    write, read, _ = CASES[kind]
    return faults(write(folder), read, seeds, THREADED.get(kind, ROOM))


@pytest.mark.parametrize("kind", CASES)
def test_damage_is_reported_in_one_line(kind: str, tmp_path: Path) -> None:
    assert not found(kind, tmp_path, range(CASES[kind][2]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_much_damage_is_reported_in_one_line(kind: str, tmp_path: Path) -> None:
    assert not found(kind, tmp_path, range(1000, 3000))


def test_each_kind_of_fault_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(bytes(100))
    intact = file.read_bytes()

    def broken(act: Callable[[Path], Any]) -> Callable[[Path], Any]:
        return lambda path: path.read_bytes() == intact or act(path)

    def raising(error: BaseException) -> Callable[[Path], Any]:
        def read(_: Path) -> None:
            raise error

        return broken(read)

    def told(read: Callable[[Path], Any]) -> str:
        (fault,) = faults(file, read, [3])
        return fault

    assert "foreign KeyError" in told(raising(KeyError("a")))
    assert "foreign UnicodeDecodeError" in told(raising(UnicodeDecodeError("utf-8", b"x", 0, 1, "bad")))
    assert "not one printable line" in told(raising(ValueError(f"{tmp_path}:\nx")))
    assert "does not say where" in told(raising(ValueError("damaged")))
    assert "foreign MemoryError" in told(broken(lambda _: bytearray(1 << 30)))
    assert "crash" in told(broken(lambda _: os.kill(os.getpid(), signal.SIGKILL)))
    assert not faults(file, raising(ValueError(f"{tmp_path} is damaged")), range(5))
    assert file.read_bytes() == intact
