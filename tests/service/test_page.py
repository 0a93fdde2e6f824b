"""The page in a real browser: paints, repaints, walks, and can be used without a mouse."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from pipeline.service.inference import InferenceService
from tests.support.service_helpers import DROP, BusyOnce, serving, tiny_model


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(InferenceService(tiny_model())) as address:
        yield address


def wait_for_count(page: Page, selector: str, count: int) -> None:
    """Return as soon as a selector has so many elements; `expect` looks once a second."""
    page.wait_for_function(
        "([found, count]) => document.querySelectorAll(found).length === count",
        arg=[selector, count],
    )


def painted(page: Page, number: int) -> str:
    """Return what a painting shows, when the wall is complete."""
    wait_for_count(page, "#wall:not([aria-busy])", 1)
    image = page.locator(f'[data-number="{number}"] .sight img')
    expect(image).to_have_count(1)
    found: str = image.evaluate(
        """image => {
          const canvas = document.createElement("canvas");
          canvas.width = canvas.height = 32;
          canvas.getContext("2d").drawImage(image, 0, 0, 32, 32);
          return canvas.toDataURL();
        }"""
    )
    return found


def open_wall(page: Page, address: str) -> None:
    page.goto(address)
    wait_for_count(page, ".sight img.shown", 24)
    wait_for_count(page, "#wall:not([aria-busy])", 1)


def test_the_wall_follows_seed_truncation_and_noise_and_a_link_restores_it(
    page: Page, url: str
) -> None:
    open_wall(page, url)
    expect(page.get_by_role("heading", name="tiny")).to_be_visible()
    seen = [painted(page, 3)]

    for change in (
        lambda: page.get_by_label("Next seed").click(),
        lambda: page.get_by_role("slider", name="Truncation").fill("0.5"),
        lambda: page.get_by_label("Noise").select_option("uniform(-1, 1)"),
    ):
        before = page.locator('[data-number="3"]').get_attribute("data-painted")
        change()
        wait_for_count(page, f".piece:not([data-painted='{before}'])", 24)
        seen.append(painted(page, 3))
    assert len(set(seen)) == 4
    assert "seed=1&truncation=0.5&noise=uniform" in page.url
    link = page.url
    page.goto("about:blank")
    open_wall(page, link)
    assert painted(page, 3) == seen[-1]
    expect(page.get_by_label("Seed", exact=True)).to_have_value("1")
    expect(page.get_by_label("Noise")).to_have_value("uniform(-1, 1)")


def test_a_click_shows_a_painting_large_and_the_hint_goes(page: Page, url: str) -> None:
    open_wall(page, f"{url}#seed=8")
    hint = page.get_by_text("Open a painting to see it large")
    expect(hint).to_be_visible()
    page.get_by_role("button", name="Painting 2", exact=True).click()
    large = page.get_by_role("dialog", name="No. 2")
    image = large.get_by_role("img", name="Painting 2")
    assert image.evaluate("i => i.naturalWidth") > 256  # what the wall shows
    assert "large=2" in page.url
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog", name="No. 3").get_by_role("img")).to_be_visible()
    page.get_by_role("button", name="Next painting").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Painting 4", exact=True)).to_be_focused()
    expect(page).not_to_have_url(re.compile("large"))
    expect(hint).to_be_hidden()
    page.reload()
    wait_for_count(page, ".sight img.shown", 24)
    expect(hint).to_be_hidden()  # it is said once


def test_two_paintings_are_walked_between_and_escape_ends_it(page: Page, url: str) -> None:
    open_wall(page, url)
    page.get_by_role("button", name="Painting 2", exact=True).click()
    page.get_by_role("button", name="Walk from here").click()
    expect(page.locator("#hint")).to_contain_text("From No. 2")
    page.evaluate(
        """() => {
          window.told = [];
          new MutationObserver(() => told.push(document.getElementById("walk-status").textContent))
            .observe(document.getElementById("walk-status"), { childList: true });
        }"""
    )
    page.get_by_role("button", name="Painting 5", exact=True).click()
    dialog = page.get_by_role("dialog", name="From No. 2 to No. 5")
    expect(dialog).to_be_visible()
    expect(page.locator("#walk:not(.waiting)")).to_be_visible()
    expect(page.get_by_role("button", name="Play")).to_be_enabled()  # motion is not wanted
    assert page.evaluate("told.filter(text => / [1-9][0-9]*%$/.test(text)).length") > 1
    canvas = page.locator("#walk-canvas")
    first = canvas.evaluate("canvas => canvas.toDataURL()")
    page.get_by_role("slider", name="Place on the walk").fill("1")
    assert canvas.evaluate("canvas => canvas.toDataURL()") != first
    assert "walk=2%2C5" in page.url
    with page.expect_download() as download:
        page.locator("#walk-gif").click()
    assert download.value.suggested_filename == "tiny-seed0-2-5.gif"
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page).not_to_have_url(re.compile("walk"))  # the browser tells of the closing later
    page.goto("about:blank")
    page.goto(f"{url}#seed=4&walk=1,3")
    expect(page.get_by_role("dialog", name="From No. 1 to No. 3")).to_be_visible()
    expect(page.locator("#walk:not(.waiting)")).to_be_visible()


def test_the_arrow_keys_go_over_the_wall_and_w_picks(page: Page, url: str) -> None:
    open_wall(page, url)
    page.get_by_role("button", name="New wall").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Painting 1", exact=True)).to_be_focused()
    columns = page.locator(".piece").evaluate_all(
        "pieces => pieces.filter(p => p.offsetTop === pieces[0].offsetTop).length"
    )
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    target = page.get_by_role("button", name=f"Painting {columns + 2}", exact=True)
    expect(target).to_be_focused()
    page.keyboard.press("w")
    sign = page.get_by_role("button", name=f"Walk from painting {columns + 2}", exact=True)
    expect(sign).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(sign).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("Tab")
    expect(sign).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label(f"Download painting {columns + 2}", exact=True)).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("button", name="Painting 24", exact=True)).to_be_focused()


def test_a_painting_is_downloaded_as_the_api_makes_it(page: Page, url: str) -> None:
    open_wall(page, f"{url}#seed=6")
    with page.expect_download() as download:
        page.get_by_label("Download painting 7", exact=True).click()
    assert download.value.suggested_filename == "tiny-seed6-7.png"
    asked = page.request.get(f"{url}v1/images?seed=6&images=7")
    assert download.value.path().read_bytes() == asked.body()


def test_the_wall_fits_a_phone_and_hangs_more(page: Page, url: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    open_wall(page, url)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("button", name="Hang more").click()
    wait_for_count(page, ".sight img.shown", 48)
    assert "count=48" in page.url


def test_light_and_dark_follow_the_system_and_the_switch(page: Page, url: str) -> None:
    page.emulate_media(color_scheme="dark")
    open_wall(page, url)
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Dark colours").click()
    expect(root).to_have_attribute("data-theme", "light")
    page.reload()
    expect(root).to_have_attribute("data-theme", "light")


def test_a_generator_with_classes_lets_one_choose(page: Page) -> None:
    with serving(InferenceService(tiny_model(conditional=True, class_names=["sea", "sky"]))) as url:
        open_wall(page, url)
        page.get_by_label("Class").select_option("sky")
        wait_for_count(page, "[data-painted*='class=sky']", 24)
        page.goto("about:blank")


def test_what_goes_wrong_is_said_and_can_be_tried_again(browser: Browser, url: str) -> None:
    page = browser.new_page()
    open_wall(page, url)
    page.route("**/v1/images**", lambda route: route.abort())
    page.get_by_label("Next seed").click()
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("The server does not answer")
    page.unroute("**/v1/images**")
    page.get_by_role("button", name="Try again").click()
    expect(problem).to_be_hidden()
    wait_for_count(page, "[data-painted*='seed=1']", 24)
    page.goto("about:blank")
    page.goto(f"{url}#noise=salt(1,2)")
    expect(page.get_by_role("alert")).to_contain_text("normal(mean, deviation)")
    page.get_by_label("Seed", exact=True).fill("-3")
    expect(page.get_by_role("alert")).to_contain_text("A seed is a whole number from 0")
    page.evaluate(DROP, [[0], "beach.png", "image/png"])
    expect(page.get_by_role("alert")).to_contain_text("takes no photos")
    page.close()


def test_a_busy_server_is_asked_again(browser: Browser, url: str) -> None:
    page = browser.new_page()
    once = BusyOnce()
    page.route("**/v1/images?seed=0&images=4&**", once)
    page.goto(url)
    wait_for_count(page, ".sight img.shown", 24)
    assert once.refused
    page.close()


@pytest.mark.parametrize("comparable", [True, False])
def test_the_score_says_where_it_cannot_be_compared(page: Page, comparable: bool) -> None:
    score = {"mifid": 98.76, "features": "inception", "comparable_with_leaderboard": comparable}
    with serving(InferenceService(tiny_model(score))) as url:
        open_wall(page, url)
        facts = page.locator("#facts")
        expect(facts).to_contain_text("MiFID 98.8 (inception")
        warned = "not comparable with the leaderboard" in facts.inner_text()
        assert warned is not comparable
        page.goto("about:blank")


def test_the_page_of_the_api_lists_every_route(page: Page, url: str) -> None:
    page.goto(f"{url}docs")
    for route in ("/v1/images", "/v1/grid", "/v1/interpolation", "/v1/model", "/healthz"):
        expect(page.get_by_role("link", name=f"GET {route}")).to_be_visible()
    expect(page.get_by_role("rowheader", name="truncation")).to_have_count(3)


def test_a_new_link_in_the_same_page_is_followed(page: Page, url: str) -> None:
    open_wall(page, f"{url}#seed=2&walk=1,2&class=sea&noise=normal(0,%201)")
    dialog = page.get_by_role("dialog", name="From No. 1 to No. 2")
    expect(dialog).to_be_visible()
    expect(page.locator("#problem")).to_be_hidden()  # a class that the model has not got
    expect(page.get_by_label("Noise")).to_have_value("")  # its own law
    page.evaluate("location.hash = 'seed=3'")
    expect(dialog).to_be_hidden()
    expect(page.get_by_label("Seed", exact=True)).to_have_value("3")
    assert "seed=3" in page.url


def test_a_download_is_of_what_is_shown_after_a_change_taken_back(page: Page, url: str) -> None:
    open_wall(page, f"{url}#seed=0")
    page.route("**/v1/images?seed=1&*", lambda route: None)  # these never come
    page.get_by_label("Next seed").click()
    link = page.locator('[data-number="3"] .download')
    expect(link).to_have_attribute("href", re.compile("seed=1&"))
    page.get_by_label("Previous seed").click()
    expect(link).to_have_attribute("href", re.compile("seed=0&"))
    page.unroute_all(behavior="ignoreErrors")
