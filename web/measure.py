"""Measure the web page in Chromium: transferred bytes, loading times, and the speed of the codec.

python web/measure.py bench/web.json    # on an idle machine; needs playwright and Chromium

Some visits emulate a network of 10 Mbit/s with 40 ms of latency, or a CPU that is slower by a factor of 4.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
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
SLOW_RUNS = 3
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
SAMPLES = ("English", "Mandarin", "Arabic")
GRAPHS = ("encoder.onnx", "decoder.onnx")
NETWORK = {"bits_per_second": 10_000_000, "latency_ms": 40}
CPU_SLOWDOWN = 4
LONG_TASKS = """
window.longest = 0;
new PerformanceObserver((list) => {
    for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({ type: "longtask" });
"""


def main() -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    # Not all processes of Chromium are child processes of this one.
    found, since = subprocesses.idle_conditions(), machine.clocks()
    with tempfile.TemporaryDirectory() as temporary:
        site = Path(temporary) / "page"
        explain.export(site)
        with explain.server(weights=site / "weights", site=site) as server, sync_playwright() as tools:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            browser = tools.chromium.launch(executable_path=chromium, args=FLAGS)
            url = f"http://127.0.0.1:{server.server_port}/"
            runs = [visit(browser, url) for _ in range(RUNS)]
            slow = [visit_slowly(browser, url) for _ in range(SLOW_RUNS)]
            played = [play(browser, url) for _ in range(SLOW_RUNS)]
            version = browser.version
            browser.close()
            server.shutdown()
            thread.join()
    figures = {
        "chromium": version,
        "runs": RUNS,
        "threads": 1,
        "median": medians(runs),
        "slow_network": {**NETWORK, "runs": SLOW_RUNS, "median": medians(slow)},
        "slow_cpu": {"slowdown": CPU_SLOWDOWN, "runs": SLOW_RUNS, "longest_task_s": max(played)},
    }
    subprocesses.write_result(Path(sys.argv[1]), "silk web", False, found, since, figures)
    print(json.dumps(figures, indent=1))


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(run[key] for run in runs), 4) for key in runs[0]}


def open_page(browser: Any) -> Page:
    """Open a page with an empty cache."""
    page: Page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.add_init_script(LONG_TASKS)
    return page


def visit(browser: Any, url: str) -> dict[str, float]:
    """Measure a visit without limits, including the speed of the codec."""
    page = open_page(browser)
    found = load(page, url)
    status = page.locator("header .status")
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    speeds = []
    for sample in (*SAMPLES, *SAMPLES):  # The first round allocates memory and is not counted.
        page.locator("header").get_by_role("button", name=sample, exact=True).click()
        until(page, lambda: "same tokens" in status.inner_text())
        speed = page.locator("#voice .speed")
        speeds.append([float(speed.get_attribute(f"data-{way}") or 0) for way in ("encode", "decode")])
    encode, decode = zip(*speeds[len(SAMPLES) :], strict=True)
    found |= {
        "first_content_s": page.evaluate(paint) / 1000,
        "encode_times_real_time": statistics.median(encode),
        "decode_times_real_time": statistics.median(decode),
    }
    page.context.close()
    return found


def load(page: Page, url: str) -> dict[str, float]:
    """Load the page and wait until its model is ready. Return the time and the transferred bytes."""
    sizes: dict[str, int] = {}
    page.on("response", lambda one: sizes.__setitem__(one.url, int(one.headers.get("content-length", 0))))
    began = time.monotonic()
    page.goto(url, wait_until="commit")
    page.locator("section#voice [role=gridcell]").first.wait_for()
    stages_s = time.monotonic() - began
    status = page.locator("header .status")
    until(page, lambda: status.get_attribute("data-phase") == "ready")
    return {
        "recorded_stages_s": stages_s,
        "model_ready_s": time.monotonic() - began,
        "transfer_bytes": sum(sizes.values()),
        "model_bytes": sum((explain.WEIGHTS / name).stat().st_size for name in GRAPHS),
        "model_transfer_bytes": sum(size for name, size in sizes.items() if name.endswith(".onnx")),
        "runtime_bytes": sum(size for name, size in sizes.items() if name.endswith(".wasm")),
    }


def visit_slowly(browser: Any, url: str) -> dict[str, float]:
    """Measure a visit over a slow network."""
    page = open_page(browser)
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    throughput = NETWORK["bits_per_second"] / 8
    limits = {"downloadThroughput": throughput, "uploadThroughput": throughput, "latency": NETWORK["latency_ms"]}
    session.send("Network.emulateNetworkConditions", {"offline": False, **limits})
    found = load(page, url)
    least_s = found["transfer_bytes"] / throughput
    if found["model_ready_s"] < 0.9 * least_s:
        raise SystemExit(
            f"The network was not slowed down: {found['model_ready_s']:.1f} s, but {least_s:.1f} s are needed."
        )
    page.context.close()
    return {key: found[key] for key in ("recorded_stages_s", "model_ready_s", "transfer_bytes")}


def play(browser: Any, url: str) -> float:
    """Play a recording and scroll on a slow CPU. Return the longest task of the main thread in seconds."""
    page = open_page(browser)
    load(page, url)
    status = page.locator("header .status")
    until(page, lambda: "same tokens" in status.inner_text())
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": CPU_SLOWDOWN})
    page.evaluate("window.longest = 0")
    header = page.locator("header").get_by_role("button", name="Silk", exact=True)
    height = int(page.evaluate("document.documentElement.scrollHeight"))
    for y in range(0, height, 800):
        if header.get_attribute("aria-pressed") == "false":
            header.click(delay=80)
        page.evaluate(f"scrollTo({{ top: {y}, behavior: 'instant' }})")
        page.wait_for_timeout(300)
    for button in page.locator("main button[aria-pressed]:has(svg)").all():
        if button.is_enabled():
            button.click(delay=80)
            page.wait_for_timeout(250)
    found = float(page.evaluate("window.longest"))
    page.context.close()
    return found / 1000


def until(page: Page, condition: Any) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, page.locator("header").inner_text()
        page.wait_for_timeout(20)


if __name__ == "__main__":
    main()
