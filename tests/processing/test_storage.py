"""Tokenizers that are damaged, or that bring code of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instructseg.processing import InstructSegProcessor
from instructseg.processing.storage import load_tokenizer


@pytest.fixture
def whole(processor: InstructSegProcessor, tmp_path: Path) -> Path:
    """A folder with ``tokenizer.json``."""
    processor.save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def phi(processor: InstructSegProcessor, tmp_path: Path) -> Path:
    """A folder with Phi's files."""
    processor.tokenizer.backend_tokenizer.model.save(str(tmp_path))
    settings = {
        "tokenizer_class": "CodeGenTokenizer",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    return tmp_path


@pytest.mark.parametrize("kind", ["CodeGenTokenizer", "TheirTokenizer"])
def test_code_of_a_folder_is_never_run(kind: str, phi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where somebody would say yes on a terminal."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    file = phi / "tokenizer_config.json"
    named = {"auto_map": {"AutoTokenizer": ["code.TheirTokenizer", None]}, "tokenizer_class": kind}
    file.write_text(json.dumps({**json.loads(file.read_text()), **named}))
    (phi / "code.py").write_text(
        "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"
        "from transformers import PreTrainedTokenizer\nclass TheirTokenizer(PreTrainedTokenizer): pass\n"
    )
    try:
        assert load_tokenizer(phi).encode("a dog")
    except ValueError as error:
        assert "it names code of its own, which is not run" in str(error) and "\n" not in str(error)
    assert not list(phi.rglob("ran"))


CONTENTS: list[Any] = [
    b"", b"{", b"[]", b"3", b"null", b"[" * 200_000, b"\xff\xfe\x00", b'"' + b"x" * 9, b"{}", b'{"a": 1}',
]  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS, ids=lambda raw: raw[:12])
def test_damaged_files_are_named(content: bytes, whole: Path) -> None:
    (whole / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json") as caught:
        load_tokenizer(whole)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["normalizer", "pre_tokenizer", "post_processor", "decoder", "model", "added_tokens"]
)
@pytest.mark.parametrize("value", ["missing", 3, {"type": "Nowhere"}, [[[]]]])
def test_parts_of_a_tokenizer(key: str, value: Any, whole: Path) -> None:
    file = whole / "tokenizer.json"
    content = json.loads(file.read_text())
    content[key] = value
    if value == "missing":
        del content[key]
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="tokenizer") as caught:
        load_tokenizer(whole)
    assert "\n" not in str(caught.value)


SETTINGS = [b"[]", b"{", b"[" * 200_000, b'{"tokenizer_class": 3}', b'{"added_tokens_decoder": 3}']


@pytest.mark.parametrize("content", SETTINGS, ids=lambda raw: raw[:20])
@pytest.mark.parametrize("name", ["tokenizer_config.json", "vocab.json"])
def test_damaged_files_of_phi(name: str, content: bytes, phi: Path) -> None:
    (phi / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer|vocab") as caught:
        InstructSegProcessor(load_tokenizer(phi))
    assert "\n" not in str(caught.value)


def test_two_tokens_of_one_number(phi: Path) -> None:
    file = phi / "vocab.json"
    vocabulary = json.loads(file.read_text())
    file.write_text(json.dumps({**vocabulary, "l": vocabulary["m"]}))
    with pytest.raises(ValueError, match="two of its tokens have one number"):
        load_tokenizer(phi)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_files_with_a_byte_order_mark_give_the_same_tokenizer(whole: Path, name: str, encoding: str) -> None:
    file = whole / name
    plain = load_tokenizer(whole).encode("the red circle, moving left")
    marked = file.read_text(encoding="utf-8").encode(encoding)
    file.write_bytes(marked)
    assert load_tokenizer(whole).encode("the red circle, moving left") == plain
    assert file.read_bytes() == marked  # the user's file stays as it was
