from __future__ import annotations

import functools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instructseg.media import image_size, load_image, open_video, save_image
from tests.media.clips import frames


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)


def test_a_file_and_its_saved_copy(tmp_path: Path, pixels: np.ndarray) -> None:
    save_image(tmp_path / "new" / "a.png", pixels)
    for source in (
        tmp_path / "new" / "a.png",
        str(tmp_path / "new" / "a.png"),
        pixels,
        Image.fromarray(pixels),
    ):
        loaded = load_image(source)
        assert loaded.dtype == np.uint8
        assert loaded.flags.c_contiguous
        assert np.array_equal(loaded, pixels)
    with pytest.raises(ValueError, match=r"a\.xyz: the name must end in an image format"):
        save_image(tmp_path / "a.xyz", pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, pixels: np.ndarray, orientation: int) -> None:
    # how the upright picture is stored, by the EXIF standard: where row 0 and column 0 of the file are
    stored = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, 1),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(load_image(tmp_path / "a.png"), pixels)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(load_image(image), pixels)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "YCbCr", "HSV"])
def test_modes_without_transparency(tmp_path: Path, pixels: np.ndarray, mode: str) -> None:
    image = Image.fromarray(pixels).convert(mode)
    assert np.array_equal(load_image(image), np.asarray(image.convert("RGB")))
    if mode == "CMYK":
        image.save(tmp_path / "a.tif")
        assert np.array_equal(load_image(tmp_path / "a.tif"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_over_white(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (3, 1), 0)
    image.putalpha(Image.fromarray(np.array([[0, 51, 255]], dtype=np.uint8)))
    image.save(tmp_path / "a.png")
    expected = np.repeat(np.array([[[255], [204], [0]]], dtype=np.uint8), 3, axis=2)
    assert np.array_equal(load_image(tmp_path / "a.png"), expected)
    assert np.array_equal(load_image(image), expected)
    assert np.array_equal(load_image(np.asarray(image.convert("RGBA"))), expected)


def test_a_transparent_colour_of_a_palette_is_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a.png", transparency=0)
    assert load_image(tmp_path / "a.png").tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_16_bit_grey_is_scaled(tmp_path: Path) -> None:
    grey = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    expected = np.repeat(np.array([[[0], [1], [128], [255]]], dtype=np.uint8), 3, axis=2)
    assert np.array_equal(load_image(tmp_path / "a.png"), expected)
    assert np.array_equal(load_image(grey), expected)
    assert np.array_equal(load_image(Image.fromarray(grey.astype(np.int32))), expected)
    with pytest.raises(ValueError, match=r"grey values of 0\.\.70000"):
        load_image(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)))


def test_arrays() -> None:
    assert load_image(np.array([[0.0, 0.5, 1.0]], dtype=np.float32))[0, :, 0].tolist() == [0, 128, 255]
    assert load_image(np.array([[True, False]]))[..., 1].tolist() == [[255, 0]]
    assert load_image(np.full((2, 3, 1), 7, dtype=np.uint8)).tolist() == [[[7] * 3] * 3] * 2


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 8, 9), dtype=np.uint8), r"got the shape \(3, 8, 9\)"),
        (np.zeros((0, 9, 3), dtype=np.uint8), r"got the shape \(0, 9, 3\)"),
        (np.zeros(5, dtype=np.uint8), r"got the shape \(5,\)"),
        (np.full((4, 4, 3), 200.0), r"a float image lies in 0..1, got 200..200"),
        (np.full((4, 4, 3), np.nan), r"a float image lies in 0..1"),
        (np.zeros((4, 4, 3), dtype=np.int64), "got int64"),
    ],
)
def test_arrays_that_are_no_picture(array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_image(array)


def test_the_given_array_is_not_modified(pixels: np.ndarray) -> None:
    rgba = np.dstack([pixels, pixels[..., :1]])
    before = rgba.copy()
    load_image(rgba)
    assert np.array_equal(rgba, before)


def test_files_that_are_no_picture(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such image: .*absent\.jpg"):
        load_image(tmp_path / "absent.jpg")
    with pytest.raises(ValueError, match="is a folder"):
        load_image(tmp_path)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match=r"empty\.jpg is an empty file"):
        load_image(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.jpg is text, no image; read are JPEG"):
        load_image(tmp_path / "text.jpg")
    with pytest.raises(TypeError, match="got list"):
        load_image([[1, 2]])  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_half_a_file(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"half{suffix}"
    save_image(path, noise)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=rf"half\{suffix} is damaged"):
        load_image(path)


@pytest.mark.parametrize("name", ["a.psd", "a.fits", "a.cur", "a.txt", "a"])
def test_a_format_that_cannot_be_written(tmp_path: Path, pixels: np.ndarray, name: str) -> None:
    with pytest.raises(ValueError, match=r"must end in an image format such as \.png"):
        save_image(tmp_path / name, pixels)


def test_the_size_of_a_file(tmp_path: Path, pixels: np.ndarray) -> None:
    save_image(tmp_path / "a.png", pixels)
    assert image_size(tmp_path / "a.png") == pixels.shape[:2]
    (tmp_path / "b.png").write_text("no picture")
    assert image_size(tmp_path / "b.png") == (1, 1)


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size, with no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return head + struct.pack(">I4sI", 0, b"IDAT", zlib.crc32(b"IDAT"))


def test_sizes_that_a_header_makes_up(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(13000, 13000))
    with pytest.raises(
        ValueError, match=r"bomb\.png has 13000x13000 pixels, more than 67108864: .*--max-pixels"
    ):
        load_image(path)
    with pytest.raises(ValueError, match="is damaged"):  # beyond Pillow's own limit, too
        load_image(path, max_pixels=200_000_000)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".gif", ".tif", ".jp2", ".ppm", ".avif"])
def test_the_limit_of_pixels_holds_for_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    save_image(path, np.zeros((40, 50, 3), dtype=np.uint8))
    assert load_image(path, max_pixels=2000).shape == (40, 50, 3)
    for read in (load_image, functools.partial(open_video, fps=None)):
        with pytest.raises(ValueError, match=rf"a\{suffix} has 40x50 pixels, more than 1999"):
            read(path, max_pixels=1999)
    with Image.open(path) as image, pytest.raises(ValueError, match="image has 40x50 pixels"):
        load_image(image, max_pixels=1999)


def test_a_canvas_of_webp_is_not_made_before_it_is_measured(tmp_path: Path) -> None:
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + b"\xff\x3f\0" * 2
    (tmp_path / "a.webp").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    with pytest.raises(ValueError, match="has 16384x16384 pixels"):
        load_image(tmp_path / "a.webp")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "a.heic",
            b"\0\0\0\x18ftypheic\0\0\0\0",
            "is damaged|is a HEIC photo.*heif-convert a.heic a.jpg",
        ),
        ("a.svg", b'<?xml version="1.0"?><svg xmlns="x"/>', "is an SVG drawing.*convert it: rsvg-convert"),
        ("a.pdf", b"%PDF-1.7\n", "is a PDF document.*convert it page by page: pdftoppm"),
        ("a.eps", b"%!PS-Adobe", "is PostScript"),
        ("a.psd", b"8BPS\0\1", "is a Photoshop file"),
        ("a.docx", b"PK\x03\x04", "is a ZIP archive or an office document"),
        ("a.html", b"<html></html>", "is a web page"),
        ("a.jpg", b"\0\1\2\3", "is damaged|is no image"),
        ("a.png", b"\xf1", "no image|no video"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (load_image, open_video):
        with pytest.raises(ValueError, match=told):
            read(tmp_path / name)


def test_a_damaged_pillow_image(tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    save_image(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:2000])
    with Image.open(path) as image, pytest.raises(ValueError, match="image is damaged"):
        load_image(image)


def test_a_canvas_far_larger_than_its_frames_is_refused_before_it_is_made(tmp_path: Path) -> None:
    file = tmp_path / "moving.webp"
    first, *others = (Image.fromarray(frame) for frame in frames(3))
    first.save(file, save_all=True, append_images=others, duration=100)
    raw = bytearray(file.read_bytes())
    assert load_image(file).shape == (48, 64, 3)
    raw[24:30] = (6000).to_bytes(3, "little") * 2
    file.write_bytes(raw)
    with pytest.raises(ValueError, match="announces 6001x6001 pixels and draws on 3072"):
        load_image(file)


def test_images_of_more_pixels_than_their_bytes_can_hold_are_refused(tmp_path: Path) -> None:
    grain = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(grain).save(tmp_path / "a.jpg")
    raw = bytearray((tmp_path / "a.jpg").read_bytes())
    at = raw.index(b"\xff\xc0") + 5
    raw[at : at + 4] = (8000).to_bytes(2, "big") * 2
    (tmp_path / "a.jpg").write_bytes(raw)
    with pytest.raises(ValueError, match=r"a\.jpg is damaged: it announces 8000x8000 pixels, too many for"):
        load_image(tmp_path / "a.jpg")
    # what compresses best is no damage
    Image.new("L", (4000, 4000)).save(tmp_path / "black.png", optimize=True)
    Image.new("RGB", (4000, 4000)).save(tmp_path / "black.jpg", quality=30)
    Image.new("P", (4000, 4000)).save(tmp_path / "black.gif")
    Image.new("1", (4000, 4000)).save(tmp_path / "black.tiff", compression="tiff_lzw")
    for name in ("black.png", "black.jpg", "black.gif", "black.tiff"):
        assert not load_image(tmp_path / name).any(), name
