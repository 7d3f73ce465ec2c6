"""Measure the built page in Chromium: what it transfers, when it can be read, how fast its codec is on one thread.

python web/measure.py bench/web.json    # on a quiet machine; needs playwright and Chromium
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from silkcodec.evaluate import machine
from silkcodec.serve import explain

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))
import subprocesses

RUNS = 5
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
SAMPLES = ("English", "Mandarin", "Arabic")


def main() -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    found, since = subprocesses.idle_conditions(), machine.clocks()  # not all of Chromium's processes are our children
    with explain.server() as server, sync_playwright() as tools:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        browser = tools.chromium.launch(executable_path=chromium, args=FLAGS)
        runs = [visit(browser, f"http://127.0.0.1:{server.server_port}/") for _ in range(RUNS)]
        version = browser.version
        browser.close()
        server.shutdown()
        thread.join()
    median = {key: round(statistics.median(run[key] for run in runs), 4) for key in runs[0]}
    figures = {"chromium": version, "runs": RUNS, "threads": 1, "median": median}
    subprocesses.write_result(Path(sys.argv[1]), "silk web", False, found, since, figures)
    print(json.dumps(figures, indent=1))


def visit(browser: Any, url: str) -> dict[str, float]:
    """One reader with an empty cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page: Page = context.new_page()
    sizes: dict[str, int] = {}
    page.on("response", lambda one: sizes.__setitem__(one.url, int(one.headers.get("content-length", 0))))
    began = time.monotonic()
    page.goto(url, wait_until="commit")
    page.locator("section#voice [role=gridcell]").first.wait_for()
    stages_s = time.monotonic() - began
    status = page.locator("header .status")
    until(page, lambda: status.get_attribute("data-phase") == "ready")
    ready_s = time.monotonic() - began
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    speeds = []
    for sample in (*SAMPLES, *SAMPLES):  # the first time around, memory is still being asked for
        page.locator("header").get_by_role("button", name=sample, exact=True).click()
        until(page, lambda: "same tokens" in status.inner_text())
        speed = page.locator("#voice .speed")
        speeds.append([float(speed.get_attribute(f"data-{way}") or 0) for way in ("encode", "decode")])
    encode, decode = zip(*speeds[len(SAMPLES) :], strict=True)
    model = sum(size for name, size in sizes.items() if name.endswith(".onnx"))
    found = {
        "first_content_s": page.evaluate(paint) / 1000,
        "recorded_stages_s": stages_s,
        "model_ready_s": ready_s,
        "transfer_bytes": sum(sizes.values()),
        "model_bytes": model,
        "runtime_bytes": sum(size for name, size in sizes.items() if name.endswith(".wasm")),
        "encode_times_real_time": statistics.median(encode),
        "decode_times_real_time": statistics.median(decode),
    }
    context.close()
    return found


def until(page: Page, condition: Any) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, page.locator("header").inner_text()
        page.wait_for_timeout(20)


if __name__ == "__main__":
    main()
