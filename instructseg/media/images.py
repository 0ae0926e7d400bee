"""Any image to ``uint8[H, W, 3]`` RGB, upright."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np

from instructseg.files import atomic_path
from instructseg.media.incoming import is_content, is_tensor, stored, tensor_to_array
from instructseg.media.kinds import FORMATS, READ, is_heic, is_image, refusal

if TYPE_CHECKING:
    import torch
    from PIL import Image

ImageLike: TypeAlias = "str | Path | bytes | bytearray | IO[bytes] | np.ndarray | torch.Tensor | Image.Image"
"""What :func:`load_image` takes."""

MAX_PIXELS = 8192 * 8192
"""The most pixels of an image or frame that is read: 67 million, more than cameras of 61 megapixels and 8K
video give, and so many that reading takes less than 1 GB. A file of 20 KB can announce far more."""
_DENSEST = {"PNG": 8 * 1032, "GIF": 2731, "JPEG": 4096}
"""The most pixels that a byte of a file gives: by zlib's limit at one bit for a pixel, by the longest strings
of LZW, and eight times what Huffman codes of one bit for a block reach."""

_WIDEST_CANVAS = 16
"""The most that the canvas of an animated WebP is larger than what its frames cover."""


class BoundedFile(io.BufferedReader):
    """A file whose ``read`` never makes room for more than the file has, whatever a damaged length asks for."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.length = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        if size is None or size < 0:
            return super().read()
        return super().read(min(size, max(0, self.length - self.tell())))


def load_image(source: ImageLike, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads an image.

    A file or a Pillow image is turned upright by its EXIF orientation. Transparency is laid over white.
    16-bit grey is scaled to 8 bits, not clipped. An array is taken as it lies: grey ``[H, W]`` or
    ``[H, W, 1]``, RGB ``[H, W, 3]``, RGBA ``[H, W, 4]``; of type ``bool``, ``uint8``, ``uint16``
    (0..65535) or float, which must lie in 0..1. So is a tensor, ``[C, H, W]`` or ``[H, W, C]``; the first wins.

    Args:
        source: a path, an address (``https://...``), bytes, an open binary file, an array, a tensor or a
            ``PIL.Image.Image``; never modified. Of an animation, the first frame.
        max_pixels: a larger image is refused before it is decoded; an array is in memory already, and taken.

    Returns:
        ``uint8[H, W, 3]`` RGB; the given array itself where it already is that.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, of a format that is not read, empty, or has more than
            ``max_pixels``; the array
            has another shape, type or range of values.
        TypeError: ``source`` is something else.
    """
    from PIL import Image

    if isinstance(source, np.ndarray):
        return _array_to_rgb(source)
    if isinstance(source, Image.Image):
        check_pixels(source.size, max_pixels, "image")
        return pillow_to_rgb(source, "image")
    if is_tensor(source):
        return _array_to_rgb(tensor_to_array(source))
    if is_content(source):
        with stored(source) as path:
            return load_image(path, max_pixels)
    if not isinstance(source, str | Path):
        several = ": predict_many takes several" if isinstance(source, list | tuple) else ""
        raise TypeError(
            f"an image is a path, an address, bytes, an array, a tensor or a Pillow image, got "
            f"{type(source).__name__}{several}"
        )
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"no such image: {path}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an image")
    with BoundedFile(path) as file:
        image = open_pillow(file, path, max_pixels)
        try:
            image.load()
        except damage_errors() as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        return pillow_to_rgb(image, str(path))


def damage_errors() -> tuple[type[Exception], ...]:
    """All that Pillow is known to raise on damaged files."""
    from PIL import Image

    python = (OSError, SyntaxError, ValueError, LookupError, EOFError, TypeError, OverflowError)
    return (*python, struct.error, Image.DecompressionBombError)


def open_pillow(file: IO[bytes], path: Path, max_pixels: int) -> Image.Image:
    """Reads the header of an image that lies in ``file``.

    Pillow's own limit of pixels is not asked: it only warns of what takes gigabytes, and cannot be raised for
    one image alone.

    Raises:
        ValueError: as :func:`load_image`.
    """
    from PIL import Image

    Image.init()
    head = file.read(32)
    if not head:
        raise ValueError(f"{path} is an empty file")
    if head[:4] == b"RIFF" and head[12:16] == b"VP8X":  # opening it takes memory for its canvas already
        width, height = (1 + int.from_bytes(head[i : i + 3], "little") for i in (24, 27))
        check_pixels((width, height), max_pixels, str(path))
        drawn = _drawn_pixels(file)
        if drawn and width * height > _WIDEST_CANVAS * drawn:
            raise ValueError(f"{path} is damaged: it announces {height}x{width} pixels and draws on {drawn}")
    problem: Exception | None = None
    for name in FORMATS:
        factory, accepts = Image.OPEN.get(name, (None, None)) if name != "HEIF" else (_heif_reader(), is_heic)
        try:
            if factory is None or (accepts is not None and not accepts(head[:16])):
                continue
            file.seek(0)
            image = factory(file, str(path))
        except damage_errors() as error:
            problem = problem or error
            continue
        check_pixels(image.size, max_pixels, str(path))
        _check_density(image, path)
        return image
    if is_image(path) and problem is not None:
        raise ValueError(f"{path} is damaged, or no image: {problem}")
    raise ValueError(refusal(path, "image") or f"{path} is no image, or of an unknown format; {READ}")


def _heif_reader() -> Any:
    """Pillow's class for HEIC photos, of an optional package; ``None`` without it."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        return None
    return HeifImageFile


def _drawn_pixels(file: IO[bytes]) -> int:
    """The area, from the upper left corner, that the frames of an animated WebP cover; 0 without frames."""
    at, right, bottom = 12, 0, 0
    file.seek(at)
    while len(head := file.read(20)) == 20:
        if head[:4] == b"ANMF":
            x, y, width, height = (int.from_bytes(head[i : i + 3], "little") for i in (8, 11, 14, 17))
            right, bottom = max(right, 2 * x + width + 1), max(bottom, 2 * y + height + 1)
        size = int.from_bytes(head[4:8], "little")
        at += 8 + size + size % 2
        file.seek(at)
    return right * bottom


def _check_density(image: Image.Image, path: Path) -> None:
    """Refuses an image of more pixels than its file can hold, before room is made for them."""
    densest = _DENSEST.get(str(image.format))
    if image.format == "PNG" and image.mode.startswith("RGB"):
        densest = 1032 // 3
    elif image.format == "TIFF" and image.info.get("compression") == "raw":
        densest = 8
    length, pixels = path.stat().st_size, image.width * image.height
    if densest is not None and pixels > densest * length:
        raise ValueError(
            f"{path} is damaged: it announces {image.height}x{image.width} pixels, too many for {length} bytes"
        )


def check_pixels(size: tuple[int, int], max_pixels: int, name: str) -> None:
    """Refuses what is too large; ``size`` is ``(width, height)``.

    Raises:
        ValueError: it has more than ``max_pixels``.
    """
    if size[0] * size[1] > max_pixels:
        raise ValueError(
            f"{name} has {size[1]}x{size[0]} pixels, more than {max_pixels}: make it smaller, or raise "
            "max_pixels (--max-pixels)"
        )


def image_size(path: str | Path | IO[bytes]) -> tuple[int, int]:
    """Height and width of an image file in pixels, as its header has them: ``(1, 1)`` where it has none.

    Its EXIF orientation is not looked at.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return 1, 1  # reading it tells why


def save_image(path: str | Path, image: np.ndarray) -> None:
    """Writes ``uint8[H, W, 3]`` RGB; the suffix of ``path`` tells the format.

    Raises:
        ValueError: the suffix names no format, or the array is no image.
    """
    from PIL import Image

    Image.init()
    if Image.EXTENSION.get(Path(path).suffix.lower()) not in Image.SAVE:
        raise ValueError(f"{path}: the name must end in an image format such as .png or .jpg")
    with atomic_path(path) as temporary:
        Image.fromarray(_array_to_rgb(image)).save(temporary)


def pillow_to_rgb(image: Image.Image, name: str) -> np.ndarray:
    """``uint8[H, W, 3]`` of a Pillow image, turned upright; raises a ValueError that begins with ``name``."""
    from PIL import ImageOps

    if 0 in image.size:
        raise ValueError(f"{name} has no pixels: its size is {image.height}x{image.width}")
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            return _array_to_rgb(_wide_grey(np.asarray(image), name))
        if image.mode.endswith(("A", "a")) or "transparency" in image.info:
            return _over_white(np.asarray(image.convert("RGBA")))
        return np.array(image.convert("RGB"))
    except damage_errors() as error:  # a Pillow image reads its file only here
        raise ValueError(f"{name} is damaged: {error}") from error


def _wide_grey(grey: np.ndarray, name: str) -> np.ndarray:
    """16-bit values, which Pillow may hold in 32 bits; floats, whose range the caller checks."""
    if grey.dtype.kind == "f":
        return grey
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError(f"{name} has grey values of {grey.min()}..{grey.max()}; at most 16 bits are read")
    return grey.astype(np.uint16)


def _array_to_rgb(array: np.ndarray) -> np.ndarray:
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise ValueError(f"an image is [H, W], [H, W, 3] or [H, W, 4], got the shape {array.shape}")
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    elif pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif pixels.dtype.kind == "f":
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN fails, too
            raise ValueError(f"a float image lies in 0..1, got {pixels.min():g}..{pixels.max():g}")
        pixels = np.rint(pixels * 255).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        raise ValueError(f"an image is bool, uint8, uint16 or float, got {pixels.dtype}")
    if pixels.shape[2] == 4:
        return _over_white(pixels)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.ascontiguousarray(pixels)


def _over_white(rgba: np.ndarray) -> np.ndarray:
    """``uint8[H, W, 4]`` to ``uint8[H, W, 3]``, some rows at a time to save memory."""
    result = np.empty((*rgba.shape[:2], 3), np.uint8)
    rows = max(1, 1_000_000 // rgba.shape[1])
    for i in range(0, len(rgba), rows):
        part = rgba[i : i + rows]
        colour, alpha = part[..., :3].astype(np.uint32), part[..., 3:].astype(np.uint32)
        result[i : i + rows] = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return result
