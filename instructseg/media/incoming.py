"""Images and videos that are no files yet: addresses, bytes and open files, and tensors."""

from __future__ import annotations

import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import numpy as np

from instructseg.files import name_fault
from instructseg.version import __version__

MAX_DOWNLOAD = 8 << 30
"""Bytes of the largest file that is downloaded."""
_TIMEOUT = 60
_CHANNELS = (1, 3, 4)


def is_address(source: Any) -> bool:
    """True for an address of the web."""
    return isinstance(source, str) and re.match(r"https?://", source, re.IGNORECASE) is not None


def is_content(source: Any) -> bool:
    """True for what :func:`stored` takes: an address, bytes, or an open binary file."""
    return is_address(source) or isinstance(source, bytes | bytearray | memoryview) or hasattr(source, "read")


def store(source: str | bytes | bytearray | memoryview | IO[bytes], folder: str | Path) -> Path:
    """Writes an address, bytes or an open file to a file.

    Args:
        source: see above; an open file is read from where it stands.
        folder: of the file, which is named after the address, or ``content``.

    Raises:
        ValueError: the address cannot be downloaded, or the file is open for text.
    """
    if isinstance(source, str):
        path = Path(folder) / address_name(source)
        _download(source, path)
        return path
    path = Path(folder) / "content"
    if isinstance(source, bytes | bytearray | memoryview):
        path.write_bytes(source)
        return path
    with path.open("wb") as file:
        try:
            shutil.copyfileobj(source, file)
        except TypeError:
            raise ValueError("the file is open for text: open it in binary mode, 'rb'") from None
    return path


def address_name(address: str) -> str:
    """Name of the file at an address; ``content`` where it has none."""
    name = unquote(PurePosixPath(urlsplit(address).path).name)
    return "content" if name_fault(name, nested=False) else name


@contextmanager
def stored(source: Any) -> Iterator[Path]:
    """The same, for a while; errors name the address, or say that it is no file.

    Raises:
        ValueError: as :func:`store` and the block.
    """
    with TemporaryDirectory(prefix="instructseg-") as folder:
        path = store(source, folder)
        try:
            yield path
        except ValueError as error:
            told = source if isinstance(source, str) else "the content"
            raise type(error)(str(error).replace(str(path), told)) from error


def tensor_to_array(tensor: Any) -> np.ndarray:
    """``[C, H, W]``, ``[H, W, C]`` or ``[H, W]`` of torch to an array with channels last; the first wins.

    A batch of one is its image.
    """
    values = tensor.detach().cpu()
    array: np.ndarray = (values.float() if values.is_floating_point() else values).numpy()
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[0] in _CHANNELS:
        return array.transpose(1, 2, 0)
    return array


def is_tensor(source: Any) -> bool:
    """True for a tensor of torch, which need not be imported."""
    return all(hasattr(source, name) for name in ("detach", "cpu", "is_floating_point"))


def _download(address: str, path: Path) -> None:
    request = urllib.request.Request(address, headers={"User-Agent": f"instructseg/{__version__}"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer, path.open("wb") as file:
            announced = int(answer.headers.get("Content-Length") or 0)
            while block := answer.read(1 << 20):
                if file.tell() + len(block) > MAX_DOWNLOAD:
                    raise ValueError(f"{address} has more than {MAX_DOWNLOAD >> 30} GiB: download it first")
                file.write(block)
            if file.tell() < announced:
                raise ValueError(f"{address} broke off after {file.tell()} of {announced} bytes: try again")
    except urllib.error.HTTPError as error:
        raise ValueError(f"{address} cannot be downloaded: {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise ValueError(f"{address} cannot be downloaded: {error.reason}") from error
    except TimeoutError as error:
        raise ValueError(f"{address} does not answer: try again, or download it first") from error
