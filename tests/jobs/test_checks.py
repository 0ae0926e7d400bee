"""Options are checked without torch, as the parts behind them check them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from instructseg.devices import choose_dtype
from instructseg.inference.memory import parse_size
from instructseg.inference.stride import Stride
from instructseg.jobs import checks
from instructseg.model.quantized import check_quantization
from instructseg.results.folder import check_place

HUGE = (10**400, -(10**30), 10**12, 0, -1)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (checks.check_device, [None, "auto", "cpu", "cuda", "cuda:1", "mps", "xpu:0"],
         ["gpu", "meta", "hpu", "cuda:", "cuda:-1", "cuda:9999", "", "CPU", "cpu\n", "vulkan", "cuda:\u0663"]),
        (checks.check_dtype, [None, "auto", "float32", "bfloat16", "float16"], ["fp8", "float64", "", "half"]),
        (checks.check_quantization, [None, "int8", "int4"], ["int2", "", "INT8"]),
        (checks.check_memory, [None, "6GB", "6GiB", "800M", "1.5 gb", "123456"],
         ["", "lots", "0", "0GB", "-1GB", "nan", "inf", "1e9", "6TB", "9" * 400, "6I"]),
        (checks.check_stride, [1, "1", "auto", "100000"],
         ["often", "", "0", "-1", "1.5", "nan", "9" * 5000, 10**9]),
        (checks.check_fps, [None, 0.001, 24.0, 1000.0],
         [0.0, -1.0, 1e300, 1e-300, float("nan"), float("inf"), -float("inf")]),
        (lambda value: checks.check_share("threshold", value), [None, 0.0, 1.0],
         [-0.1, 1.1, float("nan"), 1e300]),
        (lambda value: checks.check_count("threads", value, 64), [None, 1, 64], [65, *HUGE]),
    ],
)  # fmt: skip
def test_values(check: Callable[[Any], None], good: list[Any], bad: list[Any]) -> None:
    for value in good:
        check(value)
    for value in bad:
        with pytest.raises(ValueError) as caught:
            check(value)
        assert "\n" not in str(caught.value).replace(str(value), "")


def test_the_same_is_taken_later() -> None:
    for name in checks.DTYPES[:-1]:
        choose_dtype(name)
    for name in checks.QUANTIZATIONS:
        check_quantization(name)
    for size in ("6GB", "6GiB", "800M", "1.5 gb", "123456", "2KiB"):
        checks.check_memory(size)
        assert parse_size(size) > 0
    for stride in ("1", "auto", "100000"):
        Stride.of(stride)


@pytest.mark.parametrize(
    ("check", "slip", "meant"),
    [
        (checks.check_device, "gpu", "did you mean cuda?"),
        (checks.check_device, "gpu:1", "did you mean cuda:1?"),
        (checks.check_device, "cude", "did you mean cuda?"),
        (checks.check_dtype, "fp16", "did you mean float16?"),
        (checks.check_dtype, "bf16", "did you mean bfloat16?"),
        (checks.check_quantization, "8bit", "did you mean int8?"),
    ],
)
def test_what_is_meant_is_guessed(check: Callable[[str], None], slip: str, meant: str) -> None:
    with pytest.raises(ValueError, match=meant.replace("?", r"\?")):
        check(slip)


def test_a_place_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    check_place(tmp_path / "new" / "deep")
    for name in ("file/out", "file/a/b", "dangling/out"):
        with pytest.raises(ValueError, match="is no folder"):
            check_place(tmp_path / name)


def test_wrong_options_are_told_without_torch(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    code = (
        "import sys; from instructseg.cli import app\n"
        "from typer.testing import CliRunner\n"
        "for words in (['--device', 'gpu'], ['--dtype', 'x'], ['--quantize', 'x'], ['--quantise', 'x'],\n"
        "              ['--max-memory', 'x'], ['-o', 'x.gif'], ['--threads', '1000000'], ['-f', 'x']):\n"
        "    result = CliRunner().invoke(app, ['image', 'a.png', 'dog', *words])\n"
        "    assert result.exit_code == 2 and result.stderr.startswith('error: '), words\n"
        "    assert result.stderr.count('\\n') == 1, words\n"
        "    assert not {'torch', 'transformers'} & set(sys.modules), words\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=tmp_path)
