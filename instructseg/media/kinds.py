"""What a file is, by its first bytes, and what to do with one that is not read."""

from __future__ import annotations

from pathlib import Path

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "HEIF")
"""Image formats that are read, by Pillow's names."""
FILE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".ppm", ".pgm",
    ".heic", ".heif",
)  # fmt: skip
"""Names of image files in a folder."""
READ = "read are JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, JPEG 2000, PPM and ICO"
VIDEOS = "MP4, MOV, MKV, WebM, AVI, MPEG and whatever else ffmpeg decodes, animated GIF, PNG, WebP and TIFF"
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def refusal(path: Path, wanted: str) -> str:
    """Why a file is not read as ``"image"`` or ``"video"``, and how to convert it; empty if unknown."""
    with path.open("rb") as file:
        head = file.read(4096)
    read = READ if wanted == "image" else f"videos are {VIDEOS}"
    image = f"{read}; convert it"
    if not head:
        return f"{path} is an empty file"
    if is_heic(head):
        return (
            f"{path} is a HEIC photo, as iPhones take them: pip install pillow-heif reads it, or convert it: "
            f"heif-convert {path.name} {path.stem}.jpg"
        )
    if head.startswith(b"%PDF"):
        return f"{path} is a PDF document; {image} page by page: pdftoppm -png {path.name} {path.stem}"
    lowered = head.lower()
    if b"<svg" in lowered:
        return f"{path} is an SVG drawing; {image}: rsvg-convert {path.name} -o {path.stem}.png"
    if head.startswith(b"%!PS"):
        return f"{path} is PostScript; {image}: gs -sDEVICE=png16m -o {path.stem}.png {path.name}"
    if head.startswith(b"8BPS"):
        return f"{path} is a Photoshop file; {image}: export it as PNG"
    if head.startswith(b"PK\x03\x04"):
        return f"{path} is a ZIP archive or an office document: unpack it first; {read}"
    if wanted == "image" and (
        (head[4:8] in (b"ftyp", b"moov", b"mdat") and head[8:12] not in (b"avif", b"avis"))
        or head.startswith(b"\x1a\x45\xdf\xa3")
        or (head.startswith(b"RIFF") and head[8:12] == b"AVI ")
    ):
        return f"{path} is a video: use 'instructseg video', or open_video()"
    if b"\0" not in head and not lowered.startswith((b"\xff", b"\x89")):
        try:
            head[:-4].decode("utf-8") if len(head) == 4096 else head.decode("utf-8")
        except UnicodeDecodeError:
            return ""
        return f"{path} is {'a web page' if b'<html' in lowered else 'text'}, no {wanted}; {read}"
    return ""


def is_heic(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a HEIC photo."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC


def is_image(path: Path) -> bool:
    """Whether a file begins as an image does, or has the name of one."""
    with path.open("rb") as file:
        head = file.read(12)
    magic = (
        b"\xff\xd8\xff",
        b"\x89PNG",
        b"BM",
        b"GIF8",
        b"II*\0",
        b"MM\0*",
        b"II+\0",
        b"MM\0+",
        b"\0\0\0\x0cjP",
    )
    return (
        path.suffix.lower() in FILE_SUFFIXES
        or head.startswith(magic)
        or (head[:4] == b"RIFF" and head[8:] == b"WEBP")
        or head[4:12] == b"ftypavif"
        or is_heic(head)
    )
