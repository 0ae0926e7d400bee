"""File formats, and files that are damaged or mean harm."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from instructseg.convert import readers
from instructseg.convert.readers import load_pickled, open_weights
from instructseg.convert.safetensors_file import check_types

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b.c": torch.ones(4, dtype=torch.float16)}


def assert_same(path: Path) -> None:
    weights = open_weights(path)
    assert weights.shapes == {name: tuple(tensor.shape) for name, tensor in TENSORS.items()}
    found = dict(weights)
    for name, tensor in TENSORS.items():
        assert torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype


@pytest.mark.parametrize("form", ["model.safetensors", "pytorch_model.bin", "any.pth", "any.pt", "any.pkl"])
@pytest.mark.parametrize("group", [1, 1 << 20])
def test_single_files(form: str, group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_GROUP_BYTES", group)
    file = tmp_path / form
    if form.endswith("safetensors"):
        save_file(TENSORS, file)
    elif form.endswith("pkl"):
        file.write_bytes(pickle.dumps({"model": OrderedDict((k, v.numpy()) for k, v in TENSORS.items())}))
    else:
        torch.save({"model": TENSORS, "iteration": 3}, file)
    assert_same(file if form.startswith("any") else tmp_path)


def test_files_of_old_torch(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_same(tmp_path / "old.pth")


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
def test_shards(kind: str, tmp_path: Path) -> None:
    stem, suffix = kind.split(".")
    mapping = {}
    for i, (name, tensor) in enumerate(TENSORS.items()):
        file = f"{stem}-{i + 1:05d}-of-00002.{suffix}"
        save = save_file if suffix == "safetensors" else torch.save
        save({name: tensor}, tmp_path / file)
        mapping[name] = file
    (tmp_path / f"{kind}.index.json").write_text(json.dumps({"weight_map": mapping}))
    assert_same(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        open_weights(tmp_path)


def test_of_shards_the_index_decides(tmp_path: Path) -> None:
    stale, extra = torch.full((2, 3), 9.0), torch.zeros(1)
    save_file({"a": TENSORS["a"]}, tmp_path / "model-1.safetensors")
    save_file({"a": stale, "b.c": TENSORS["b.c"], "unlisted": extra}, tmp_path / "model-2.safetensors")
    (tmp_path / "model-3.safetensors").write_bytes(b"of another model, and not named")
    mapping = {"a": "model-1.safetensors", "b.c": "model-2.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": mapping}))
    assert_same(tmp_path)
    index.write_text(json.dumps({"weight_map": {**mapping, "lost": "model-1.safetensors"}}))
    with pytest.raises(ValueError, match=r"places lost in model-1\.safetensors, which lacks it"):
        open_weights(tmp_path)
    save_file(TENSORS, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"holds both model\.safetensors and model\.safetensors\.index\.json"):
        open_weights(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "3",
        "{}",
        '{"weight_map": 3}',
        '{"weight_map": {}}',
        '{"weight_map": {"a": 3}}',
        "{",
        "[" * 200_000,
        '{"weight_map": {"a": null}}',
        '{"weight_map": {"a": ["x"]}}',
        json.dumps({"weight_map": {"a": "x" * 999}}),
    ],
    ids=lambda text: text[:40],
)
def test_damaged_indices_are_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match=r"model\.safetensors\.index\.json") as caught:
        open_weights(tmp_path)
    assert "\n" not in str(caught.value)


def with_header(file: Path, **changes: object) -> None:
    """Rewrites what the header of a safetensors file says of tensor ``b.c``."""
    raw = file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header["b.c"].update(changes)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


@pytest.mark.parametrize("kind", ["U16", "F8_E4M3", "C64", "Q7", 3, None])
def test_types_that_no_weights_have(kind: object, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(TENSORS, file)
    with_header(file, dtype=kind)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        open_weights(file)


@pytest.mark.parametrize("kind", ["I16", "BF16"])
def test_a_header_that_lies_about_a_type(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({**TENSORS, "d": TENSORS["b.c"].clone()}, file)
    wanted = dict.fromkeys(["a", "b.c", "d"], torch.float32)
    check_types("it", open_weights(file).entries, wanted)
    with pytest.raises(ValueError, match=r"bfloat16 by config\.json but float16 by"):
        check_types("it", open_weights(file).entries, wanted, torch.bfloat16)
    with_header(file, dtype=kind)
    message = {
        "I16": r"b\.c is stored as int16 in model\.safetensors, but the model needs a floating-point type",
        "BF16": r"its values are (b?float16) by (b\.c|d) but b?float16 by (b\.c|d): one of them is wrong",
    }
    with pytest.raises(ValueError, match=message[kind]):
        check_types("it", open_weights(file).entries, wanted)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "..", "sub/x.safetensors"])
def test_an_index_cannot_point_outside(name: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ValueError, match="points outside its folder"):
        open_weights(tmp_path)


@pytest.mark.parametrize("form", ["x.safetensors", "x.bin", "x.pkl"])
def test_truncated_files_are_named(form: str, tmp_path: Path) -> None:
    file = tmp_path / form
    if form.endswith("safetensors"):
        save_file(TENSORS, file)
    elif form.endswith("bin"):
        torch.save(TENSORS, file)
    else:
        file.write_bytes(pickle.dumps({k: v.numpy() for k, v in TENSORS.items()}))
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match=form):
        open_weights(file)


class _Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("this must not run",))


@pytest.mark.parametrize("form", ["x.pkl", "x.pth"])
def test_pickles_build_nothing_but_tensors(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / form
    content = {"model": {"a": np.ones(3), "b": _Harm()}}
    if form.endswith("pkl"):
        file.write_bytes(pickle.dumps(content))
        expected = r"builtins\.print"
    else:
        torch.save(content, file)
        expected = "x.pth"
    with pytest.raises(ValueError, match=expected) as caught:
        load_pickled(file)
    assert "weights_only" not in str(caught.value)  # torch's advice to read it unsafely
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"\x80\x02]r\xff\xff\xff\x3f.", b"\x80\x02]p1000000000\n."])
def test_a_pickle_takes_no_memory_beyond_its_size(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(content)  # the unpickler makes room for a billion notes
    with pytest.raises(ValueError, match="at a place beyond its"):
        load_pickled(tmp_path / "x.pkl")


@pytest.mark.parametrize(
    "content", [{"a": torch.zeros(3).to_sparse()}, {"a": torch.zeros(3, device="meta")}, {"a": "text"}, [1], 3]
)
def test_tensors_that_are_not_plain_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth"):
        load_pickled(tmp_path / "x.pth")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
@example(b"\x8d" + bytes(7) + b"\x01")  # a text of 2**56 bytes
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "random.pkl"
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"random\.pkl"):
        load_pickled(file)


@settings(max_examples=200, deadline=None)
@given(st.data())
@pytest.mark.filterwarnings("error")
def test_damaged_torch_files_are_named(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    file = tmp_path_factory.getbasetemp() / "hurt.pth"
    torch.save(TENSORS, file, _use_new_zipfile_serialization=data.draw(st.booleans()))
    whole = bytearray(file.read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(whole[: data.draw(st.integers(1, len(whole)))])
    try:
        load_pickled(file)  # what the flipped bit did not hurt may be read
    except ValueError as error:
        assert "hurt.pth" in str(error)


def test_missing_and_unknown(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        open_weights(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"holds none of model\.safetensors"):
        open_weights(tmp_path)
    (tmp_path / "x.onnx").write_bytes(b"1")
    with pytest.raises(ValueError, match="unknown kind of checkpoint"):
        open_weights(tmp_path / "x.onnx")
