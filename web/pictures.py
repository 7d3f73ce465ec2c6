"""Take screenshots of every section of the built page, at desktop and phone width, in the light and the dark theme.

python web/pictures.py out/pictures     # needs playwright, Chromium and Pillow ([dev] extra)
"""

from __future__ import annotations

import io
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from silkcodec.serve import explain

WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}  # CSS pixels
THEMES = ("light", "dark")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
QUALITY = 50  # of WebP
TALL = 1700  # CSS pixels; most sections fit into a window of this height
# Otherwise the bar would cover part of a section that is taller than the window.
STILL = "header { position: static !important } html { scroll-behavior: auto !important }"


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with explain.server() as server, sync_playwright() as tools:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        browser = tools.chromium.launch(executable_path=chromium, args=FLAGS)
        for width in WIDTHS:
            for theme in THEMES:
                take(browser, f"http://127.0.0.1:{server.server_port}/", folder, width, theme)
        browser.close()
        server.shutdown()
        thread.join()


def take(browser: Any, url: str, folder: Path, width: str, theme: str) -> None:
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    page = browser.new_page(viewport=size, color_scheme=theme)
    page.goto(url)
    end = time.monotonic() + 300
    while "same tokens" not in page.locator("header .status").inner_text():
        assert time.monotonic() < end, "the model did not load"
        page.wait_for_timeout(200)
    page.add_style_tag(content=STILL)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")  # Draw all figures, including those that are not in view.
    page.wait_for_timeout(500)
    save(page.screenshot(), folder / f"00-top-{width}-{theme}.webp")
    page.set_viewport_size({**size, "height": TALL})
    save(page.locator("figure.machine").screenshot(), folder / f"00-figure-{width}-{theme}.webp")
    for i, section in enumerate(page.locator("main section").all(), 1):
        section.scroll_into_view_if_needed()
        page.evaluate("dispatchEvent(new Event('beforeprint'))")  # Draw figures that have appeared since.
        page.wait_for_timeout(400)  # Some figures fetch their data when they are almost in view.
        name = f"{i:02d}-{section.get_attribute('id')}-{width}-{theme}.webp"
        save(section.screenshot(), folder / name)
    page.close()


def save(png: bytes, path: Path) -> None:
    Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=QUALITY, method=6)


if __name__ == "__main__":
    main()
