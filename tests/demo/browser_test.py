"""The page in a real browser: what a person types, paints, drops and sees.

Chromium is that of the distribution, such as Debian's packages `chromium` and
`chromium-driver`; nothing is downloaded.
"""

import io
import json
import re
import shutil
import threading
import time
import urllib.parse
import urllib.request

import numpy as np
import pytest
from PIL import Image

from keras_muse.muse.muse import Muse
from tests.helpers.tiny_muse import shared_muse

pytest.importorskip("gradio")
webdriver = pytest.importorskip("selenium.webdriver")

from selenium.common import exceptions  # noqa: E402
from selenium.webdriver import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

from keras_muse.demo import server  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="no browser: install the packages chromium and chromium-driver",
)
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--window-size=1200,1400"),
    # Without a graphics card, and with little shared memory.
    *("--use-gl=angle", "--use-angle=swiftshader", "--disable-dev-shm-usage"),
    "--enable-unsafe-swiftshader",
    # What the browser itself would ask for.
    *("--disable-background-networking", "--disable-component-update"),
)
SECONDS = 120
# What is not there yet, or has no size yet, or has just been made anew.
LATE = (
    IndexError,
    exceptions.ElementClickInterceptedException,
    exceptions.ElementNotInteractableException,
    exceptions.StaleElementReferenceException,
)


@pytest.fixture(scope="module")
def address():
    with server.serving(shared_muse(cascade=False), "tiny") as address:
        yield address


@pytest.fixture(scope="module")
def browser(address):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    browser = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(DRIVER)
    )
    yield browser
    browser.quit()


class Person:
    """Somebody with a mouse and a keyboard, before a fresh page."""

    def __init__(self, browser, address):
        self.browser = browser
        browser.get(address)
        self.wait(lambda: self.all("#prompt textarea"))

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, condition):
        wait = WebDriverWait(self.browser, SECONDS, 0.1, LATE)
        return wait.until(lambda _: condition())

    def type(self, selector, text):
        (field,) = self.wait(lambda: self.all(selector))
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)

    def click(self, find):
        """Clicks what is found, as soon as it can be clicked."""
        self.wait(lambda: find().click() is None)

    def press(self, label):
        self.click(
            lambda: [x for x in self.all("button") if x.text == label][0]
        )

    def value(self, selector):
        return self.all(selector)[0].get_attribute("value")

    def source(self, selector):
        return self.all(selector)[0].get_attribute("src")

    def drawn(self, number):
        """Waits for so many pictures; the newest, and its file."""
        self.wait(lambda: len(self.all("#gallery button img")) == number)
        self.wait(lambda: re.match(r"Seed \d+ · ", self.words))
        seed = self.words.split()[1]
        self.wait(lambda: self.value("#seed input") == seed)
        # Until then one that is unfinished may be shown, or the one before.
        source = self.wait(lambda: self.source("#gallery img"))
        self.wait(lambda: self.source("#picture img") == source)
        assert source.endswith(f"/muse_{seed}.png")
        with urllib.request.urlopen(source) as answer:
            content = answer.read()
        return np.asarray(Image.open(io.BytesIO(content))), content

    @property
    def words(self):
        return self.all("#words")[0].text


@pytest.fixture
def person(browser, address):
    return Person(browser, address)


def test_type_draw_paint_and_see_that_the_rest_stays(person):
    person.type("#prompt textarea", "a red apple" + Keys.ENTER)
    before, _ = person.drawn(1)
    seed = int(person.value("#seed input"))
    (expected,) = shared_muse(cascade=False).generate(
        "a red apple", seed=seed, batch_size=1, verbose=0
    )
    np.testing.assert_array_equal(before, expected)

    person.press("Repaint")  # the tab
    canvas = person.wait(lambda: person.all("#editor canvas")[0])
    # Until the picture is there: paint on nothing is lost.
    person.wait(lambda: person.browser.execute_script(SHOWS_PICTURE))
    ActionChains(person.browser).move_to_element_with_offset(
        canvas, -60, -60
    ).click_and_hold().move_by_offset(50, 0).move_by_offset(
        0, 30
    ).release().perform()
    # An image stands in the page, without a size, before it is loaded.
    person.wait(lambda: person.all("#cells img")[0].is_displayed())

    person.type("#prompt textarea", "a blue cat")
    person.click(lambda: person.all("#repaint")[0])
    after, _ = person.drawn(2)
    changed = (after != before).any(-1)
    assert changed.any()
    # The stroke was above and left of the middle.
    assert not changed[9:].any() and not changed[:, 9:].any()


SHOWS_PICTURE = """
const canvas = document.querySelector("#editor canvas");
return canvas.width > 0 && performance.getEntriesByType("resource").some(
  (entry) => entry.name.endsWith("/image.png"));
"""


def test_a_dropped_picture_restores_its_settings_and_is_drawn_again(
    person, browser, address, tmp_path
):
    person.type("#prompt textarea", "a cat" + Keys.ENTER)
    before, content = person.drawn(1)
    seed = person.value("#seed input")
    path = tmp_path / "cat.png"
    path.write_bytes(content)

    person = Person(browser, address)
    person.wait(lambda: person.all("#file input")[0])
    person.all("#file input")[0].send_keys(str(path))
    person.wait(lambda: "restored" in person.words)
    person.wait(lambda: person.value("#prompt textarea") == "a cat")
    person.wait(lambda: person.value("#seed input") == seed)
    person.wait(lambda: not person.all("#is_new input")[0].is_selected())
    person.press("Draw")
    after, again = person.drawn(1)
    np.testing.assert_array_equal(after, before)
    assert again == content


def test_a_click_on_the_gallery_brings_a_picture_back(person):
    person.type("#prompt textarea", "a cat" + Keys.ENTER)
    first, _ = person.drawn(1)
    person.type("#prompt textarea", "a blue apple" + Keys.ENTER)
    person.drawn(2)
    person.click(lambda: person.all("#gallery button img")[1])
    person.wait(lambda: "restored" in person.words)
    person.wait(lambda: person.value("#prompt textarea") == "a cat")


def test_what_is_stopped_makes_room_for_the_next(person, monkeypatch):
    draw, begun, is_stopped = Muse.generate, [], threading.Event()

    def draw_slowly(*args, **kwargs):
        # The tiny model would be done with all before the button is pressed,
        # and before the server hears of it.
        begun.append(args)
        if len(begun) > 1:
            is_stopped.wait(SECONDS)
            time.sleep(1)
        return draw(*args, **kwargs)

    monkeypatch.setattr(Muse, "generate", draw_slowly)
    person.press("a red apple, noto style")  # an example
    person.wait(lambda: person.value("#prompt textarea").endswith("style"))
    person.type("#prompt textarea", "a red apple")
    person.type("#count input[type=number]", f"8{Keys.TAB}")
    person.press("Draw")
    person.wait(lambda: person.all("#gallery button img"))
    person.press("Stop")
    person.wait(lambda: person.words == "Stopped.")
    is_stopped.set()
    number = len(person.all("#gallery button img"))
    person.type("#count input[type=number]", f"1{Keys.TAB}")
    person.press("Draw")
    person.wait(lambda: len(person.all("#gallery button img")) > number)
    # One may have been finished that was not shown any more; not all.
    assert len(person.all("#gallery button img")) < 8


def test_what_goes_wrong_is_said_on_the_page(person):
    person.press("Draw")
    person.wait(
        lambda: "the prompt is empty" in person.all(".toast-body")[0].text
    )
    person.type("#prompt textarea", "a cat" + Keys.ENTER)
    person.drawn(1)


def test_nothing_is_asked_of_another_machine(person, address):
    """Last: of all that the tests before have done."""
    requests = [
        json.loads(entry["message"])["message"]
        for entry in person.browser.get_log("performance")
    ]
    urls = [
        urllib.parse.urlparse(one["params"]["request"]["url"])
        for one in requests
        if one["method"] == "Network.requestWillBeSent"
    ]
    ours = urllib.parse.urlparse(address).netloc
    assert len(urls) > 50
    assert {url.scheme for url in urls} <= {"http", "data", "blob"}
    assert {url.netloc for url in urls if url.scheme == "http"} == {ours}
