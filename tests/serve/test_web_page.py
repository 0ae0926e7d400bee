"""The web page in headless Chromium with both bundled models: by mouse and by keyboard, wide and on a phone.

And with a list of models, one of which is of a system that draws.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
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

SMALL = ROOT / "recipes" / "systems" / "package"
"""What is installed as ``instructseg-tiny``."""
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


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
def served(models: str) -> Iterator[str]:
    """Address of the page with models, between blanks."""
    port = free_port()
    words = [sys.executable, "-m", "instructseg", "app", "--port", str(port)]
    if models != "mini":  # the default
        words += [word for model in models.split() for word in ("--model", model)]
    server = subprocess.Popen(
        words,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(SMALL)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    end = time.monotonic() + 300
    while time.monotonic() < end:
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
def address_of() -> Iterator[Callable[[str], str]]:
    """Starts the page with a model when it is first asked for."""
    pytest.importorskip("gradio", reason="no gradio here: pip install 'gradio[mcp]'")
    with ExitStack() as servers:
        yield cache(lambda model: servers.enter_context(served(model)))


@pytest.fixture
def address(address_of: Callable[[str], str]) -> str:
    return address_of("nano")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install it as a package of the system")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
    with playwright.sync_playwright() as program:
        one = program.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


NAMES = ("mini wide", "mini phone", "nano wide", "nano phone")
VIEWS = [pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
EVERY_DAY = [pytest.param("nano wide"), *(view for view in VIEWS if view.values != ("nano wide",))]
"""One view is short enough for every day."""


@pytest.fixture
def view(request: pytest.FixtureRequest, browser: Any, address_of: Callable[[str], str]) -> Iterator[Any]:
    """The page at 1280 pixels in light colours, or at 390 in dark ones."""
    model, place = request.param.split()
    phone = place == "phone"
    size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 900}
    context = browser.new_context(
        viewport=size, color_scheme="dark" if phone else "light", accept_downloads=True
    )
    page, said = context.new_page(), list[str]()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address_of(model))
    page.get_by_text(CASES[model].note).wait_for()
    yield page
    context.close()
    assert not said  # of a script of the page


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.node.callspec.params["view"].split()[0]]


def upload(view: Any, path: Path | str, number: int = 0) -> None:
    view.locator("input[type=file]").nth(number).set_input_files(str(path))
    view.wait_for_timeout(1000)


def texts_of_images(view: Any) -> list[str]:
    """What is read out for the images and videos that are seen, but for gradio's own."""
    return list(
        view.evaluate(
            "[...document.querySelectorAll('img, video')].filter((one) => one.offsetParent)"
            ".map((one) => one.alt || one.ariaLabel || '').filter((text) => text !== 'logo')"
        )
    )


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


@pytest.mark.parametrize("view", EVERY_DAY, indirect=True)
def test_upload_type_see_switch_and_download(view: Any, case: Case) -> None:
    upload(view, case.image)
    assert texts_of_images(view) == [case.image.name] * 2  # the upload, and the example
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
    view.wait_for_timeout(300)  # the button is off until the new files are written
    with archive_of(view, view.get_by_role("button", name="Download files").first) as archive:
        name = f"{case.image.stem}_masks/1-{first.replace(' ', '-')}.png"
        mask = np.asarray(Image.open(io.BytesIO(archive.read(name)))) > 0
        assert len(archive.namelist()) == 4  # the third, too
    wanted = truth(case)
    assert (mask & wanted).sum() / (mask | wanted).sum() > (0.8 if case.reply else 0.6)
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing scrolls sideways


@pytest.mark.parametrize("view", VIEWS, indirect=True)
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


@pytest.mark.parametrize("view", VIEWS, indirect=True)
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

    view.get_by_role("tab", name="Video").click()
    tab = view.get_by_role("tabpanel").filter(has_text="Cancel")
    segment = tab.get_by_role("button", name="Segment", exact=True)
    for _ in range(2):  # after a failure the buttons are as before
        segment.click()
        assert "no video yet: choose one first" in toast(view)
    assert segment.is_enabled() and tab.get_by_role("button", name="Cancel").is_disabled()


def start_video(view: Any, case: Case) -> Any:
    """The tab of videos, with the first frame of one."""
    view.get_by_role("tab", name="Video").click()
    tab = view.get_by_role("tabpanel").filter(has_text="Cancel")
    tab.locator("input[type=file]").first.set_input_files(str(case.video))
    tab.locator("video").first.wait_for()
    tab.get_by_label("Instructions").fill(case.motion)
    tab.get_by_role("button", name="Segment", exact=True).click()
    tab.get_by_text("Frame ").first.wait_for(timeout=60_000)
    assert all(case.video.name in text for text in texts_of_images(view))
    return tab


@pytest.mark.parametrize("view", VIEWS[:2], indirect=True)  # nano would be done before
def test_a_cancelled_video_can_be_segmented_again(view: Any, case: Case) -> None:
    tab = start_video(view, case)
    segment = tab.get_by_role("button", name="Segment", exact=True)
    assert segment.is_disabled()
    for _ in range(3):  # in the middle of a step of the model each time
        tab.get_by_role("button", name="Cancel").click()
        tab.get_by_text("Cancelled.").wait_for()
        segment.click()  # once it is enabled
        tab.get_by_text("Frame ").first.wait_for(timeout=60_000)
    assert not view.locator(".toast-body").count()
    tab.get_by_text("found in").wait_for(timeout=180_000)
    assert segment.is_enabled() and tab.get_by_role("button", name="Cancel").is_disabled()


@pytest.mark.parametrize("view", VIEWS, indirect=True)
def test_a_video_is_played_with_its_masks_switched_and_downloaded(view: Any, case: Case) -> None:
    tab, count = start_video(view, case), int(case.seen.split()[1])
    assert any(case.motion in text for text in texts_of_images(view))  # of the frame so far
    tab.get_by_text("found in").wait_for(timeout=180_000)
    player = tab.locator("figure.player")
    paths, place = player.locator("path"), player.locator(".place")
    assert place.inner_text() == f"1 of {count}" and case.seen in player.inner_text()
    paths.first.wait_for(state="attached")
    assert case.motion in paths.first.locator("title").text_content()

    player.locator(".seek").focus()
    outlines = []
    for number in range(1, 6):  # by the keyboard, frame by frame
        outlines.append(paths.first.get_attribute("d") if paths.count() else "")
        view.keyboard.press("ArrowRight")
        player.get_by_text(f"{number + 1} of {count}", exact=True).wait_for()
    assert len(set(outlines)) > 1  # they follow
    shown = f"document.querySelector('.player video').currentTime * {player.get_attribute('data-fps')} | 0"
    view.wait_for_function(f"({shown}) == 5")  # and the frame is the one that they are of
    player.get_by_role("button", name="Play").click()
    view.wait_for_function("document.querySelector('.place').textContent.startsWith('9 ')")
    player.get_by_role("button", name="Pause").click()

    switch = player.get_by_role("checkbox")
    switch.focus()
    view.keyboard.press("Space")
    assert not any(path.is_visible() for path in paths.all())
    view.keyboard.press("Space")

    download = tab.get_by_role("button", name="Download files")
    with archive_of(view, download) as archive:
        names = archive.namelist()
        marked = sum(_mask(archive, name) for name in names if name.endswith(".png"))
    assert f"{case.video.stem}_overlay.mp4" in names and sum(name.endswith(".png") for name in names) == count
    assert f"found in {marked} {case.seen}" in player.inner_text() and marked > 0

    number = tab.get_by_label("number input for Presence")  # no new forward
    number.fill("1")
    number.press("Enter")
    player.get_by_text(f"{case.motion} – nothing found").wait_for()
    assert paths.count() == 0
    view.wait_for_timeout(300)  # the button is off until the new files are written
    with archive_of(view, download) as archive:
        assert archive.namelist() == names
        assert not any(_mask(archive, name) for name in names if name.endswith(".png"))


def _mask(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether a mask of an archive has a pixel."""
    return bool(np.asarray(Image.open(io.BytesIO(archive.read(name)))).any())


@pytest.mark.slow
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


@pytest.fixture
def several(browser: Any, address_of: Callable[[str], str]) -> Iterator[Any]:
    """The page with a list of models."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page, said = context.new_page(), list[str]()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address_of("nano instructcv-tiny"))
    page.get_by_text(CASES["nano"].note).wait_for()
    yield page
    context.close()
    assert not said


def choose(view: Any, model: str) -> None:
    """Chooses a model of the list."""
    view.get_by_label("Model").click()
    view.get_by_role("option", name=model).click()


@pytest.mark.slow
def test_a_system_that_draws_is_chosen_and_its_image_appears(several: Any) -> None:
    scene = SMALL / "instructseg_tiny" / "scene.jpg"
    upload(several, scene)
    choose(several, "instructcv-tiny")
    several.get_by_text("The small model instructcv-tiny shows").wait_for(timeout=60_000)
    assert several.get_by_label("number input for Presence").first.input_value() == "0"
    words = several.get_by_label("Instructions").first
    assert words.get_attribute("placeholder") == "segment the dog\nestimate the depth"
    words.fill("segment the red circle\nestimate the depth")
    several.get_by_role("button", name="Segment").first.click()  # of the image that was there before
    figure = several.locator("figure.found")
    drawn = figure.get_by_alt_text("answer to: estimate the depth")
    drawn.wait_for(timeout=60_000)
    assert figure.inner_text().count("by InstructCV") == 2 and figure.locator("path").count() == 1
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn.get_attribute("src").partition(",")[2]))))
    assert shown.shape == (256, 256, 3) and np.ptp(shown, axis=2).max() == 0  # grey
    assert shown[:64].mean() > shown[-64:].mean() + 50  # the wall is farther away than the floor
    assert drawn.bounding_box()["width"] > 200

    download = several.get_by_role("button", name="Download files").first
    several.wait_for_timeout(300)  # the button is off until the files are written
    with archive_of(several, download) as archive:
        name = next(one for one in archive.namelist() if one.startswith("scene_drawn/2"))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(archive.read(name)))), shown)

    several.get_by_role("tab", name="Video").click()
    several.get_by_text("InstructCV works on images only").wait_for()
    assert not several.get_by_role("button", name="Cancel").is_visible()
    choose(several, "nano")
    several.get_by_role("button", name="Cancel").wait_for()
    assert not several.get_by_text("works on images only").is_visible()
    several.get_by_role("tab", name="Image").click()
    assert not several.locator("figure.found").count()  # which nano did not make


@pytest.mark.slow
@pytest.mark.parametrize("path", [str(DRAWN_IMAGE), "/proc/self/environ"])
def test_a_visitor_names_no_file_of_the_server(address: str, path: str) -> None:
    given = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, "the red circle"]}
    event = httpx.post(f"{address}/gradio_api/call/segment_image", json=given).json()["event_id"]
    said = httpx.get(f"{address}/gradio_api/call/segment_image/{event}", timeout=60).text
    assert "event: error" in said and "polygons" not in said
    assert httpx.get(f"{address}/gradio_api/file={path}").status_code == 403
