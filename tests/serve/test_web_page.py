"""The web page in headless Chromium with the bundled model: by mouse and by keyboard, wide and on a phone."""

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
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from instructseg.hub import DRAWN_IMAGE, DRAWN_VIDEO
from instructseg.media import load_image
from tests.pages import ROOT
from tests.serve.test_service_page import free_port

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("gradio")
    port = free_port()
    words = [sys.executable, "-m", "instructseg", "app", "--model", "nano", "--port", str(port)]
    server = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(900):
        try:
            httpx.get(f"http://127.0.0.1:{port}/config").raise_for_status()
            break
        except httpx.HTTPError:
            assert server.poll() is None, server.communicate()[0]
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.send_signal(signal.SIGTERM)
    said = server.communicate(timeout=60)[0]
    assert said.count("Traceback") == said.count("InvalidPathError:"), said  # gradio's own, of hostile requests


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as program:
        one = program.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture(params=["wide", "phone"])
def view(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    """The page at 1280 pixels in light colours, or at 390 in dark ones."""
    phone = request.param == "phone"
    size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 900}
    context = browser.new_context(
        viewport=size, color_scheme="dark" if phone else "light", accept_downloads=True
    )
    page = context.new_page()
    page.goto(address)
    page.get_by_text("made for drawn shapes").wait_for()
    yield page
    context.close()


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


def test_upload_type_see_switch_and_download(view: Any) -> None:
    upload(view, DRAWN_IMAGE)
    words = view.get_by_label("Instructions").first
    words.fill("the red circle\nthe blue square\nthe green dog\nhow many circles are there?")
    words.press("Control+Enter")
    figure = view.locator("figure.found")
    figure.wait_for(timeout=60_000)
    said = figure.inner_text()
    assert "the red circle – score 0.9" in said and "the green dog – nothing found" in said
    assert said.rstrip().endswith("how many circles are there? one")
    assert figure.locator("img").get_attribute("alt") == "drawn.png with masks: the red circle, the blue square"
    paths = figure.locator("path")
    assert paths.count() == 2 and "the red circle" in paths.first.locator("title").text_content()
    figure.locator("input").first.focus()
    view.keyboard.press("Space")
    assert not paths.first.is_visible() and paths.nth(1).is_visible()
    view.keyboard.press("Space")
    assert paths.first.is_visible()
    figure.get_by_text("the red circle – score").hover()
    assert paths.nth(1).evaluate("one => getComputedStyle(one).opacity") == "0.15"

    view.get_by_label("number input for Presence").first.fill("0")
    view.get_by_label("number input for Presence").first.press("Enter")
    view.wait_for_function("document.querySelectorAll('figure.found path').length == 3")  # no new forward
    button = view.get_by_role("button", name="Download files").first
    view.wait_for_timeout(3000)
    with view.expect_download() as waiting:
        button.click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        (name,) = [one for one in archive.namelist() if "red-circle" in one]
        mask = np.asarray(Image.open(io.BytesIO(archive.read(name)))) > 0
    red = load_image(DRAWN_IMAGE).astype(int)
    red = (red[..., 0] > 150) & (red[..., 1:].max(-1) < 90)
    assert (mask & red).sum() / (mask | red).sum() > 0.8
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing scrolls sideways


def test_a_result_stands_beside_the_image_or_below_it(view: Any) -> None:
    upload(view, DRAWN_IMAGE)
    view.get_by_label("Instructions").first.fill("the red circle")
    view.get_by_role("button", name="Segment").first.click()
    view.locator("figure.found").wait_for(timeout=60_000)
    button = view.get_by_role("button", name="Segment").first.bounding_box()
    figure = view.locator("figure.found").bounding_box()
    if view.viewport_size["width"] > 1000:
        assert figure["x"] > button["x"] + button["width"] - 1 and button["y"] + button["height"] < 900
    else:
        assert figure["y"] > button["y"] and figure["y"] < button["y"] + 200


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


def test_a_video_is_shown_cancelled_and_downloaded(view: Any) -> None:
    view.get_by_role("tab", name="Video").click()
    tab = view.get_by_role("tabpanel").filter(has_text="Cancel")
    tab.locator("input[type=file]").first.set_input_files(str(DRAWN_VIDEO))
    view.wait_for_timeout(2000)
    tab.get_by_label("Instructions").fill("the red circle moving left")
    tab.get_by_role("button", name="Segment", exact=True).click()
    tab.get_by_text("Frame ").nth(1).wait_for(timeout=60_000)
    tab.get_by_role("button", name="Cancel").click()
    tab.get_by_text("Cancelled.").wait_for()
    view.wait_for_timeout(1000)
    assert tab.get_by_role("button", name="Cancel").is_disabled()
    tab.get_by_role("button", name="Segment", exact=True).click()
    tab.get_by_text("found in").wait_for(timeout=90_000)
    with view.expect_download() as waiting:
        tab.get_by_role("button", name="Download files").click()
    names = zipfile.ZipFile(waiting.value.path()).namelist()
    assert "demo_overlay.mp4" in names and sum(name.endswith(".png") for name in names) == 32


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
