"""The pictures of docs/server.md: serve a folder, look at it in headless Chromium.

python scripts/screenshots.py FOLDER docs/images     # an indexed folder of sounds
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
ARGUMENTS = (
    "--headless=new --no-sandbox --disable-dev-shm-usage --mute-audio --hide-scrollbars "
    "--autoplay-policy=no-user-gesture-required --enable-unsafe-swiftshader "
    "--window-size=1360,900"
)


def main() -> None:
    folder, output = sys.argv[1], Path(sys.argv[2])
    command = [sys.executable, "-c", "from wavtext.cli import main; main()"]
    command += ["serve", folder, "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = re.search(r"http://\S+:\d+", server.stdout.readline())
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ARGUMENTS.split():
        options.add_argument(argument)
    chrome = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        take_all(chrome, address[0], output)
    finally:
        chrome.quit()
        server.terminate()


def take_all(chrome: webdriver.Chrome, address: str, output: Path) -> None:
    def save(name: str) -> None:
        chrome.save_screenshot(str(output / f"{name}.png"))

    def some(selector: str) -> Callable[[], bool]:
        return lambda: bool(chrome.find_elements(By.CSS_SELECTOR, selector))

    chrome.get(f"{address}/healthz")
    use_theme(chrome, "dark")
    chrome.get(address)
    chrome.find_element(By.ID, "query").send_keys("heavy rain")
    wait(some(".row"))
    time.sleep(4)
    chrome.find_element(By.ID, "query").send_keys(Keys.ARROW_DOWN)
    time.sleep(2)
    save("search-dark")
    chrome.get(f"{address}/?q=engine&view=map")
    wait(some("#map-legend li"))
    canvas = chrome.find_element(By.ID, "map-canvas")
    for _ in range(2):
        canvas.send_keys(Keys.ARROW_RIGHT)
        time.sleep(2)
    save("map")
    chrome.get(f"{address}/?view=library")
    wait(some(".figures"))
    save("library")
    use_theme(chrome, "light")
    chrome.get(f"{address}/?q=a+dog+barking&without=music")
    wait(some(".row"))
    time.sleep(4)
    save("search-light")
    use_theme(chrome, "dark")
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    chrome.get(f"{address}/?q=footsteps")
    wait(some(".row"))
    time.sleep(4)
    chrome.execute_script("document.querySelector('.row .play').click()")
    time.sleep(1.5)
    save("phone")


def use_theme(chrome: webdriver.Chrome, theme: str) -> None:
    chrome.execute_script("localStorage.setItem('theme', arguments[0])", theme)


def wait(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("the page did not show what was waited for")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
