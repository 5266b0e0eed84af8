"""The page of a report, in headless Chromium."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from srgan_tf.evaluation import page, report

SLIDERS = "img-comparison-slider"


@pytest.fixture(scope="module")
def path(measured, tmp_path_factory):
    """A report.html of four images."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    reports, rows = measured
    path.write_text(page.build(report.html(reports), rows, 9), encoding="utf-8")
    return path


def data_of(text):
    """What the page's script reads."""
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def test_it_holds_every_image_and_needs_no_other_file(path, measured):
    text = path.read_text(encoding="utf-8")
    assert "<!--" not in text and "The first 4 of 9 images" in text
    assert set(re.findall(r'(?:src|href)="(.*?)"', text)) == {"data:,"}
    assert "Copyright (c) 2019 Dmitry Snisarenko" in text  # of the slider
    data, rows = data_of(text), measured[1]["scenes"]
    for picture, (name, panels, scores) in zip(data, rows, strict=True):
        assert picture["name"] == name
        assert list(picture["images"]) == ["bicubic", "A", "B", "noisy", "HR"]
        assert picture["notes"]["A"] == f"{scores['A']['psnr_y']:.2f} dB"
        for title, url in picture["images"].items():
            head, _, content = url.partition(",")
            image = Image.open(io.BytesIO(base64.b64decode(content)))
            assert head == "data:image/jpeg;base64" and image.size == (48, 48)
            apart = np.abs(np.asarray(image).astype(float) - panels[title])
            assert apart.mean() < 4


def test_names_cannot_end_the_data_and_test_sets_are_named(measured):
    ((name, panels, scores), *_), evil = measured[1]["scenes"], "</script><b>"
    panels = {f"{evil}{title}": image for title, image in panels.items()} | panels
    text = page.build("", {evil: [(name, panels, scores)], "b": []}, 1)
    assert evil not in text
    data = data_of(text)
    assert data[0]["name"] == f"{evil}: {name}" and f"{evil}A" in data[0]["images"]


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("needs Chromium and its driver (Debian's chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for switch in ("headless=new", "no-sandbox", "window-size=1200,900"):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


def drag(browser, element, start, right):
    """Drags from `start` pixels right of an element's middle by `right` pixels."""
    from selenium.webdriver import ActionChains

    actions = ActionChains(browser, duration=50)
    actions.move_to_element_with_offset(element, start, 0).click_and_hold()
    actions.move_by_offset(right, 0).release().perform()


def shown(browser):
    """The sources of all images on the page, in pairs."""
    script = "return [...document.querySelectorAll('figure img')].map((x) => x.src)"
    sources = browser.execute_script(script)
    return list(zip(sources[::2], sources[1::2], strict=True))


def test_the_slider_moves_and_the_choice_changes_the_pictures(browser, path):
    browser.get(path.as_uri())
    pictures = [picture["images"] for picture in data_of(path.read_text())]
    script = "return [...document.querySelectorAll('img')].every((x) => x.naturalWidth)"
    assert browser.execute_script(script)
    assert shown(browser) == [(each["bicubic"], each["noisy"]) for each in pictures]
    slider, *others = browser.find_elements("css selector", SLIDERS)
    assert len(others) == 3 and slider.get_property("value") == 50
    drag(browser, slider, 0, 48)  # of 192 pixels, at 400 %
    assert slider.get_property("value") == pytest.approx(75, abs=1)
    assert others[0].get_property("value") == 50
    for select, name in (("first", "A"), ("second", "HR")):
        browser.find_element("id", select).send_keys(name)
    assert shown(browser) == [(each["A"], each["HR"]) for each in pictures]
    caption = browser.find_element("tag name", "figcaption").text
    assert "A, " in caption and caption.endswith("HR")
    assert browser.get_log("browser") == []


def test_all_images_are_enlarged_and_moved_together(browser, tmp_path):
    def places():
        """Where images lie in what is seen: left, top, width, and drawn how."""
        return browser.execute_script(
            """return [...document.querySelectorAll('figure img')].map((image) =>
            [image.offsetLeft, image.offsetTop, image.offsetWidth,
             getComputedStyle(image).imageRendering])"""
        )

    path, rng = tmp_path / "large.html", np.random.default_rng(0)
    image = rng.integers(0, 256, (200, 300, 3), np.uint8)
    rows = [(name, {"bicubic": image, "HR": image}, {}) for name in "ab"]
    path.write_text(page.build("", {"large": rows}, 2), encoding="utf-8")
    browser.get(path.as_uri())
    assert places() == [[0, 0, 300, "auto"]] * 4
    browser.find_element("css selector", "button[value='4']").click()
    assert places() == [[-344, -229, 1200, "pixelated"]] * 4  # in 512x341
    slider, _ = browser.find_elements("css selector", SLIDERS)
    # No further than the edge; then the line, which alone moves.
    for start, right, left, line in ((100, 60, -284, 50), (-200, 400, 0, 50),
                                     (0, 128, 0, 75)):  # fmt: skip
        drag(browser, slider, start, right)
        assert places() == [[left, -229, 1200, "pixelated"]] * 4
        assert slider.get_property("value") == pytest.approx(line, abs=1)
    browser.find_element("css selector", "button[value='1']").click()
    drag(browser, slider, -50, -30)  # all is seen: the line jumps there
    assert slider.get_property("value") == pytest.approx(50 - 100 * 80 / 300, abs=1)
    assert browser.get_log("browser") == []
