"""Addresses, bytes, open files and tensors, against the same images and videos as files."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from instructseg.media import VideoWriter, incoming, load_image, open_video
from tests.media.clips import frames


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Prints nothing."""

    def do_GET(self) -> None:
        if self.path == "/cut.png":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"few")
        else:
            super().do_GET()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The address of a server of ``tmp_path``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def image(tmp_path: Path) -> np.ndarray:
    shown = frames(1)[0]
    Image.fromarray(shown).save(tmp_path / "a photo.png")
    return shown


def test_images_of_every_kind_are_the_same(tmp_path: Path, image: np.ndarray, site: str) -> None:
    content = (tmp_path / "a photo.png").read_bytes()
    channels_first = torch.from_numpy(image.transpose(2, 0, 1).copy())
    with (tmp_path / "a photo.png").open("rb") as file:
        given = [content, bytearray(content), memoryview(content), io.BytesIO(content), file]
        tensors = channels_first, channels_first[None], torch.from_numpy(image.copy())
        given += [f"{site}/a%20photo.png", *tensors]
        given += [channels_first / 255, (channels_first / 255).double().requires_grad_()]
        for source in given:
            assert (load_image(source) == image).all()  # type: ignore[arg-type]
    assert (load_image(torch.zeros(5, 7)) == 0).all() and load_image(torch.zeros(1, 5, 7)).shape == (5, 7, 3)
    assert load_image(torch.full((3, 4, 4), 0.5, dtype=torch.bfloat16))[0, 0, 0] == 128


def test_videos_of_every_kind_are_the_same(tmp_path: Path, site: str) -> None:
    with VideoWriter(tmp_path / "a.mp4", 12.5, (48, 64)) as writer:
        for frame in frames(4):
            writer.write(frame)
    wanted = np.stack(list(open_video(tmp_path / "a.mp4")))
    content = (tmp_path / "a.mp4").read_bytes()
    for source in (content, io.BytesIO(content), f"{site}/a.mp4"):
        video = open_video(source)  # type: ignore[arg-type]
        assert video.fps == 12.5 and (np.stack(list(video)) == wanted).all() and len(list(video)) == 4
    tensor = torch.from_numpy(wanted.transpose(0, 3, 1, 2).copy())
    assert (np.stack(list(open_video(tensor))) == wanted).all() and len(open_video(tensor)) == 4
    assert len(open_video(tensor[0])) == 1
    kept = Path(str(open_video(content).kept.name))  # type: ignore[attr-defined]
    assert not kept.exists()  # the video is gone, and so is its file


def test_faults_name_the_source(tmp_path: Path, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.html").write_text("<html></html>")
    (tmp_path / "large.png").write_bytes(bytes(1 << 20))
    for source, told in (
        (f"{site}/none.png", f"{site}/none.png cannot be downloaded: 404"),
        (f"{site}/page.html", f"^{site}/page.html is a web page, no image"),
        (f"{site}/cut.png", "broke off after 3 of 100 bytes"),
        ("http://127.0.0.1:9/a.png", "cannot be downloaded: .*refused"),
        (b"nothing", "^the content is text, no image"),
        (b"", "^the content is an empty file"),
        (io.StringIO("x"), "open it in binary mode"),
    ):
        with pytest.raises(ValueError, match=told):
            load_image(source)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^the content is text, no video"):
        open_video(b"nothing")
    monkeypatch.setattr(incoming, "MAX_DOWNLOAD", 1000)
    with pytest.raises(ValueError, match="has more than 0 GiB: download it first"):
        load_image(f"{site}/large.png")


def test_an_address_names_its_file_without_leaving_the_folder(tmp_path: Path, site: str) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "x.png")
    assert incoming.store(f"{site}/x.png?size=1", tmp_path / "..").name == "x.png"
    (tmp_path / "new").mkdir()
    for address in (f"{site}/", f"{site}/%2e%2e/", f"{site}/..%2fx.png"):
        assert incoming.store(address, tmp_path / "new") == tmp_path / "new/content"


def test_photos_of_phones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip("pillow_heif")
    shown = frames(1)[0]
    image = Image.fromarray(shown)
    heif.from_pillow(image).save(tmp_path / "a.heic", quality=100)
    assert np.abs(load_image(tmp_path / "a.heic").astype(int) - shown).mean() < 3
    assert len(open_video(tmp_path / "a.heic")) == 1
    assert (load_image((tmp_path / "a.heic").read_bytes()) == load_image(tmp_path / "a.heic")).all()
    monkeypatch.setattr("instructseg.media.images._heif_reader", lambda: None)
    with pytest.raises(ValueError, match=r"pip install pillow-heif reads it"):
        load_image(tmp_path / "a.heic")
