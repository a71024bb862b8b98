"""The page in a real headless Chromium: search, play, drag, upload, keyboard, map, states."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

pytestmark = pytest.mark.browser

pytest.importorskip("selenium", reason="needs selenium (wavtext[dev])")
from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

NEEDED = "needs Debian's chromium and chromedriver: apt-get install chromium chromium-driver"


def open_browser(width: int = 1280, height: int = 860) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--mute-audio",
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--force-prefers-reduced-motion",
        "--hide-scrollbars",
        "--enable-unsafe-swiftshader",
        f"--window-size={width},{height}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


@pytest.fixture(scope="module")
def chrome() -> Iterator[webdriver.Chrome]:
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        if os.environ.get("WAVTEXT_REQUIRE_BROWSER") == "1":
            pytest.fail(NEEDED)
        pytest.skip(NEEDED)
    browser = open_browser()
    yield browser
    browser.quit()


class Page:
    """The page as a person sees it."""

    def __init__(self, chrome: webdriver.Chrome, address: str) -> None:
        self.chrome, self.address = chrome, address

    def open(self, path: str = "/") -> "Page":
        self.chrome.get(self.address + path)
        self.wait(lambda: self.find("#chips") is not None)
        return self

    def find(self, selector: str):
        return self.chrome.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list:
        return self.chrome.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script: str, *arguments):
        return self.chrome.execute_script(script, *arguments)

    def wait(self, condition, seconds: float = 10.0):
        return WebDriverWait(self.chrome, seconds, 0.05).until(lambda _: condition())

    def names(self) -> list[str]:
        return self.run(
            "return [...document.querySelectorAll('.row .title strong')].map(e => e.textContent)"
        )

    def click(self, selector: str, place: int = 0) -> None:
        """Click what is there now: lists are drawn anew while results come."""
        script = (
            "const e = document.querySelectorAll(arguments[0])[arguments[1]];"
            "e?.click(); return Boolean(e);"
        )
        self.wait(lambda: self.run(script, selector, place))

    def type(self, text: str) -> None:
        self.find("#query").send_keys(text)

    def search(self, text: str, *firsts: str) -> None:
        self.open()
        self.type(text)
        self.wait(lambda: set(self.names()[: len(firsts)]) == set(firsts))

    def press(self, key: str) -> None:
        ActionChains(self.chrome).send_keys(key).perform()

    def selected(self) -> str:
        return self.run(
            "return document.querySelector('.row.selected .title strong')?.textContent ?? ''"
        )

    def playing(self) -> str:
        return self.run(
            "return document.querySelector('#play').ariaLabel === 'Pause' "
            "? document.querySelector('#playing-name').textContent : ''"
        )

    def text(self) -> str:
        return self.find("body").text

    def errors(self) -> list[str]:
        return [
            entry["message"]
            for entry in self.chrome.get_log("browser")
            if entry["level"] == "SEVERE"
        ]


@pytest.fixture
def page(chrome: webdriver.Chrome, live: str) -> Iterator[Page]:
    chrome.set_window_size(1280, 860)
    opened = Page(chrome, live)
    chrome.get(live + "/healthz")
    chrome.execute_script("localStorage.clear(); sessionStorage.clear()")
    chrome.get_log("browser")
    yield opened
    assert opened.errors() == []


def test_results_come_while_typing(page):
    page.open()
    page.type("hum")
    page.wait(lambda: page.names()[:1] == ["hum.wav"])
    assert "q=hum" in page.chrome.current_url
    assert page.chrome.title == "hum · wavtext"
    row = page.find(".row")
    assert "2.5 s" in row.text
    assert "machines" in row.text


def test_the_outline_is_drawn_with_its_match(page):
    page.open("/?q=noise&min_duration=5")
    page.wait(lambda: page.names() == ["long & “odd” name.wav"])
    page.wait(lambda: page.run(DRAWN))


DRAWN = """
const canvas = document.querySelector('.row canvas');
const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
const colours = new Set();
for (let i = 0; i < data.length; i += 4) {
  if (data[i + 3] > 250) colours.add(data.slice(i, i + 3).join());
}
return colours.size >= 2;
"""


def test_a_query_that_was_overtaken_does_not_show(page):
    page.open()
    page.run(
        """
        const real = window.fetch;
        window.aborted = 0;
        window.fetch = async (address, options) => {
          if (String(address).includes('q=whis&')) {
            options.signal.addEventListener('abort', () => { window.aborted += 1; });
            await new Promise((resolve) => setTimeout(resolve, 700));
          }
          return real(address, options);
        };
        """
    )
    page.type("whis")
    page.wait(lambda: "q=whis" in page.chrome.current_url)
    page.run("return new Promise((resolve) => setTimeout(resolve, 300))")
    page.type("tle")
    page.wait(lambda: page.names()[:1] == ["whistle.ogg"])
    assert page.run("return window.aborted") == 1
    page.run("return new Promise((resolve) => setTimeout(resolve, 800))")
    assert page.names()[0] == "whistle.ogg"


def test_the_keyboard_walks_plays_and_returns(page):
    page.search("beep", "beep.wav", "beep two.flac")
    names = page.names()
    page.press(Keys.ARROW_DOWN)
    page.wait(lambda: page.selected() == names[0])
    page.wait(lambda: page.playing() == names[0])
    page.press(Keys.ARROW_DOWN)
    page.wait(lambda: page.playing() == names[1])
    page.press(Keys.SPACE)
    page.wait(lambda: page.playing() == "")
    page.press(Keys.SPACE)
    page.wait(lambda: page.playing() == names[1])
    page.press(Keys.ARROW_UP)
    page.wait(lambda: page.selected() == names[0])
    page.press("/")
    assert page.run("return document.activeElement.id") == "query"
    page.press(Keys.ESCAPE)
    page.wait(lambda: page.playing() == "")


def test_sounds_play_from_their_match(page):
    page.search("whistle", "whistle.ogg")
    place = page.names().index("long & “odd” name.wav")
    page.click(".row .play", place)
    page.wait(lambda: page.playing() == "long & “odd” name.wav")
    page.wait(lambda: page.find("#playing-time").text.startswith(("0:06", "0:07", "0:08")))


def test_a_sound_no_browser_plays_is_played_all_the_same(page):
    page.open("/?q=chirp")
    page.wait(lambda: "chirp.aiff" in page.names())
    page.click(".row .play", page.names().index("chirp.aiff"))
    page.wait(lambda: page.playing() == "chirp.aiff")
    page.wait(lambda: not page.find("#playing-time").text.startswith("0:00.0"))


def test_more_and_less_like_this_become_chips_and_the_address_holds_them(page):
    page.search("beep", "beep.wav", "beep two.flac")
    page.click(".row [aria-label^='Less like this']")
    page.wait(lambda: "less like" in page.find("#chips").text)
    assert "unlike=" in page.chrome.current_url
    page.click(".row [aria-label^='More like this']")
    page.wait(lambda: "more like" in page.find("#chips").text)
    page.wait(lambda: ".wav" in page.find("#chips").text or ".flac" in page.find("#chips").text)
    address = page.chrome.current_url
    page.chrome.back()
    page.wait(lambda: page.find("#query").get_attribute("value") == "beep")
    page.chrome.forward()
    page.wait(lambda: page.chrome.current_url == address)
    page.chrome.refresh()
    page.wait(lambda: "more like" in page.find("#chips").text)
    page.click(".chip button")
    page.wait(lambda: not page.all(".chip"))


def test_more_filters_are_shown_when_asked_for_and_kept_in_the_address(page):
    page.search("hum", "hum.wav")
    assert page.find("#extra-filters").get_attribute("hidden") is not None
    page.click("#more-filters")
    assert page.find("#more-filters").get_attribute("aria-expanded") == "true"
    choose = (
        "const s = document.querySelector('#filter-' + arguments[0]); s.value = arguments[1];"
        "s.dispatchEvent(new Event('change', { bubbles: true }));"
    )
    page.run(choose, "channels", "1")
    page.wait(lambda: "channels=1" in page.chrome.current_url)
    page.wait(lambda: "hum.wav" in page.names())
    page.run(choose, "min_sample_rate", "48000")  # all are of 16 kHz
    page.wait(lambda: not page.names())
    page.run(choose, "min_sample_rate", "")
    page.run(choose, "after", "2100-01-01")
    page.wait(lambda: "after=2100-01-01" in page.chrome.current_url)
    page.wait(lambda: not page.names())
    page.chrome.refresh()
    page.wait(lambda: page.find("#filter-after").get_attribute("value") == "2100-01-01")
    assert page.find("#extra-filters").get_attribute("hidden") is None
    page.click("#clear")
    page.wait(lambda: "hum.wav" in page.names())
    assert "after" not in page.chrome.current_url


def test_without_and_filters_narrow_the_search(page):
    page.search("hum", "hum.wav")
    page.find("#without").send_keys("noise", Keys.ENTER)
    page.wait(lambda: "without=noise" in page.chrome.current_url)
    page.run(
        "const s = document.querySelector('#filter-folder'); s.value = 'nature';"
        "s.dispatchEvent(new Event('change'))"
    )
    page.wait(lambda: page.names() and "hum.wav" not in page.names())
    page.run(
        "const s = document.querySelector('#filter-duration'); s.value = '2-10';"
        "s.dispatchEvent(new Event('change'))"
    )
    page.wait(lambda: "min_duration=2" in page.chrome.current_url)
    page.click("#clear")
    page.wait(lambda: page.names()[:1] == ["hum.wav"])
    assert page.chrome.current_url.endswith("/?q=hum")


def test_a_row_drags_out_as_a_file_and_its_match_as_a_part(page):
    page.search("whistle", "whistle.ogg")
    place = page.names().index("long & “odd” name.wav")
    page.run("document.querySelectorAll('.row')[arguments[0]].scrollIntoView()", place)
    script = """
    const row = document.querySelectorAll('.row')[arguments[0]];
    const target = arguments[1] ? row.querySelector(arguments[1]) : row;
    const dataTransfer = new DataTransfer();
    target.dispatchEvent(new DragEvent('dragstart', { dataTransfer, bubbles: true }));
    return Object.fromEntries([...dataTransfer.types].map((t) => [t, dataTransfer.getData(t)]));
    """
    whole = {name.lower(): value for name, value in page.run(script, place, "").items()}
    media, name, address = whole["downloadurl"].split(":", 2)
    assert media == "application/octet-stream"
    assert name == "long & “odd” name.wav"
    assert address == whole["text/uri-list"]
    assert whole["text/plain"].endswith("/nature/long & “odd” name.wav")
    fetch = "return fetch(arguments[0]).then((r) => r.arrayBuffer()).then((b) => b.byteLength)"
    assert page.run(fetch, address) > 200_000
    part = {name.lower(): value for name, value in page.run(script, place, ".grip").items()}
    assert "start=" in part["text/uri-list"]
    assert 20_000 < page.run(fetch, part["text/uri-list"]) < 60_000


def test_a_sound_file_finds_its_like(page, tmp_path, sounds):
    path = tmp_path / "mine.wav"
    samples, rate = soundfile.read(sounds / "machines" / "beep.wav")
    soundfile.write(path, samples[:12_000], rate)
    page.open()
    page.find("#file").send_keys(str(path))
    page.wait(lambda: page.names()[:1] in (["beep.wav"], ["beep two.flac"]))
    assert "like=upload-" in page.chrome.current_url
    assert "mine.wav" in page.find("#chips").text
    page.chrome.refresh()
    page.wait(lambda: page.names()[:1] in (["beep.wav"], ["beep two.flac"]))
    assert "mine.wav" in page.find("#chips").text


def test_a_dropped_file_finds_its_like(page):
    page.open()
    page.run(
        """
        const wave = new Uint8Array(44 + 32000);
        const view = new DataView(wave.buffer);
        const text = (at, s) => [...s].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
        text(0, 'RIFF'); view.setUint32(4, 32036, true); text(8, 'WAVEfmt ');
        view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
        view.setUint32(24, 16000, true); view.setUint32(28, 32000, true);
        view.setUint16(32, 2, true); view.setUint16(34, 16, true);
        text(36, 'data'); view.setUint32(40, 32000, true);
        for (let i = 0; i < 16000; i += 1) {
          view.setInt16(44 + 2 * i, 9000 * Math.sin(2 * Math.PI * 110 * i / 16000), true);
        }
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([wave], 'dropped.wav', { type: 'audio/wav' }));
        for (const name of ['dragenter', 'dragover']) {
          document.body.dispatchEvent(new DragEvent(name, { dataTransfer, bubbles: true }));
        }
        window.veil = !document.querySelector('#drop').hidden;
        document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true }));
        """
    )
    page.wait(lambda: page.names()[:1] == ["hum.wav"])
    assert page.run("return window.veil") is True
    assert "dropped.wav" in page.find("#chips").text


def test_the_microphone_records_and_searches(page):
    page.open()
    page.click("#record")
    page.wait(lambda: page.find("#record").get_attribute("aria-pressed") == "true")
    page.run("return new Promise((resolve) => setTimeout(resolve, 1200))")
    page.click("#record")
    page.wait(lambda: "your recording" in page.find("#chips").text)
    page.wait(lambda: page.names())


def test_a_file_that_is_no_sound_says_so(page, tmp_path):
    path = tmp_path / "notes.wav"
    path.write_text("these are notes")
    page.open()
    page.find("#file").send_keys(str(path))
    page.wait(lambda: "sound" in page.find("#toast").text)
    page.wait(lambda: page.errors() != [])  # Chromium logs the 422 as an error of its own


def test_the_map_draws_hovers_and_plays(page):
    page.open("/?view=map")
    page.wait(lambda: page.find("#map-legend").text)
    assert "machines" in page.find("#map-legend").text
    canvas = page.find("#map-canvas")
    canvas.send_keys(Keys.ARROW_RIGHT)
    page.wait(lambda: page.find("#map-card").is_displayed())
    page.wait(lambda: page.playing())
    first = page.playing()
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ARROW_DOWN, Keys.ARROW_UP):
        canvas.send_keys(key)
    page.wait(lambda: page.find("#playing-name").text)
    places = page.run(
        "return fetch('/api/map').then((r) => r.json()).then((m) => [m.x, m.y, m.clip_ids])"
    )
    box = canvas.rect
    zoom = min(box["width"], box["height"] - 120) / 2.15
    x = (places[0][0] / 32767.5 - 1) * zoom
    y = (places[1][0] / 32767.5 - 1) * zoom
    ActionChains(page.chrome).move_to_element_with_offset(canvas, 0, -300).perform()
    ActionChains(page.chrome).move_to_element_with_offset(canvas, round(x), round(y)).perform()
    name = page.run(
        "return fetch(`/api/clips/${arguments[0]}`).then((r) => r.json()).then((c) => c.name)",
        places[2][0],
    )
    page.wait(lambda: page.find("#map-card strong").text == name)
    page.click("#map-card button")
    page.wait(lambda: "like=" in page.chrome.current_url and page.names())
    assert first


def test_twenty_thousand_points_stay_smooth(page):
    page.open()
    frame = page.chrome.execute_async_script(
        """
        const done = arguments[0];
        import('/page/map-plot.js').then(({ Plot, Nearest }) => {
          const canvas = document.createElement('canvas');
          canvas.style.cssText = 'position: fixed; inset: 0; width: 1200px; height: 700px';
          document.body.append(canvas);
          const places = Float32Array.from({ length: 40000 }, () => Math.random() * 2 - 1);
          const plot = new Plot(canvas, places);
          plot.setTints(Float32Array.from({ length: 80000 }, () => 0.7));
          const nearest = new Nearest(places);
          const times = [];
          const step = (i) => {
            const began = performance.now();
            plot.draw({ x: i / 1000, y: 0, zoom: 300 + i });
            if (plot.gl) plot.gl.finish();
            for (let k = 0; k < 20; k += 1) nearest.find(Math.random(), Math.random(), 0.02);
            times.push(performance.now() - began);
            if (i < 60) requestAnimationFrame(() => step(i + 1));
            else { canvas.remove(); done(times.sort((a, b) => a - b)[30]); }
          };
          step(0);
        });
        """
    )
    # Drawn by SwiftShader, on a CPU shared with everything else here; a GPU takes well under 1 ms.
    assert frame < 50, f"{frame:.1f} ms a frame"


def test_the_library_view_indexes_with_progress(page):
    page.open("/?view=library")
    page.wait(lambda: "Sounds" in page.find("#library").text)
    assert page.find(".figures dd").text == "10"
    page.click(".folders button")
    page.wait(lambda: "10 of 10 files indexed" in page.find("#library").text)


def test_a_search_that_fails_says_so_and_can_be_tried_again(page):
    page.search("hum", "hum.wav")
    page.run("window.real = window.fetch; window.fetch = () => Promise.reject(new TypeError('x'))")
    page.type("s")
    page.wait(lambda: "does not answer" in page.find("#notice").text)
    page.run("window.fetch = window.real")
    page.click("#notice button")
    page.wait(lambda: "does not answer" not in page.find("#sounds").text)
    assert page.names()


def test_no_good_match_and_no_match_have_their_own_words(page):
    page.open()
    page.run(
        """
        window.real = window.fetch;
        window.fetch = async (address, options) => {
          const response = await window.real(address, options);
          if (!String(address).startsWith('/api/search')) return response;
          const content = await response.json();
          content.good_match = false;
          content.results.forEach((result) => { result.relevance = 0.03; });
          return new Response(JSON.stringify(content), { status: 200 });
        };
        """
    )
    page.type("hum")
    page.wait(lambda: "Nothing here matches well" in page.find("#notice").text)
    assert "weak" in page.find(".row .relevance").text
    assert "3 %" in page.find(".row .relevance").text
    page.open("/?q=hum&min_duration=1000")
    page.wait(lambda: "No sound is left" in page.find("#notice").text)
    page.click("#notice button")
    page.wait(lambda: page.names())


def test_a_phone_shows_everything_without_scrolling_sideways(page):
    page.chrome.set_window_size(500, 860)
    page.run("document.documentElement.style.width = '390px'")
    page.chrome.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    try:
        page.open("/?q=noise")
        page.wait(lambda: page.names())
        page.click(".row .play")
        page.wait(lambda: page.playing())
        assert page.run("return document.documentElement.scrollWidth") <= 390
        assert page.find(".row.selected [aria-label^='More like']").is_displayed()
        page.click("[data-show=library]")
        page.wait(lambda: page.find("#library .figures").is_displayed())
        assert page.run("return document.documentElement.scrollWidth") <= 390
    finally:
        page.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_and_light_follow_the_system_and_the_button(page):
    page.open()
    theme = "return document.documentElement.dataset.theme"
    for scheme in ("dark", "light"):
        page.chrome.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        page.open()
        assert page.run(theme) == scheme
    page.click("#theme")
    assert page.run(theme) == "dark"
    page.open()
    assert page.run(theme) == "dark"
    page.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_axe_finds_no_serious_violation(page):
    package = pytest.importorskip("axe_core_python", reason="needs axe-core-python (wavtext[dev])")
    source = os.environ.get("WAVTEXT_AXE") or Path(package.__file__).with_name("axe.min.js")
    axe = Path(source).read_text(encoding="utf-8")
    for theme in ("dark", "light"):
        for path in ("/", "/?q=beep&without=hum", "/?view=map", "/?view=library"):
            page.open(path)
            page.run("document.documentElement.dataset.theme = arguments[0]", theme)
            page.wait(lambda: page.find("#library dl, .row, .blank, #map-legend li"))
            if "beep" in path:
                page.click(".row .play")
            page.run(axe)
            found, passed = page.chrome.execute_async_script(
                "const done = arguments[0];"
                "axe.run(document).then((r) => done([r.violations, r.passes.length]));"
            )
            assert passed > 10  # rules that looked at something
            serious = [
                f"{each['id']}: {node['html'][:120]}"
                for each in found
                for node in each["nodes"]
                if each["impact"] in ("serious", "critical")
            ]
            assert serious == [], f"{theme} {path}: {json.dumps(serious, indent=1)}"


def test_every_control_has_a_name_and_text_has_contrast(page):
    for theme in ("dark", "light"):
        for path in ("/", "/?q=beep", "/?view=library"):
            page.open(path)
            page.run("document.documentElement.dataset.theme = arguments[0]", theme)
            page.wait(lambda: page.find("#library dl, .row, .blank"))
            problems = page.run(AUDIT)
            assert problems == [], f"{theme} {path}: {json.dumps(problems)}"


# A small audit of our own: names of controls, duplicate ids, contrast of text (WCAG 2.2, 1.4.3).
AUDIT = """
const problems = [];
const visible = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true });
const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) problems.push(`id ${id} twice`);
for (const e of document.querySelectorAll('button, a, input, select, canvas:not([aria-hidden])')) {
  const named = e.ariaLabel || e.textContent.trim() || e.labels?.[0]?.textContent.trim();
  if (visible(e) && !named) problems.push(`no name: ${e.outerHTML.slice(0, 80)}`);
}
const parse = (c) => c.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (e) => {
  const layers = [];
  for (let at = e; at; at = at.parentElement) {
    layers.push(parse(getComputedStyle(at).backgroundColor));
  }
  return layers.reverse().reduce((under, [r, g, b, a = 1]) =>
    [r, g, b].map((v, i) => v * a + under[i] * (1 - a)), [255, 255, 255]);
};
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !visible(e)) continue;
  if (e.closest('.toast, .unseen, .skip, noscript, option, [disabled]')) continue;
  const style = getComputedStyle(e);
  const [front, back] = [light(parse(style.color)), light(ground(e))];
  const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  if (ratio < 4.5) problems.push(`${ratio.toFixed(2)}: ${e.textContent.trim().slice(0, 40)}`);
}
return problems;
"""
