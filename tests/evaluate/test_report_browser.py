"""Test the HTML report in a real browser: players, sorting, plots and downloads, from a file and without requests."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chromium
import reportcase
from ear import EAR
from silkcodec import audio
from silkcodec.evaluate.html import to_html
from silkcodec.evaluate.html.columns import columns
from silkcodec.evaluate.html.players import matching_gains_db
from silkcodec.evaluate.listening import Listening

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def case() -> tuple[dict[str, Any], list[Listening]]:
    pytest.importorskip("pycodec2", reason="needs the [classical] extra")
    pytest.importorskip("pystoi", reason="needs the [eval] extra")
    return reportcase.make()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.launched() as found:
        yield found


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open a report from a file in a new profile. It must cause no errors and no requests."""
    contexts, troubles, requests = [], [], []

    def open_(html: str, width: int = 1280, theme: str = "light", **options: Any) -> Any:
        file = tmp_path / "report.html"
        file.write_text(html, encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.add_init_script(EAR)
        page.on("console", lambda message: troubles.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert troubles == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def report(case: tuple[dict[str, Any], list[Listening]]) -> str:
    return to_html(*case)


def tones() -> list[Listening]:
    """Return tones of 3 s: 400 Hz as reference, 800 Hz, and 1,600 Hz at half the amplitude."""
    t = np.arange(72_000) / 24_000
    waves = {
        "reference": 0.4 * np.sin(2 * np.pi * 400 * t),
        "silk": 0.4 * np.sin(2 * np.pi * 800 * t),
        "opus:6k": 0.2 * np.sin(2 * np.pi * 1600 * t),
    }
    return [Listening("tones.flac", 24_000, {name: wave.astype(np.float32) for name, wave in waves.items()})]


def wait(page: Any, condition: str, seconds: float = 120.0) -> None:
    """Wait for a condition. Playwright's own function evaluates strings, which the policy of the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"{condition} did not become true"
        page.wait_for_timeout(25)


def position_s(page: Any) -> float:
    return float(page.evaluate("Number(document.querySelector('.clip:not([hidden]) .seek').value)"))


def order(page: Any) -> list[str]:
    return list(page.locator("#results tbody th").evaluate_all("rows => rows.map(row => row.dataset.v)"))


def test_all_sections_are_in_order(opened: Open, report: str) -> None:
    page = opened(report)
    wanted = "Results, Listen, Cost for a language model, Rate and quality, Codebooks, Groups, Missing values, Method"
    assert page.locator("h2").all_inner_texts() == wanted.split(", ")
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).count() == 1
    assert "nonesuch could not be used" in page.locator(".failures").inner_text()
    assert page.locator(".card").count() == len(reportcase.CODECS)
    assert page.locator(".dimensions .used").count() == 128


def test_switching_keeps_the_position_without_a_gap(opened: Open, case: tuple[dict[str, Any], list[Listening]]) -> None:
    page = opened(to_html(case[0], tones()))
    page.locator(".play").click()
    wait(page, "window.context && context.currentTime > 0.9")
    assert page.evaluate("pitch()") == pytest.approx(400, abs=3)
    before = page.evaluate("lag('.clip:not([hidden]) .seek')")
    page.keyboard.press("2")
    page.wait_for_timeout(300)
    loudness = page.evaluate("loudness()")
    assert page.evaluate("lag('.clip:not([hidden]) .seek')") == pytest.approx(before, abs=0.05)  # it continued
    assert min(loudness) > 0.5 * np.median(loudness)  # and was never silent
    page.wait_for_timeout(600)
    assert page.evaluate("pitch()") == pytest.approx(800, abs=3)
    assert page.locator(".selected .codec").inner_text() == "silk"


def test_levels_are_matched_only_on_request(opened: Open, case: tuple[dict[str, Any], list[Listening]]) -> None:
    page = opened(to_html(case[0], tones()))
    page.get_by_label("Loop").check()
    page.keyboard.press("3")
    page.locator(".play").click()
    wait(page, "window.context && context.currentTime > 0.9")
    assert np.median(page.evaluate("loudness()")) == pytest.approx(0.2 / 2**0.5, rel=0.02)
    page.get_by_label("Match levels").check()
    page.wait_for_timeout(900)
    assert np.median(page.evaluate("loudness()")) == pytest.approx(0.4 / 2**0.5, rel=0.02)
    # With a loop, the clip of 3 s continues after its end at the same level.
    wait(page, "context.currentTime > 3.5")
    assert position_s(page) < 2.9
    assert min(page.evaluate("loudness()")) > 0.2


def test_keyboard_control_of_the_player(opened: Open, case: tuple[dict[str, Any], list[Listening]]) -> None:
    page = opened(to_html(case[0], tones()))
    page.locator(".tracks input").first.focus()
    page.keyboard.press("Space")
    wait(page, "Number(document.querySelector('.seek').value) > 0.2")
    page.keyboard.press("Space")
    stopped = position_s(page)
    page.wait_for_timeout(150)
    assert position_s(page) == pytest.approx(stopped, abs=0.02)
    page.locator(".seek").focus()
    page.keyboard.press("End")
    assert position_s(page) > 2.9
    page.keyboard.press("Home")
    assert position_s(page) == 0
    page.locator(".picture").nth(1).click(position={"x": 300, "y": 20})  # at that position, in that version
    width = page.locator(".picture").nth(1).bounding_box()["width"]
    assert position_s(page) == pytest.approx(3 * 300 / width, abs=0.02)
    assert page.locator(".selected .codec").inner_text() == "silk"
    page.locator(".tracks input").first.focus()
    page.keyboard.press("Space")
    wait(page, "document.querySelector('.seek').value == 0")  # at its end
    assert page.locator(".playing").count() == 0


def test_real_speech_is_decoded_and_tabs_change_the_clip(
    opened: Open, report: str, case: tuple[dict[str, Any], list[Listening]]
) -> None:
    page = opened(report)
    page.locator(".play:visible").click()
    wait(page, "window.context && context.currentTime > 1")
    assert max(page.evaluate("loudness()")) > 0.005
    page.keyboard.press("2")
    page.locator("[role=tab]").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#clip-0").is_hidden() and page.locator("#clip-1").is_visible()
    assert page.locator(".playing").count() == 0
    assert page.locator("#clip-1 .selected .codec").inner_text() == list(case[1][1].waves)[1]


def test_the_table_sorts_both_ways_by_click_and_keyboard(
    opened: Open, report: str, case: tuple[dict[str, Any], list[Listening]]
) -> None:
    page = opened(report)
    result = case[0]
    usable = list(reportcase.CODECS)
    by_stoi = sorted(usable, key=lambda name: -result["means"][name]["stoi"]["mean"])
    head = page.get_by_role("columnheader", name="STOI", exact=False).first
    head.get_by_role("button").click()
    assert order(page) == [*by_stoi, reportcase.FAILED]  # the best on top, missing values at the bottom
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").click()
    assert order(page) == [*by_stoi[::-1], reportcase.FAILED]
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").click()
    assert order(page) == list(result["codecs"])
    tokens = page.get_by_role("button", name="Tokens")
    tokens.focus()
    page.keyboard.press("Enter")
    assert order(page)[0] == min(usable, key=lambda name: result["codecs"][name]["tokens_per_second"])
    assert page.locator("#results [aria-sort=ascending], #results [aria-sort=descending]").count() == 1


def test_differences_replace_means(opened: Open, report: str) -> None:
    page = opened(report)
    cell = page.locator("#results tbody tr").nth(1).locator("td").filter(has=page.locator(".difference")).first
    mean = cell.inner_text()
    page.get_by_text("silk minus each", exact=True).click()
    difference = cell.inner_text()
    assert difference != mean and "to" in difference
    title = cell.get_attribute("title")
    assert title.startswith("silk minus codec2:1200: ") and difference.split()[-1] in title


def test_a_missing_column_states_how_to_enable_it(opened: Open, report: str) -> None:
    page = opened(report)
    head = page.locator("#results th.missing")
    assert "ViSQOL" in head.inner_text() and head.get_attribute("title") == reportcase.NEEDS
    note = page.locator(head.get_by_role("link").get_attribute("href"))
    assert note.is_visible() and reportcase.NEEDS in note.inner_text()
    assert head.get_by_role("button").count() == 0  # no values to sort


def test_names_from_files_are_escaped(opened: Open, case: tuple[dict[str, Any], list[Listening]]) -> None:
    attacks = [
        "<script>window.hacked = 1</script>",
        '"><img src=x onerror="window.hacked = 1">',
        "</script><script>window.hacked = 1</script><!--",
        "__proto__",
        "$title ${title} &lt;b&gt;",
    ]
    renamed = dict(zip(reportcase.CODECS, attacks, strict=True))
    text = json.dumps(case[0])
    for old, new in [*renamed.items(), ("language", attacks[0]), ("mandarin", attacks[1]), ("ViSQOL", attacks[2])]:
        text = text.replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1])
    clips = [
        Listening(attacks[2], one.sample_rate, {renamed.get(name, name): wave for name, wave in one.waves.items()})
        for one in case[1]
    ]
    result = json.loads(text)
    page = opened(to_html(result, clips))
    for attack in attacks:
        assert attack in order(page)
    page.locator(".play:visible").click()
    wait(page, "window.context && context.currentTime > 0.2")
    assert page.locator("#plot-area .name").count() == len(attacks)
    assert page.locator("#plot-area, .tabs, header").first.is_visible()
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.hacked") is None


def test_only_scripts_of_the_page_run(browser: Any, report: str, tmp_path: Path) -> None:
    """Test the page's policy, which applies if the escaping fails."""
    broken = report.replace("<main>", '<main><script>window.hacked = 1</script><p onclick="window.hacked = 2">x</p>')
    assert broken != report
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "broken.html").as_uri())
    page.locator("main > p").first.click()
    assert page.evaluate("window.hacked") is None
    assert page.locator("#plot-area svg").count() == 1  # the script of the page ran
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_is_readable(opened: Open, report: str, width: int, theme: str) -> None:
    page = opened(report, width=width, theme=theme)
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    page.wait_for_timeout(50)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#plot-area").evaluate("area => area.scrollWidth <= area.clientWidth")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(background) < 0.05) == (theme == "dark")
    for selector in (
        ".hint",
        "#results .range",
        "#results .unit",
        "#results th.missing",
        ".facts dt",
        ".caution",
        "h1",
    ):
        ink = page.locator(selector).first.evaluate("one => getComputedStyle(one).color")
        light, dark = sorted([luminance(ink), luminance(background)], reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 4.5, f"{selector} is hard to read in {theme}"


def luminance(color: str) -> float:
    """Return the relative luminance of `rgb(r, g, b)` (WCAG 2)."""
    channels = np.array([float(c) for c in color.partition("(")[2].rstrip(")").split(",")[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("width", [390, 1280])
def test_names_in_the_plot_do_not_overlap(opened: Open, report: str, width: int) -> None:
    page = opened(report, width=width)
    for metric in reportcase.METRICS:
        page.locator("#plot-y").select_option(metric)
        for rate in ("bits_per_second", "tokens_per_second"):
            page.locator("#plot-x").select_option(rate)
            boxes = page.locator("#plot-area .name").evaluate_all(
                "all => all.map(one => { const b = one.getBBox();"
                " return [b.x, b.y + 3, b.x + b.width, b.y + b.height - 3] })"
            )
            assert len(boxes) == page.locator("#plot-area .point").count() == len(reportcase.CODECS)
            for a, b in combinations(boxes, 2):
                assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]), (metric, rate)


def test_the_numbers_can_be_downloaded(opened: Open, report: str, case: tuple[dict[str, Any], list[Listening]]) -> None:
    page = opened(report)
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "results.json"
    assert json.loads(Path(download.value.path()).read_text(encoding="utf-8")) == case[0]


def test_without_scripts_tables_and_audio_work(opened: Open, report: str) -> None:
    page = opened(report, java_script_enabled=False)
    assert page.locator("#results tbody tr").count() == len(reportcase.CODECS) + 1
    assert page.locator("audio:visible").count() == 2 * (1 + len(reportcase.CODECS))
    assert page.locator(".transport:visible, .tabs:visible, #shown:visible").count() == 0


def test_scores_have_no_rates(opened: Open, case: tuple[dict[str, Any], list[Listening]]) -> None:
    result = copy.deepcopy(case[0])
    result["kind"] = "silk score"
    result["codecs"] = {name: {"n_clips": 2, "n_failed": 0} for name in reportcase.CODECS}
    page = opened(to_html(result, []))
    assert page.locator("h2").all_inner_texts() == ["Results", "Groups", "Missing values", "Method"]
    assert page.locator("#results .group").all_inner_texts() == ["Quality"]


def test_a_run_without_usable_codecs_has_a_report(case: tuple[dict[str, Any], list[Listening]]) -> None:
    result = copy.deepcopy(case[0])
    nothing = {key: {"mean": None, "low": None, "high": None, "n": 0} for key in result["metrics"]}
    result["codecs"] = {name: {"n_clips": 2, "n_failed": 2, "failed": "No."} for name in reportcase.CODECS}
    result["means"] = dict.fromkeys(reportcase.CODECS, nothing)
    result["differences"]["minus"] = dict.fromkeys(reportcase.CODECS[1:], nothing)
    html = to_html(result, [Listening("silence.flac", 24_000, {"reference": np.zeros(50, np.float32)})])
    assert html.count("could not be used: No.") == len(reportcase.CODECS)


def test_names_cannot_close_the_script_element(case: tuple[dict[str, Any], list[Listening]]) -> None:
    result = copy.deepcopy(case[0])
    result["settings"]["split"] = "</script><!--"
    html = to_html(result, [])
    assert "</script><!--" not in html and html.count("<script") == html.count("</script>") == 3


def test_best_and_tied_cells(case: tuple[dict[str, Any], list[Listening]]) -> None:
    result = copy.deepcopy(case[0])
    names = list(reportcase.CODECS)

    def entry(mean: float) -> dict[str, float]:
        return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 9}

    for name, mean in zip(names, (2.0, 2.15, 1.0, 2.3, 1.9), strict=True):
        result["means"][name]["stoi"] = entry(mean)
    for name in names[1:]:
        result["differences"]["minus"][name]["stoi"] = entry(
            -0.25
        )  # the paired difference is significant, and silk is worse
    stoi = next(column for column in columns(result) if column.key == "stoi")
    assert stoi.best == names[3] and stoi.tied == {names[1], names[3]}
    result["differences"]["minus"][names[3]]["stoi"] = entry(-0.05)  # not significant
    stoi = next(column for column in columns(result) if column.key == "stoi")
    assert stoi.tied == {names[0], names[1], names[3]}
    tokens = next(column for column in columns(result) if column.key == "tokens_per_second")
    assert tokens.tied == {"silk"}


def test_matched_levels_do_not_clip() -> None:
    t = np.arange(24_000) / 24_000
    reference = (0.9 * np.sin(2 * np.pi * 200 * t)).astype(np.float32)
    peaky = np.zeros_like(reference)
    peaky[::100] = 0.5
    waves = {"reference": reference, "peaky": peaky, "silent": np.zeros_like(reference)}
    gains = {name: 10 ** (gain_db / 20) for name, gain_db in matching_gains_db(waves).items()}
    levels = [np.sqrt(np.mean((gains[name] * waves[name]) ** 2)) for name in ("reference", "peaky")]
    assert levels[0] == pytest.approx(levels[1], rel=1e-3)
    assert max(gains[name] * np.abs(wave).max() for name, wave in waves.items()) <= 1.0001


def test_a_report_of_speech_is_not_too_large(case: tuple[dict[str, Any], list[Listening]]) -> None:
    """10 s of 8 versions must take less than 5 MB, so that 3 clips take less than 15 MB."""
    speech = np.tile(audio.read(reportcase.SAMPLES / "english.flac"), 3)[:240_000]
    one = Listening("english.flac", 24_000, {name: speech for name in ("reference", *"abcdefg")})
    assert len(to_html(case[0], [one])) - len(to_html(case[0], [])) < 5e6
