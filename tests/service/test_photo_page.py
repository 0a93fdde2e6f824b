"""The page of a translator in a real browser: a photo in, its painting, held to compare."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, expect

from pipeline.service.inference import InferenceService
from tests.support.helpers import encoded, painting
from tests.support.service_helpers import DROP, BusyOnce, serving, tiny_translator

PNG = "image/png"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(InferenceService(tiny_translator())) as address:
        yield address


def photo_file(size: tuple[int, int] = (120, 90), name: str = "beach.png") -> FilePayload:
    return {"name": name, "mimeType": PNG, "buffer": encoded(painting(size), "PNG")}


def choose(page: Page, file: FilePayload) -> None:
    """Choose a photo, and wait for its painting."""
    page.locator("#file").set_input_files(file)
    expect(page.locator("#painting.shown")).to_be_visible()
    expect(page.locator("#easel")).to_have_attribute("aria-busy", "false")


def size_of(page: Page, image: str) -> list[int]:
    found: list[int] = page.locator(image).evaluate("i => [i.naturalWidth, i.naturalHeight]")
    return found


def opacity(page: Page) -> str:
    found: str = page.locator("#painting").evaluate("i => getComputedStyle(i).opacity")
    return found


def test_a_photo_is_painted_and_downloaded_as_the_api_makes_it(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_role("heading", name="tiny")).to_be_visible()
    file = photo_file()
    choose(page, file)
    expect(page.get_by_role("status")).to_contain_text("120 × 90 pixels")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "beach-painting.png"
    asked = page.request.post(f"{url}v1/translations", data=file["buffer"])
    assert Path(download.value.path()).read_bytes() == asked.body()


def test_holding_shows_the_photo_with_mouse_and_keys(page: Page, url: str) -> None:
    page.goto(url)
    choose(page, photo_file())
    button = page.get_by_role("button", name="Hold to see the photo")
    assert opacity(page) == "1"
    page.locator("#sight").hover()
    page.mouse.down()
    assert opacity(page) == "0"
    expect(button).to_have_attribute("aria-pressed", "true")
    page.mouse.move(1, 1)  # let go elsewhere
    page.mouse.up()
    assert opacity(page) == "1"
    button.focus()
    for key in (" ", "Enter"):
        page.keyboard.down(key)
        assert opacity(page) == "0"
        page.keyboard.up(key)
        assert opacity(page) == "1"
    page.keyboard.down(" ")
    page.keyboard.press("Tab")  # whoever leaves the button lets it go
    assert opacity(page) == "1"
    page.keyboard.up(" ")


def test_a_finger_that_is_held_shows_the_photo(browser: Browser, url: str) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(url)
    choose(page, photo_file())
    box = page.locator("#sight").bounding_box()
    assert box is not None
    touch = context.new_cdp_session(page)
    point = {"x": box["x"] + 20, "y": box["y"] + 20}
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    expect(page.locator("#stage.comparing")).to_be_visible()
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page.locator("#stage.comparing")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    context.close()


def test_a_photo_can_be_dropped_and_one_more_takes_its_place(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_text("Up to 16.8 million pixels and 33.6 MB")).to_be_visible()
    for size, name in (((80, 100), "one.png"), ((140, 70), "two.png")):
        file = photo_file(size, name)
        page.evaluate(DROP, [list(file["buffer"]), name, PNG])
        expect(page.locator("#photo-name")).to_have_text(name)
        expect(page.get_by_role("status")).to_contain_text(f"{size[0]} × {size[1]} pixels")
        assert size_of(page, "#painting") == list(size)
    file = photo_file((70, 70), "pasted.png")
    page.evaluate(DROP.replace('"drop", { dataTransfer', '"paste", { clipboardData').replace(
        "DragEvent", "ClipboardEvent"), [list(file["buffer"]), "pasted.png", PNG])  # fmt: skip
    expect(page.locator("#photo-name")).to_have_text("pasted.png")
    page.evaluate(DROP, [[], "", ""])
    expect(page.get_by_role("alert")).to_contain_text("That was no file")


def test_a_large_photo_is_shrunk_before_it_is_sent_as_far_as_is_wanted(
    page: Page, url: str
) -> None:
    page.goto(url)
    choose(page, photo_file((800, 300)))
    assert size_of(page, "#painting") == [512, 192]
    page.get_by_label("Longest side").select_option("256")
    expect(page.get_by_role("status")).to_contain_text("256 × 96 pixels")
    page.get_by_label("Longest side").select_option("")
    expect(page.get_by_role("status")).to_contain_text("800 × 300 pixels")
    choose(page, photo_file((1000, 80), "strip.png"))  # no side becomes too short
    page.get_by_label("Longest side").select_option("256")
    expect(page.get_by_role("status")).to_contain_text("800 × 64 pixels")


def test_a_photo_that_lies_on_its_side_is_shown_and_painted_upright(page: Page, url: str) -> None:
    exif = Image.Exif()
    exif[274] = 6
    buffer = encoded(painting((640, 480)), "JPEG", exif=exif)
    page.goto(url)
    choose(page, {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": buffer})
    assert size_of(page, "#photo") == [480, 640]
    assert size_of(page, "#painting") == [384, 512]


def test_a_photo_that_the_browser_cannot_show_is_painted_all_the_same(page: Page, url: str) -> None:
    buffer = encoded(painting((90, 80)), "TIFF")
    page.goto(url)
    choose(page, {"name": "scan.tif", "mimeType": "image/tiff", "buffer": buffer})
    expect(page.locator("#photo-name")).to_have_text("scan.tif, which this browser cannot show")
    expect(page.get_by_role("button", name="Hold to see the photo")).to_be_disabled()
    assert size_of(page, "#painting") == [90, 80]


def test_what_goes_wrong_is_said_and_can_be_tried_again(browser: Browser, url: str) -> None:
    page = browser.new_page()
    page.goto(url)
    page.locator("#file").set_input_files(photo_file((40, 40)))
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("The photo is 40x40; each side needs at least 64 pixels")
    page.route("**/v1/translations", lambda route: route.abort())
    page.locator("#file").set_input_files(photo_file())
    expect(problem).to_contain_text("The server does not answer")
    page.unroute("**/v1/translations")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#painting.shown")).to_be_visible()
    expect(problem).to_be_hidden()
    page.close()


def test_a_busy_server_is_asked_again(browser: Browser, url: str) -> None:
    page = browser.new_page()
    once = BusyOnce()
    page.route("**/v1/translations", once)
    page.goto(url)
    choose(page, photo_file())
    assert once.refused
    page.close()


def test_the_photo_and_its_painting_lie_on_one_another(page: Page, url: str) -> None:
    page.goto(url)
    choose(page, photo_file((100, 160)))
    boxes = [page.locator(name).bounding_box() for name in ("#photo", "#painting")]
    assert boxes[0] == boxes[1]
    assert boxes[0] is not None
    assert boxes[0]["width"] / boxes[0]["height"] == pytest.approx(100 / 160, rel=0.01)
    with Image.open(io.BytesIO(page.locator("#sight").screenshot())) as shown:
        painted = np.asarray(shown.convert("RGB")).astype(int)
    page.locator("#sight").hover()
    page.mouse.down()
    with Image.open(io.BytesIO(page.locator("#sight").screenshot())) as shown:
        assert np.abs(np.asarray(shown.convert("RGB")) - painted).mean() > 10  # an untrained one
    page.mouse.up()


def test_the_page_of_the_api_lists_what_a_translator_can_do(page: Page, url: str) -> None:
    page.goto(f"{url}docs")
    expect(page.get_by_role("heading", name="POST /v1/translations")).to_be_visible()
    expect(page.get_by_text("Body: The file of the photo itself, up to 33.6 MB")).to_be_visible()
    expect(page.get_by_role("heading", name="GET /v1/images")).to_have_count(0)
    page.get_by_role("link", name="A photo").click()
    expect(page.get_by_text("Drop a photo here")).to_be_visible()


def test_light_and_dark_follow_the_system_and_the_switch(page: Page, url: str) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(url)
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Dark colours").click()
    expect(root).to_have_attribute("data-theme", "light")
