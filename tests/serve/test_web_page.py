"""The web page in headless Chromium with both bundled models: by mouse and by keyboard, wide and on a phone."""

from __future__ import annotations

import ast
import asyncio
import base64
import io
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from instructseg.hub import DEMO_IMAGE, DEMO_VIDEO, DRAWN_IMAGE, DRAWN_VIDEO
from instructseg.media import load_image
from tests.pages import ROOT
from tests.serve.test_service_page import free_port

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Case:
    """What a bundled model is shown, and what it must answer.

    Attributes:
        note: on the page.
        image, words: to segment; found are the first two, the third is not, a fourth asks for words.
        reply: to that.
        least: score of the first.
        video, motion: to segment; it is found on ``seen``.
    """

    note: str
    image: Path
    words: tuple[str, ...]
    reply: str
    least: float
    video: Path
    motion: str
    seen: str


CASES = {
    "mini": Case(
        "The bundled model mini is a preview: it knows about 140 kinds",
        DEMO_IMAGE,
        ("the truck", "the road", "the penguin"),
        "",
        0.5,
        DEMO_VIDEO,
        "the dog",
        "of 23 frames",
    ),
    "nano": Case(
        "The bundled model nano is made for drawn shapes",
        DRAWN_IMAGE,
        ("the red circle", "the blue square", "the green dog", "how many circles are there?"),
        "one",
        0.9,
        DRAWN_VIDEO,
        "the red circle moving left",
        "of 32 frames",
    ),
}


@contextmanager
def served(model: str) -> Iterator[str]:
    """Address of the page with a model."""
    port = free_port()
    words = [sys.executable, "-m", "instructseg", "app", "--port", str(port)]
    words += [] if model == "mini" else ["--model", model]  # the default
    server = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(900):
        try:
            httpx.get(f"http://127.0.0.1:{port}/config").raise_for_status()
            break
        except httpx.HTTPError:
            assert server.poll() is None, server.communicate()[0]
            time.sleep(0.1)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        said = server.communicate(timeout=60)[0]
    assert said.count("Traceback") == said.count("InvalidPathError:"), said  # gradio's own, of hostile requests


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    pytest.importorskip("gradio")
    with served("mini") as mini, served("nano") as nano:
        yield {"mini": mini, "nano": nano}


@pytest.fixture
def address(addresses: dict[str, str]) -> str:
    return addresses["nano"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as program:
        one = program.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture(params=["mini wide", "mini phone", "nano wide", "nano phone"])
def view(request: pytest.FixtureRequest, browser: Any, addresses: dict[str, str]) -> Iterator[Any]:
    """The page at 1280 pixels in light colours, or at 390 in dark ones."""
    model, place = request.param.split()
    phone = place == "phone"
    size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 900}
    context = browser.new_context(
        viewport=size, color_scheme="dark" if phone else "light", accept_downloads=True
    )
    page = context.new_page()
    page.goto(addresses[model])
    page.get_by_text(CASES[model].note).wait_for()
    yield page
    context.close()


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.node.callspec.params["view"].split()[0]]


def upload(view: Any, path: Path | str, number: int = 0) -> None:
    view.locator("input[type=file]").nth(number).set_input_files(str(path))
    view.wait_for_timeout(1000)


def toast(view: Any) -> str:
    """What an error says; it is closed then."""
    shown = view.locator(".toast-body")
    shown.first.wait_for()
    text = str(shown.first.inner_text())
    view.locator(".toast-close").first.click()
    shown.first.wait_for(state="detached")
    return text


def truth(case: Case) -> np.ndarray:
    """What the first instruction means: red pixels of the drawing, or a box around the truck."""
    image = load_image(case.image).astype(int)
    if case.image == DRAWN_IMAGE:
        return np.asarray((image[..., 0] > 150) & (image[..., 1:].max(-1) < 90))
    inside, (height, width) = np.zeros(image.shape[:2], bool), image.shape[:2]
    inside[int(0.25 * height) : int(0.7 * height), int(0.06 * width) : int(0.97 * width)] = True
    return inside


def archive_of(view: Any, button: Any) -> zipfile.ZipFile:
    """What a click on a button downloads."""
    with view.expect_download() as waiting:
        button.click()
    return zipfile.ZipFile(waiting.value.path())


def test_upload_type_see_switch_and_download(view: Any, case: Case) -> None:
    upload(view, case.image)
    words = view.get_by_label("Instructions").first
    words.fill("\n".join(case.words))
    words.press("Control+Enter")
    figure = view.locator("figure.found")
    figure.wait_for(timeout=60_000)
    said = figure.inner_text()
    first, second, absent = case.words[:3]
    assert float(said.partition(f"{first} – score ")[2][:4]) >= case.least, said
    assert f"{absent} – nothing found" in said and said.rstrip().endswith(case.reply)
    alt = figure.locator("img").get_attribute("alt")
    assert alt == f"{case.image.name} with masks: {first}, {second}"
    paths = figure.locator("path")
    assert paths.count() == 2 and first in paths.first.locator("title").text_content()
    figure.get_by_text(f"{first} – score").hover()
    assert paths.nth(1).evaluate("one => getComputedStyle(one).opacity") == "0.15"
    box, button = figure.bounding_box(), view.get_by_role("button", name="Segment").first.bounding_box()
    if view.viewport_size["width"] > 1000:  # beside, else below
        assert box["x"] > button["x"] + button["width"] - 1 and button["y"] + button["height"] < 900
    else:
        assert button["y"] < box["y"] < button["y"] + 200

    view.get_by_label("number input for Presence").first.fill("0")
    view.get_by_label("number input for Presence").first.press("Enter")
    view.wait_for_function("document.querySelectorAll('figure.found path').length == 3")  # no new forward
    view.wait_for_timeout(3000)
    with archive_of(view, view.get_by_role("button", name="Download files").first) as archive:
        (name,) = [one for one in archive.namelist() if first.split()[-1] in one]
        mask = np.asarray(Image.open(io.BytesIO(archive.read(name)))) > 0
        assert len(archive.namelist()) == 4  # the third, too
    wanted = truth(case)
    assert (mask & wanted).sum() / (mask | wanted).sum() > (0.8 if case.reply else 0.6)
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing scrolls sideways


def test_the_keyboard_alone_is_enough(view: Any, case: Case) -> None:
    upload(view, case.image)
    words, keys = view.get_by_label("Instructions").first, view.keyboard
    words.focus()
    keys.type(case.words[0])
    keys.press("Tab")
    assert view.evaluate("document.activeElement.innerText") == "Segment"
    keys.press("Enter")
    path = view.locator("figure.found path")
    path.first.wait_for(timeout=60_000)
    keys.press("Tab")
    assert view.evaluate("document.activeElement.type") == "checkbox"  # of the mask: the result follows
    keys.press("Space")
    assert not path.first.is_visible()
    keys.press("Tab")
    assert view.evaluate("document.activeElement.type") == "number"
    keys.press("Control+A")
    keys.type("1")
    view.get_by_text(f"{case.words[0]} – nothing found").wait_for()
    for _ in range(3):
        keys.press("Tab")
        if view.evaluate("document.activeElement.type") == "range":
            break
    keys.press("Home")
    path.first.wait_for(state="attached")


def test_every_failure_is_a_sentence(view: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG" + bytes(99))
    segment = view.get_by_role("button", name="Segment").first
    view.get_by_label("Instructions").first.fill("the red circle")
    segment.click()
    assert "no image yet: choose one first" in toast(view)
    upload(view, tmp_path / "bad.png")
    segment.click()
    assert "bad.png" in (said := toast(view)) and "/tmp" not in said
    view.get_by_label("Instructions").first.fill(" ")
    segment.click()
    assert "no instruction: describe an object" in toast(view)


def test_a_video_is_shown_cancelled_and_downloaded(view: Any, case: Case) -> None:
    view.get_by_role("tab", name="Video").click()
    tab = view.get_by_role("tabpanel").filter(has_text="Cancel")
    tab.locator("input[type=file]").first.set_input_files(str(case.video))
    view.wait_for_timeout(2000)
    tab.get_by_label("Instructions").fill(case.motion)
    tab.get_by_role("button", name="Segment", exact=True).click()
    tab.get_by_text("Frame ").nth(1).wait_for(timeout=60_000)
    tab.get_by_role("button", name="Cancel").click()
    tab.get_by_text("Cancelled.").wait_for()
    view.wait_for_timeout(1000)
    assert tab.get_by_role("button", name="Cancel").is_disabled()
    tab.get_by_role("button", name="Segment", exact=True).click()
    tab.get_by_text(case.seen).last.wait_for(timeout=180_000)
    tab.get_by_text("found in").wait_for(timeout=180_000)
    download, count = tab.get_by_role("button", name="Download files"), int(case.seen.split()[1])
    with archive_of(view, download) as archive:
        names = archive.namelist()
        marked = sum(_mask(archive, name) for name in names if name.endswith(".png"))
    assert f"{case.video.stem}_overlay.mp4" in names and sum(name.endswith(".png") for name in names) == count
    shown = tab.locator("video").last.get_attribute("src")

    number = tab.get_by_label("number input for Presence")  # no new forward
    number.fill("1")
    number.press("Enter")
    tab.get_by_text(f"{case.motion} – nothing found").wait_for()
    view.wait_for_function(
        "old => [...document.querySelectorAll('video')].every(one => one.src != old)", arg=shown, timeout=60_000
    )
    view.wait_for_timeout(1000)
    with archive_of(view, download) as archive:
        assert archive.namelist() == names and marked > 0
        assert not any(_mask(archive, name) for name in names if name.endswith(".png"))


def _mask(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether a mask of an archive has a pixel."""
    return bool(np.asarray(Image.open(io.BytesIO(archive.read(name)))).any())


def test_an_assistant_finds_and_calls_the_tool(address: str) -> None:
    session = pytest.importorskip("mcp")
    from mcp.client.streamable_http import streamablehttp_client

    async def talk() -> tuple[Any, Any]:
        async with (
            streamablehttp_client(f"{address}/gradio_api/mcp/") as (read, write, _),
            session.ClientSession(read, write) as client,
        ):
            await client.initialize()
            tools = (await client.list_tools()).tools
            image = f"data:image/png;base64,{base64.b64encode(DRAWN_IMAGE.read_bytes()).decode()}"
            told = {"image": image, "instructions": "the red circle"}
            return tools, await client.call_tool(tools[0].name, told)

    with ThreadPoolExecutor(1) as thread:  # playwright has a loop in this one
        tools, answer = thread.submit(asyncio.run, talk()).result()
    assert [tool.name.endswith("segment_image") for tool in tools] == [True]
    assert "Finds what instructions describe" in tools[0].description
    text = "".join(part.text for part in answer.content)
    assert not answer.isError, text
    found = ast.literal_eval(text)
    assert found[0]["found"] and found[0]["score"] > 0.9


@pytest.mark.parametrize("path", [str(DRAWN_IMAGE), "/proc/self/environ"])
def test_a_visitor_names_no_file_of_the_server(address: str, path: str) -> None:
    given = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, "the red circle"]}
    event = httpx.post(f"{address}/gradio_api/call/segment_image", json=given).json()["event_id"]
    said = httpx.get(f"{address}/gradio_api/call/segment_image/{event}", timeout=60).text
    assert "event: error" in said and "polygons" not in said
    assert httpx.get(f"{address}/gradio_api/file={path}").status_code == 403
