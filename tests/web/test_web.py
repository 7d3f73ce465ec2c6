"""Test the built `silk explain` page in Chromium: the model, all figures, and accessibility.

The tests need Chromium and the page that `make web` builds. They are skipped if one of them is missing.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile

import chromium
from ear import EAR
from repository import ROOT
from silkcodec import container
from silkcodec.serve import explain
from webserver import running, serving

WEB = ROOT / "web"
SECTIONS = (
    "problem", "spectrogram", "encoder", "codebook", "quantize", "residual", "coverage", "landscape", "listen",
    "gradient", "decoder", "bandwidth", "voice", "quiz",
)  # fmt: skip
SAMPLES = ("English", "Mandarin", "Arabic")

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not (explain.SITE / "index.html").is_file():
        pytest.skip("needs the built page: make web (and Node.js for it)")
    with chromium.launched(*chromium.MICROPHONE) as found:
        yield found


@pytest.fixture(scope="module")
def address(weights_folder: Path) -> Iterator[str]:
    with running(explain.server(weights=weights_folder)) as found:
        yield found


@pytest.fixture(scope="module")
def opened(browser: Any, address: str) -> Iterator[Open]:
    """Open the page in a new profile. It must cause no errors in the console and no requests to other hosts."""
    contexts, troubles, requests = [], [], []

    def open_(
        width: int = 1280, theme: str = "light", before: Callable[[Any], None] | None = None, path: str = ""
    ) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        context.grant_permissions(["microphone"], origin=address.rstrip("/"))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda one: troubles.append(one.text) if one.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        if before:
            before(page)
        page.goto(address + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert troubles == []
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []


STATUS = """
window.said = [];
window.observer = new MutationObserver(() => {
    const text = document.querySelector("header .status")?.innerText;
    const bar = document.querySelector("header .downloads");
    if (text && text !== window.said.at(-1)?.text) window.said.push({ text, value: bar?.value, max: bar?.max });
});
window.observer.observe(document, { subtree: true, childList: true, characterData: true });
"""


DRAWN = """
window.drawn = {};
for (const name of ["putImageData", "drawImage", "fillRect", "strokeRect", "fill", "stroke", "fillText"]) {
    const draw = CanvasRenderingContext2D.prototype[name];
    CanvasRenderingContext2D.prototype[name] = function (...all) {
        const place = this.canvas.closest("section, figure.machine")?.id ?? "detached";
        window.drawn[place || "top"] = (window.drawn[place || "top"] ?? 0) + 1;
        return draw.apply(this, all);
    };
}
"""


class Loaded(NamedTuple):
    page: Any
    said: list[dict[str, Any]]  # the states of the progress bar while the page loaded
    encodings: dict[str, str | None]  # the content encoding of the files with each suffix
    drawn: dict[str, int]  # the number of drawing operations in each section


@pytest.fixture(scope="module")
def first_load(opened: Open) -> Loaded:
    """Open a page with the live model, and record how it loads."""
    encodings: dict[str, str | None] = {}

    def answered(response: Any) -> None:
        if "/assets/" in response.url or "/weights/" in response.url:
            encodings[response.url.rpartition(".")[2]] = response.headers.get("content-encoding")

    def before(page: Any) -> None:
        page.add_init_script(STATUS)
        page.add_init_script(DRAWN)
        page.on("response", answered)

    page = opened(before=before)
    wait_ready(page)
    page.evaluate("window.observer.disconnect()")
    return Loaded(page, page.evaluate("window.said"), dict(encodings), page.evaluate("window.drawn"))


@pytest.fixture(scope="module")
def loaded(first_load: Loaded) -> Any:
    """Return a page with the live model. Tests that do not change its state permanently share it."""
    return first_load.page


@pytest.fixture(scope="module")
def page_of(opened: Open) -> Open:
    """Return a function that returns a page with the live model. Tests share the page of a width and a theme."""
    pages: dict[tuple[int, str], Any] = {}

    def page_of_(width: int, theme: str) -> Any:
        if (width, theme) not in pages:
            pages[width, theme] = opened(width, theme)
            wait_ready(pages[width, theme])
        page = pages[width, theme]
        choose(page, "English")
        page.evaluate("scrollTo(0, 0)")
        return page

    return page_of_


@pytest.fixture(scope="module")
def still(opened: Open) -> Any:
    """Return a page with the live model and reduced motion."""
    page = opened(before=lambda page: page.emulate_media(reduced_motion="reduce"))
    wait_ready(page)
    return page


@pytest.fixture
def live(loaded: Any) -> Any:
    """Return the shared page, online and with the English sample."""
    loaded.context.set_offline(False)
    choose(loaded, "English")
    return loaded


def wait(page: Any, condition: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    """Wait for a condition. Playwright's own function evaluates strings, which the policy of the page forbids."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true; the page says: {page.locator('header').inner_text()}"
        page.wait_for_timeout(25)


def status(page: Any) -> str:
    return str(page.locator("header .status").inner_text())


def wait_ready(page: Any) -> None:
    wait(page, lambda: "same tokens" in status(page), "the live model's comparison")


def choose(page: Any, wanted: str) -> None:
    button = page.locator("header .choice").get_by_role("button", name=wanted, exact=True)
    if button.count():
        button.click()
    else:
        page.get_by_role("combobox", name="Your recordings").select_option(label=wanted)
    wait(page, lambda: title(page) == wanted, "the recording")


def section(page: Any, name: str) -> Any:
    return page.locator(f"section#{name}")


def number(page: Any, name: str, label: str) -> str:
    """Return the value below a label among the numbers of a figure."""
    found = section(page, name).locator("dl.numbers div", has=page.get_by_text(label, exact=True)).first
    return str(found.locator("dd").inner_text())


def slide(page: Any, name: str, label: str, value: float) -> None:
    found = section(page, name).get_by_role("slider", name=label, exact=False).first
    found.evaluate(
        "(one, value) => { one.value = value; one.dispatchEvent(new Event('input', { bubbles: true })); }", str(value)
    )


def in_view(page: Any, canvas: Any) -> Any:
    """Scroll a canvas into view, because only figures in view are drawn."""
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(100)
    return canvas


def picture(page: Any, name: str, index: int = 0) -> str:
    canvas = in_view(page, section(page, name).locator("canvas").nth(index))
    return str(canvas.evaluate("one => one.toDataURL()"))


def upload(page: Any, name: str, content: bytes) -> None:
    page.locator("header input[type=file]").set_input_files({"name": name, "mimeType": "", "buffer": content})


def wav(wave: Any, sample_rate: int = 24_000, subtype: str = "FLOAT") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, sample_rate, format="WAV", subtype=subtype)
    return file.getvalue()


def title(page: Any) -> str:
    chosen = page.locator("header .choice [aria-pressed=true], header .choice select.chosen option:checked")
    return str(chosen.first.text_content(timeout=5_000)).strip() if chosen.count() else ""


def told(page: Any) -> str:
    message = page.locator("header .told.error, header .told.note")
    wait(page, lambda: message.count() == 1, "a message")
    return str(message.inner_text())


def saved(page: Any, button: str) -> bytes:
    with page.expect_download() as download:
        section(page, "voice").get_by_role("button", name=button).click()
    return Path(download.value.path()).read_bytes()


@pytest.mark.slow
def test_vitest() -> None:
    if not (WEB / "node_modules" / "vitest").is_dir():
        pytest.skip("needs web/node_modules: make web (and Node.js for it)")
    done = subprocess.run(["npx", "vitest", "run"], cwd=WEB, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_recorded_stages_are_shown_before_the_model_loads(opened: Open) -> None:
    page = opened(before=lambda page: page.route("**/weights/*.onnx", lambda route: None))  # never answered
    page.locator("section#voice [role=gridcell]").first.wait_for()
    assert "loading" in status(page)
    assert [one.get_attribute("id") for one in page.locator("main section").all()] == list(SECTIONS)
    assert picture(page, "encoder", 1) != picture(page, "encoder", 0)
    assert page.get_by_role("button", name="Random token here").is_disabled()
    choose(page, "Arabic")
    assert title(page) == "Arabic"
    page.context.close()


@pytest.mark.parametrize("held", ["**/weights/encoder.onnx", "**/*.wasm"])
def test_the_runtime_and_the_graphs_are_downloaded_at_the_same_time(opened: Open, held: str) -> None:
    names: list[str] = []

    def before(page: Any) -> None:
        page.on("request", lambda request: names.append(request.url.rpartition("/")[2].partition("-simd")[0]))
        page.route(held, lambda route: None)  # never answered

    page = opened(before=before)
    wait(page, lambda: {"ort-wasm", "encoder.onnx", "decoder.onnx"} <= set(names), "the requests", 20)
    page.context.close()


def test_one_bar_counts_the_bytes_of_all_downloads(first_load: Loaded, weights_folder: Path) -> None:
    said = first_load.said
    loading = [one for one in said if re.fullmatch(r"Model loading: [\d.]+ of [\d.]+ MB", one["text"])]
    runtime = next((explain.SITE / "assets").glob("*.wasm")).stat().st_size
    total = runtime + sum((weights_folder / name).stat().st_size for name in ("encoder.onnx", "decoder.onnx"))
    assert len(loading) > 2 and {one["max"] for one in loading} == {total}
    assert [one["value"] for one in loading] == sorted(one["value"] for one in loading)
    texts = [one["text"] for one in said]
    assert texts.index("Starting the model") > texts.index(loading[-1]["text"])
    assert first_load.page.locator("header .downloads").count() == 0


def test_the_build_compresses_files_that_become_smaller(first_load: Loaded) -> None:
    encodings = first_load.encodings
    assert {encodings[kind] for kind in ("js", "css", "bin", "wasm")} == {"br"}
    assert encodings["onnx"] is None and encodings["woff2"] is None


SAVES_DATA = """
Object.defineProperty(Navigator.prototype, "connection", { get: () => ({ saveData: true }) });
"""


def test_with_save_data_the_model_loads_on_request(opened: Open) -> None:
    names: list[str] = []

    def before(page: Any) -> None:
        page.add_init_script(SAVES_DATA)
        page.on("request", lambda request: names.append(request.url.rpartition(".")[2]))

    page = opened(before=before)
    button = page.locator("header").get_by_role("button", name="Load the model")
    button.wait_for()
    page.wait_for_timeout(500)
    upload(page, "voice.wav", wav(np.zeros(2400, np.float32)))
    assert told(page)
    assert not {"onnx", "wasm"} & set(names)
    button.click()
    wait_ready(page)
    assert page.evaluate("navigator.serviceWorker.getRegistration().then(Boolean)") is False
    page.context.close()


IN_VIEW = """
[...document.querySelectorAll("canvas")].filter((one) => {
    const { top, bottom } = one.getBoundingClientRect();
    return bottom > -301 && top < innerHeight + 301;
}).map((one) => one.closest("section, figure.machine").id || "top")
"""


def drawn_within(page: Any, milliseconds: int) -> set[str]:
    page.evaluate("window.drawn = {}")
    page.wait_for_timeout(milliseconds)
    return set(page.evaluate("window.drawn"))


def test_only_figures_in_view_are_drawn(first_load: Loaded, live: Any) -> None:
    page = live
    assert "top" in first_load.drawn and "decoder" not in first_load.drawn
    play = page.locator("header").get_by_role("button", name="Silk")
    for place, canvas in (
        ("top", page.locator("figure.machine canvas").first),
        ("encoder", section(page, "encoder").locator("canvas").nth(2)),
    ):
        in_view(page, canvas)
        wait(page, lambda: not drawn_within(page, 300), "the end of the drawing", 20)
        play.click()
        assert drawn_within(page, 1_300) == {place}
        play.click()
        wait(page, lambda: not drawn_within(page, 300), "the end of the drawing", 20)
        seen = set(page.evaluate(IN_VIEW))
        choose(page, "Mandarin" if place == "top" else "English")
        # The encoder's figure waits for the activations of the recording, which are loaded first.
        wait(page, lambda place=place: place in page.evaluate("window.drawn"), f"the drawing of {place}", 20)
        page.wait_for_timeout(500)
        drawn = set(page.evaluate("window.drawn"))
        seen |= set(page.evaluate(IN_VIEW))  # the figures of another recording can have another height
        assert drawn <= seen, (place, drawn, seen)
    for name in ("quantize", "coverage"):  # these figures draw as soon as they come into view
        page.evaluate("window.drawn = {}")
        figure = section(page, name).locator("figure").first
        figure.scroll_into_view_if_needed()
        wait(page, lambda name=name: page.evaluate("window.drawn").get(name, 0) > 100, f"the figure of {name}", 20)


def test_without_the_model_the_samples_still_work(opened: Open) -> None:
    newer = '{"format": 99}'
    page = opened(before=lambda page: page.route("**/weights/config.json", lambda route: route.fulfill(body=newer)))
    wait(page, lambda: "did not load" in status(page), "the failure")
    before = picture(page, "encoder")
    choose(page, "Mandarin")
    assert picture(page, "encoder") != before
    upload(page, "voice.wav", wav(np.zeros(2400, np.float32)))
    assert told(page)
    page.locator("header").get_by_role("button", name="Record").click()  # not possible, because it could not be encoded
    assert "did not load" in told(page) and page.get_by_role("button", name="Stop").count() == 0
    page.unroute("**/weights/config.json")
    page.get_by_role("button", name="Try again").click()
    wait_ready(page)
    page.context.close()


def test_tokens_and_audio_equal_those_of_python(live: Any, weights_folder: Path) -> None:
    """Upload the golden waveform. The .silk file and the decoded waveform must equal those of Python."""
    golden = np.load(weights_folder / "golden.npz")
    upload(live, "golden.wav", wav(golden["wave"]))
    wait(live, lambda: title(live) == "golden.wav", "the golden wave")
    tokens = container.read(io.BytesIO(saved(live, "Download .silk")))
    assert np.array_equal(tokens.to_levels(), golden["levels"])
    assert tokens.n_samples == len(golden["wave"])
    decoded, _ = soundfile.read(io.BytesIO(saved(live, "Download .wav")), dtype="float32")
    assert np.abs(decoded - golden["decoded"]).max() < 2e-4


@pytest.mark.parametrize("sample", SAMPLES)
def test_tokens_of_the_samples_equal_those_of_python(live: Any, sample: str) -> None:
    choose(live, sample)
    wait_ready(live)
    assert "same tokens as the stored ones in all" in status(live)


def test_a_silk_file_written_by_python_is_decoded(live: Any, codec: Any, speech: Any) -> None:
    file = io.BytesIO()
    tokens = codec.encode(speech)
    container.write(tokens, file)
    upload(live, "speech.silk", file.getvalue())
    wait(live, lambda: title(live) == "speech.silk", "the .silk file")
    assert told(live)
    decoded, _ = soundfile.read(io.BytesIO(saved(live, "Download .wav")), dtype="float32")
    assert np.abs(decoded - codec.decode(tokens)).max() < 2e-4


def test_a_silk_file_of_earlier_weights_is_decoded(live: Any, codec: Any, speech: Any, weights_folder: Path) -> None:
    tokens = codec.encode(speech)
    earlier = json.loads((weights_folder / "config.json").read_text(encoding="utf-8"))["decodes"][0]
    for id_, name in ((earlier, "earlier"), ("silk@000000000000", "other")):
        file = io.BytesIO()
        with container.Writer(file, codec=id_, n_samples=tokens.n_samples) as writer:
            writer.write_levels(tokens.to_levels())
        upload(live, f"{name}.silk", file.getvalue())
        if id_ == earlier:
            wait(live, lambda: title(live) == "earlier.silk", "the .silk file")
            decoded, _ = soundfile.read(io.BytesIO(saved(live, "Download .wav")), dtype="float32")
            assert np.abs(decoded - codec.decode(tokens)).max() < 2e-4
            assert saved(live, "Download .silk") == file.getvalue()
    wait(live, lambda: "was encoded with silk@000000000000" in told(live), "the refusal")
    assert title(live) == "earlier.silk"


def test_a_normalized_silk_file_is_decoded_with_its_gain(live: Any, codec: Any, speech: Any) -> None:
    tokens = codec.encode(speech)
    file = io.BytesIO()
    with container.Writer(file, codec=tokens.codec, n_samples=tokens.n_samples, gain=0.25) as writer:
        writer.write_levels(tokens.to_levels())
    upload(live, "quiet.silk", file.getvalue())
    wait(live, lambda: title(live) == "quiet.silk", "the .silk file")
    decoded, _ = soundfile.read(io.BytesIO(saved(live, "Download .wav")), dtype="float32")
    assert np.abs(decoded - 0.25 * codec.decode(tokens)).max() < 2e-4
    assert saved(live, "Download .silk") == file.getvalue()


def record_voice(live: Any) -> None:
    header = live.locator("header")
    header.get_by_role("button", name="Record").click()
    live.wait_for_timeout(1_500)
    header.get_by_role("button", name="Stop").click()
    wait(live, lambda: title(live).startswith("Your voice"), "the recorded voice")


def test_a_recording_from_the_microphone_is_encoded(live: Any) -> None:
    record_voice(live)
    tokens = container.read(io.BytesIO(saved(live, "Download .silk")))
    assert 0.5 < tokens.duration_s < 6


TRACKS = """
window.tracks = [];
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await ask(wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
};
"""


def test_a_double_click_starts_one_recording(opened: Open) -> None:
    page = opened(before=lambda page: page.add_init_script(TRACKS))
    wait_ready(page)
    page.locator("header").get_by_role("button", name="Record").evaluate("one => { one.click(); one.click(); }")
    stop = page.get_by_role("button", name="Stop")
    wait(page, lambda: stop.count() == 2, "Stop on both buttons for the recording")
    page.wait_for_timeout(1_000)
    page.locator("header").get_by_role("button", name="Stop").click()
    wait(page, lambda: title(page).startswith("Your voice"), "the recorded voice")
    assert page.evaluate("window.tracks.map((track) => track.readyState)") == ["ended"]
    page.context.close()


def test_a_choice_stops_a_sound_that_is_being_computed(live: Any) -> None:
    hear = section(live, "quantize").get_by_role("button", name="Hear it")
    other = live.locator("header .choice").get_by_role("button", name="Mandarin", exact=True)
    live.evaluate("([one, two]) => { one.click(); two.click(); }", [hear.element_handle(), other.element_handle()])
    wait(live, lambda: title(live) == "Mandarin", "the other sample")
    wait_ready(live)  # The model has also finished the earlier work.
    live.wait_for_timeout(200)
    assert live.locator("button.playing").count() == 0


def test_a_server_error_does_not_delete_the_stored_model(browser: Any, address: str) -> None:
    page = browser.new_context().new_page()
    page.goto(address)
    wait_ready(page)
    for answer in (lambda route: route.fulfill(status=503), lambda route: route.fulfill(body="<html>Sign in</html>")):
        page.route("**/weights/config.json", answer)
        page.reload()
        wait_ready(page)
    page.context.close()


def test_invalid_files_are_reported(live: Any) -> None:
    upload(live, "letter.wav", b"Dear Silk, I am not a sound." * 50)
    assert "letter.wav" in told(live) and "not an audio file" in told(live)
    upload(live, "nothing.wav", b"")
    wait(live, lambda: "is empty" in told(live), "the empty file")
    upload(live, "damaged.silk", b"\x89SILK\r\n\x1a" + bytes(60))
    wait(live, lambda: "is damaged at byte" in told(live), "the damaged file")
    assert title(live) == "English"  # The recording is unchanged.


def test_audio_with_nan_is_rejected(live: Any) -> None:
    upload(live, "broken.wav", wav(np.array([0.1, np.nan, 0.2] * 4000, np.float32)))
    wait(live, lambda: "not numbers" in told(live), "the refusal")
    assert title(live) == "English"


def changed(page: Any) -> int:
    return int(section(page, "voice").locator(".matrix .changed").count())


def change(page: Any, at: str) -> None:
    """Change a level of the token at "FRAME-GROUP"."""
    section(page, "voice").locator(f"[data-at='{at}']").click()
    slider = section(page, "voice").locator(".levels input").first
    slider.focus()
    page.keyboard.press("ArrowLeft" if slider.input_value() == "7" else "ArrowRight")


HUM = (0.2 * np.sin(np.arange(12_000) / 20)).astype(np.float32)


def test_own_recordings_and_their_edits_are_kept(live: Any) -> None:
    upload(live, "mine.wav", wav(HUM))
    wait(live, lambda: title(live) == "mine.wav", "the file")
    change(live, "0-2")
    change(live, "1-3")
    choose(live, "Arabic")
    assert changed(live) == 0
    upload(live, "second.wav", wav(0.5 * HUM))
    wait(live, lambda: title(live) == "second.wav", "the second file")
    change(live, "0-4")
    choose(live, "mine.wav")
    assert changed(live) == 2
    levels = container.read(io.BytesIO(saved(live, "Download .silk"))).to_levels()
    choose(live, "second.wav")
    assert changed(live) == 1
    section(live, "voice").get_by_role("button", name="Undo all").click()
    upload(live, "mine.wav", wav(HUM))  # the same file again: no second entry, and the edits are there
    wait(live, lambda: title(live) == "mine.wav", "the file that is already open")
    assert changed(live) == 2
    assert np.array_equal(container.read(io.BytesIO(saved(live, "Download .silk"))).to_levels(), levels)
    section(live, "voice").get_by_role("button", name="Undo all").click()


def test_five_own_recordings_can_be_chosen_and_the_oldest_goes(live: Any) -> None:
    for name in ("one", "two", "three", "four", "five", "six"):
        upload(live, f"{name}.wav", wav(HUM[: 2400 + 100 * len(name)]))
        wait(live, lambda name=name: title(live) == f"{name}.wav", name)
    upload(live, "six.wav", wav(HUM[:4000]))  # another recording with the same file name
    wait(live, lambda: title(live) == "six.wav 2", "the other recording")
    listed = live.get_by_role("combobox", name="Your recordings").locator("option").all_text_contents()
    assert listed == ["three.wav", "four.wav", "five.wav", "six.wav", "six.wav 2"]
    choose(live, "three.wav")


HELD = """() => {
    window.held = [];
    window.decode = OfflineAudioContext.prototype.decodeAudioData;
    OfflineAudioContext.prototype.decodeAudioData = function (bytes) {
        return new Promise((resolve) => window.held.push(resolve)).then(() => window.decode.call(this, bytes));
    };
}"""


def test_the_last_choice_wins_while_files_are_read(live: Any) -> None:
    page = live
    page.evaluate(HELD)
    work = page.locator("header .told progress")

    def hold(name: str, count: int) -> None:
        upload(page, name, wav(HUM[: 6000 + 100 * count]))
        wait(page, lambda: page.evaluate("window.held.length") == count, "the file to be read", 10)
        assert "Reading the file" in page.locator("header .told").inner_text()

    def release(index: int) -> None:
        page.evaluate("index => window.held[index]()", index)
        page.wait_for_timeout(700)

    hold("canceled.wav", 1)
    page.locator("header").get_by_role("button", name="Cancel").click()
    assert work.count() == 0
    release(0)
    assert title(page) == "English"

    hold("replaced.wav", 2)
    choose(page, "Mandarin")
    assert work.count() == 0
    release(1)
    assert title(page) == "Mandarin"

    hold("older.wav", 3)
    hold("newer.wav", 4)
    release(2)
    assert work.count() == 1 and title(page) == "Mandarin"  # the older file does not end the work on the newer one
    release(3)
    wait(page, lambda: title(page) == "newer.wav", "the newer file")
    assert work.count() == 0
    page.evaluate("() => { OfflineAudioContext.prototype.decodeAudioData = window.decode; }")


def test_a_sample_chosen_while_a_file_is_encoded_is_not_replaced(live: Any, speech: Any) -> None:
    upload(live, "late.wav", wav(np.tile(speech, 6)))
    wait(live, lambda: live.locator("header progress").count() == 1, "work on the file")
    choose(live, "Mandarin")
    wait(live, lambda: live.locator("header progress").count() == 0, "the end of the work")
    assert title(live) == "Mandarin"


def unloaded(browser: Any, address: str, *aborted: str, missing: Sequence[str] = ()) -> Any:
    """Open the page without the model. Requests for some files are aborted, and others get status 404 and some text."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(30_000)
    page.route("**/weights/*", lambda route: None)  # never answered
    for pattern in aborted:
        page.route(pattern, lambda route: route.abort())
    for pattern in missing:
        page.route(pattern, lambda route: route.fulfill(status=404, body="Missing"))
    page.goto(address)
    return page


def in_sections(page: Any, text: str) -> list[str]:
    return [name for name in SECTIONS if section(page, name).get_by_text(text).count()]


@pytest.mark.parametrize(
    ("missing", "aborted", "sections"),
    [
        ("**/assets/codebooks*.bin", "**/data/landscape.json", ["codebook", "residual", "landscape"]),
        ("**/data/coverage.json", "**/data/listen.json", ["coverage", "listen"]),
    ],
)
def test_exactly_the_sections_without_their_data_say_so(
    browser: Any, address: str, missing: str, aborted: str, sections: list[str]
) -> None:
    page = unloaded(browser, address, aborted, missing=[missing])
    page.locator("section#quiz").wait_for()
    wait(page, lambda: page.locator("main section").count() == len(SECTIONS), "all sections", 10)
    wait(page, lambda: len(in_sections(page, "did not load")) >= len(sections), "the messages", 20)
    assert in_sections(page, "did not load") == sections
    page.close()


def test_the_intro_names_the_sections_with_data_computed_earlier(browser: Any, address: str) -> None:
    """Without these data, exactly the sections that the text names miss something."""
    charts = [f"**/data/{name}.json" for name in ("coverage", "landscape", "listen")]
    page = unloaded(browser, address, "**/assets/codebooks*.bin", "**/data/*.inside.bin", *charts)
    page.locator("section#quiz").wait_for()
    wait(page, lambda: page.locator("main section").count() == len(SECTIONS), "all sections", 10)
    for name in ("encoder", "decoder"):
        section(page, name).locator(".stages").scroll_into_view_if_needed()
        section(page, name).get_by_text("did not load").first.wait_for()
    without = [SECTIONS.index(name) + 1 for name in in_sections(page, "did not load")]
    text = page.locator(".intro .earlier").inner_text()
    assert sorted(map(int, re.findall(r"\d+", text))) == without
    page.close()


def test_a_missing_sample_is_reported_and_the_others_work(browser: Any, address: str) -> None:
    page = unloaded(browser, address, "**/data/english.bin", "**/data/arabic.bin")
    assert "The sample “English” could not be loaded" in told(page)
    choose(page, "Mandarin")
    figure = section(page, "coverage").locator("figure.moments")
    figure.scroll_into_view_if_needed()
    figure.get_by_text("needs all three example recordings").wait_for()
    assert "Could not load the samples: English, Arabic." in told(page)
    page.close()
    page = unloaded(browser, address, missing=["**/data/recordings.json"])
    assert "The data for the page did not load" in told(page)
    page.close()


def test_missing_recordings_of_the_codecs_are_reported(browser: Any, address: str) -> None:
    page = unloaded(browser, address, missing=["**/data/listen/*"])
    section(page, "listen").scroll_into_view_if_needed()
    section(page, "listen").get_by_text("The recordings did not load").wait_for()
    page.close()


def test_waiting_for_the_model_can_be_cancelled(opened: Open) -> None:
    page = opened(before=lambda page: page.route("**/weights/decoder.onnx", lambda route: None))  # never answered
    upload(page, "voice.wav", wav(np.zeros(2400, np.float32)))
    page.locator("header").get_by_role("button", name="Cancel").click()
    wait(page, lambda: page.locator("header progress").count() == 0, "the end of the waiting")
    assert title(page) == "English"
    page.context.close()


def test_the_address_of_a_section_scrolls_to_it(opened: Open, address: str) -> None:
    def place() -> float:
        box = section(page, "voice").bounding_box()
        return box["y"] if box else -1.0

    def stays() -> None:
        page.wait_for_timeout(300)
        assert 0 <= place() < 200, place()

    page = opened(path="#voice")
    wait(page, lambda: 0 <= place() < 200, "the section")
    wait_ready(page)
    stays()
    page.evaluate("document.documentElement.style.overflowAnchor = 'none'")  # as in browsers without scroll anchoring
    page.evaluate("document.querySelector('#problem').style.paddingBottom = '700px'")  # as a figure that loads late
    stays()
    page.mouse.wheel(0, -2_000)
    wait(page, lambda: place() > 1_000, "the scrolling of the reader", 10)
    page.evaluate("document.querySelector('#problem').style.paddingBottom = '900px'")
    page.wait_for_timeout(300)
    assert place() > 1_000  # the page does not take the reader back
    page.context.close()


def contrast(button: Any) -> float:
    """Return the contrast ratio (WCAG 2) between the text of a button and its background."""
    colors = button.evaluate(
        """one => [getComputedStyle(one).color, getComputedStyle(one).backgroundColor].map((color) => {
            const context = new OffscreenCanvas(1, 1).getContext("2d");
            context.fillStyle = color;
            context.fillRect(0, 0, 1, 1);
            return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
        })"""
    )
    values = np.array(colors) / 255
    linear = np.where(values <= 0.04, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return float((light + 0.05) / (dark + 0.05))


def test_an_active_button_stays_readable_under_the_mouse(live: Any) -> None:
    header = live.locator("header")
    button = header.get_by_role("button", name="Original")
    button.click()
    button.hover()
    assert button.get_attribute("aria-pressed") == "true" and contrast(button) >= 4.5
    button.click()
    header.get_by_role("button", name="Record").click()
    stop = header.get_by_role("button", name="Stop")
    wait(live, stop.is_visible, "the button to stop")
    stop.hover()
    assert stop.get_attribute("aria-pressed") == "true" and contrast(stop) >= 4.5
    stop.click()
    wait(live, lambda: title(live).startswith("Your voice"), "the recorded voice")
    header.get_by_role("button", name="Record").hover()
    assert contrast(header.get_by_role("button", name="Record")) >= 4.5


SOUNDS = """
window.early = new AudioContext().state;
window.made = [];
window.AudioContext = class extends AudioContext {
    constructor(...all) { super(...all); window.made.push(window.event?.type); }
};
window.sounds = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...all) {
    if (this.context instanceof AudioContext) {
        window.sounds.push({ node: this, peak: Math.max(...this.buffer.getChannelData(0).map(Math.abs)) });
    }
    return start.apply(this, all);
};
"""


@pytest.fixture(scope="module")
def phone(browser: Any, address: str) -> Iterator[Any]:
    """A phone with touch, in a browser that plays sound only after a gesture of the user, as browsers of readers do."""
    flags = [flag for flag in chromium.FLAGS + chromium.MICROPHONE if not flag.startswith("--autoplay-policy")]
    launched = browser.browser_type.launch(executable_path=chromium.CHROMIUM, args=flags)
    context = launched.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=1
    )
    context.grant_permissions(["microphone"], origin=address.rstrip("/"))
    context.add_init_script(SOUNDS)
    yield context
    launched.close()


@pytest.mark.parametrize("name", ["codebook", "coverage"])
def test_the_first_touch_of_a_figure_plays_it(phone: Any, address: str, name: str) -> None:
    page = phone.new_page()
    page.set_default_timeout(30_000)
    page.route("**/weights/*", lambda route: None)  # the model is not needed
    page.goto(address)
    canvas = section(page, name).locator("canvas").first
    section(page, name).scroll_into_view_if_needed()
    in_view(page, canvas)
    assert page.evaluate("window.early") == "suspended"  # the browser waits for a gesture
    canvas.tap(position={"x": 60, "y": 60})
    wait(page, lambda: page.evaluate("window.sounds.length") == 1, "the sound", 20)
    page.wait_for_timeout(100)
    state, played_s, duration_s, peak = page.evaluate(
        "(({ node: { context: c, buffer }, peak }) => [c.state, c.currentTime, buffer.duration, peak])(sounds[0])"
    )
    assert state == "running" and played_s > 0 and peak > 0.001
    assert page.evaluate("window.made") == ["click"]  # pointerdown is not a gesture for touches
    assert duration_s == pytest.approx({"codebook": 0.4, "coverage": 0.14}[name], abs=0.01)
    page.close()


COUNT = """() => {
    const one = document.querySelector("header .status");
    return one ? one.getBoundingClientRect().height / parseFloat(getComputedStyle(one).lineHeight) : 0;
}"""
LINES = f"""
window.lines = {{}}; // by the text of the status
new MutationObserver(() => {{
    const text = document.querySelector("header .status")?.innerText;
    if (text) window.lines[text] = Math.max(window.lines[text] ?? 0, ({COUNT})());
}}).observe(document, {{ subtree: true, childList: true, characterData: true }});
"""


def test_a_phone_shows_stop_and_two_lines_of_status(phone: Any, address: str) -> None:
    page = phone.new_page()
    page.set_default_timeout(30_000)
    page.add_init_script(LINES)
    page.goto(address)
    wait_ready(page)
    loading = page.evaluate("window.lines")
    assert any("loading" in one for one in loading) and max(loading.values()) < 2.2, loading
    page.evaluate("window.lines = {}")
    page.locator("header").get_by_role("button", name="Record").tap()
    stop = page.locator("header").get_by_role("button", name="Stop")
    wait(page, stop.is_visible, "the button to stop")
    stop.evaluate("one => { one.style.paddingRight = '1.3rem'; }")  # as wide as after 10 seconds
    page.wait_for_timeout(300)
    assert page.evaluate(f"({COUNT})()") < 2.2, status(page)
    box = stop.bounding_box()
    assert stop.is_visible() and box["x"] >= 0 and box["x"] + box["width"] <= 390
    assert contrast(stop) >= 4.5
    stop.tap()
    wait(page, lambda: title(page).startswith("Your voice"), "the recorded voice")
    page.close()


def test_the_header_and_all_tooltips_fit_on_a_phone(page_of: Open) -> None:
    page = page_of(390, "light")
    height = page.locator("header").bounding_box()["height"]
    page.locator("header").get_by_role("button", name="Record").click()
    stop = page.locator("header").get_by_role("button", name="Stop")
    wait(page, stop.is_visible, "the button to stop")
    assert page.locator("header").bounding_box()["height"] <= height + 16  # the status may wrap once
    stop.click()
    wait(page, lambda: title(page).startswith("Your voice"), "the recorded voice")
    terms = [term for term in page.locator(".term").all() if term.is_visible()]
    assert len(terms) > 20
    for term in terms:
        term.locator("button").focus()
        page.wait_for_timeout(50)
        box = term.locator("[role=tooltip]").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390, term.inner_text()


def test_silence_is_reported_and_drawn_as_silence(live: Any) -> None:
    upload(live, "silence.wav", wav(np.zeros(30_000, np.float32), 16_000))
    wait(live, lambda: title(live) == "silence.wav", "the silent file")
    assert "silent" in told(live)
    assert live.locator("section#voice [role=row]").first.locator("[role=gridcell]").count() == 5
    pixels = """one => {
        const image = one.getContext("2d").getImageData(0, 0, one.width, one.height);
        return [...new Set(new Uint32Array(image.data.buffer))];
    }"""
    quiet = 0xFFECF2F4  # the lowest color of the scale, #f4f2ec as ABGR
    for name, index in (("spectrogram", 2), ("encoder", 0), ("bandwidth", 0), ("voice", 0)):
        canvas = in_view(live, section(live, name).locator("canvas").nth(index))
        assert canvas.evaluate(pixels) == [quiet], name
    bars = section(live, "codebook").locator("svg[aria-label*='at this moment'] rect").all()
    assert [bar.get_attribute("height") for bar in bars] == ["1"] * 16


def test_playback_updates_the_figures_but_not_the_selected_moment(live: Any) -> None:
    moment = section(live, "spectrogram").get_by_role("slider", name="Moment")
    before, frame = moment.input_value(), picture(live, "encoder", 2)
    button = live.locator("header").get_by_role("button", name="Original")
    button.click()
    wait(live, lambda: picture(live, "encoder", 2) != frame, "another frame", 10)
    button.click()
    wait(live, lambda: picture(live, "encoder", 2) == frame, "the chosen frame", 10)
    assert moment.input_value() == before


def test_the_text_on_coverage_agrees_with_the_measurements(live: Any, address: str) -> None:
    measured = live.request.get(f"{address}data/coverage.json").json()
    figure = section(live, "coverage").locator("figure").last
    for view, found in measured["views"].items():
        figure.get_by_label("Removed beforehand").select_option(view)
        for quantizer, one in found.items():
            figure.get_by_label("Quantizer").select_option(quantizer)
            findings = section(live, "coverage").locator(".findings li")
            changes = one["against_unseen"].values()
            for finding, change in zip(findings.all(), changes, strict=True):
                text, judged = finding.inner_text(), finding.locator("b").last.inner_text()
                direction = "lower" if change["mean"] < 0 else "higher"
                assert f"{abs(100 * change['mean']):.1f} points {direction}" in text, (view, quantizer, text)
                significant = change["high"] < 0 or change["low"] > 0
                assert judged == ("significant" if significant else "not significant"), (view, quantizer, text)
            conclusion = section(live, "coverage").locator(".conclusion")
            beyond = one["beyond_grid"]
            assert conclusion.count() == (beyond is not None)
            if beyond:
                text = conclusion.inner_text()
                assert ("significantly more" in text) == any(change["high"] < 0 for change in beyond.values())
                assert ("significantly better" in text) == any(change["low"] > 0 for change in beyond.values())
    figure.get_by_label("Removed beforehand").select_option("level")
    figure.get_by_label("Quantizer").select_option("vq 1024")


def test_a_page_opened_from_a_file_explains_how_to_serve_it(browser: Any) -> None:
    page = browser.new_page()
    page.goto((explain.SITE / "index.html").as_uri())
    assert "silk explain" in page.locator("body").inner_text()
    page.close()


def test_the_landscape_has_dots_on_its_logarithmic_axis(live: Any) -> None:
    rows = section(live, "landscape").locator(".chart .row:not(.ticks, .heads)")
    assert rows.locator(".dot").count() == rows.count() > 5
    widths = rows.locator(".dot").evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
    assert len(set(widths)) == 1  # dots, not bars: the position shows the number


def test_a_token_is_the_sum_of_its_digits(live: Any) -> None:
    voice = section(live, "voice")
    voice.locator("[data-at='1-2']").click()
    levels = [int(one.input_value()) for one in voice.locator(".levels input").all()]
    digits = [int(text) for text in voice.locator(".sum b").all_inner_texts()]
    assert digits == levels
    code = sum(level * 8**place for place, level in enumerate(levels))
    assert voice.locator(".sum").inner_text().endswith(f"= {code:,}")
    assert voice.locator(".token").inner_text().startswith(f"{code:,} ")


CONTEXTS = """
window.made = [];
let inside = false;
for (const name of ["pointerdown", "click"]) {
    addEventListener(name, () => { inside = true; setTimeout(() => (inside = false)); }, true);
}
window.AudioContext = class extends AudioContext { constructor(...a) { super(...a); window.made.push(inside); } };
"""


def test_audio_contexts_are_created_during_a_click(opened: Open) -> None:
    """Safari on iOS does not play through an audio context that was created after the click was handled."""
    page = opened(before=lambda page: page.add_init_script(CONTEXTS))
    wait_ready(page)
    section(page, "quantize").get_by_role("button", name="Hear it").click()
    button = section(page, "quantize").get_by_role("button", name="Hear it")
    wait(page, lambda: button.get_attribute("aria-pressed") == "true", "the sound", 20)
    assert page.evaluate("window.made") == [True]
    button.click()
    record_voice(page)
    assert page.evaluate("window.made") == [True, True]
    page.context.close()


def test_a_long_recording_is_cut_and_this_is_reported(live: Any, tmp_path: Path) -> None:
    hum = 0.1 * np.sin(np.arange(8_000) / 5)
    (tmp_path / "talk.wav").write_bytes(wav(np.tile(hum, 600), 8_000, "PCM_16"))
    live.locator("header input[type=file]").set_input_files(tmp_path / "talk.wav")
    wait(live, lambda: title(live) == "talk.wav", "the long file", 120)
    assert "10:00 min long. The figures show its first 30 s" in told(live)
    assert number(live, "voice", "as 16-bit samples") == "1,440,000 bytes"


def test_a_long_silk_file_is_cut_and_this_is_reported(live: Any, codec: Any) -> None:
    file = io.BytesIO()
    with container.Writer(file, codec=codec.codec_id, n_samples=1_000 * 9_600) as writer:
        writer.write_levels(np.full((1_000, 128), 4, np.uint8))
    upload(live, "long.silk", file.getvalue())
    wait(live, lambda: title(live) == "long.silk", "the long file", 120)
    assert "The figures show its first 30 s." in told(live)
    assert number(live, "voice", "as 16-bit samples") == "1,440,000 bytes"


def test_a_loaded_page_works_without_a_network(live: Any) -> None:
    live.context.set_offline(True)
    choose(live, "Mandarin")
    wait_ready(live)
    upload(live, "hum.wav", wav((0.2 * np.sin(np.arange(24_000) / 20)).astype(np.float32)))
    wait(live, lambda: title(live) == "hum.wav", "a file")
    record_voice(live)
    section(live, "voice").get_by_role("button", name="Random frame").click()
    wait(live, lambda: section(live, "voice").locator(".matrix .changed").count() > 0, "a changed frame")


def test_the_opening_figure_shows_all_parts_during_playback(live: Any) -> None:
    figure = live.locator("figure.machine")
    parts = figure.locator("li a")
    names = ["waveform", "spectrogram", "encoder", "128 numbers", "19 tokens", "decoder", "waveform"]
    assert parts.all_inner_texts() == names
    tops = [box["y"] for box in (one.bounding_box() for one in figure.locator("li .picture").all())]
    assert max(tops) - min(tops) < 1  # on one line; far outside the view, positions are rounded
    pictures = figure.locator("li canvas")
    in_view(live, pictures.first)
    before = [one.evaluate("one => one.toDataURL()") for one in pictures.all()]
    button = figure.get_by_role("button", name="Play")
    button.click()
    wait(live, lambda: "frame 3 " in figure.locator(".clock").inner_text(), "the third frame", 10)
    after = [one.evaluate("one => one.toDataURL()") for one in pictures.all()]
    button.click()
    assert len(before) == 5 and all(one != other for one, other in zip(before, after, strict=True))
    split = figure.locator(".split p").all_inner_texts()
    assert "alike" in split[0] and "differ" in split[1]


def test_every_section_shows_where_it_is_in_the_codec(live: Any) -> None:
    where = section(live, "quiz").locator(".where")
    assert "the whole codec" in where.inner_text() and "the whole codec" in where.get_attribute("aria-label")
    for name in SECTIONS[:-1]:
        where = section(live, name).locator(".where")
        lit = where.locator(".lit").all_inner_texts()
        assert 1 <= len(lit) <= 2 and where.locator(".part").count() == 7, name
        assert all(one in where.get_attribute("aria-label") for one in lit)


MOVED = """
async (figure) => {
    const changes = [];
    const observer = new MutationObserver((all) => changes.push(...all));
    observer.observe(figure, { attributeFilter: ["style", "d", "x", "y", "cx", "cy"], subtree: true });
    await new Promise((resolve) => setTimeout(resolve, 600));
    observer.disconnect();
    const frames = changes.filter(({ target }) => target.matches(".span, .now, .axes .x span"));
    const counts = new Map();
    for (const { target, oldValue } of frames) counts.set(target, (counts.get(target) ?? 0) + 1);
    return {
        steps: Math.ceil(Math.max(0, ...counts.values()) / 2),  // left and width
        others: changes.filter((one) => !frames.includes(one)).map(({ target }) => target.outerHTML.slice(0, 120)),
        animations: document.getAnimations().filter((one) => one.playState === "running").length,
    };
}
"""


def test_only_frame_marks_move_under_reduced_motion(still: Any) -> None:
    page = still
    for name in SECTIONS[:-1]:
        for figure in section(page, name).locator("figure").all():
            figure.scroll_into_view_if_needed()  # also loads figures that load late
    page.wait_for_timeout(500)
    play = page.locator("header").get_by_role("button", name="Silk")
    figures = page.locator("figure").all()
    stepped = 0
    for figure in figures:
        figure.evaluate("one => one.scrollIntoView({ block: 'center' })")
        page.wait_for_timeout(150)
        if play.get_attribute("aria-pressed") == "false":
            play.click()
        moved = figure.evaluate(MOVED)
        assert moved["animations"] == 0 and moved["others"] == [], (moved, figure.inner_text()[:80])
        # Marks of the frame move every 400 ms, and once more when the sound ends.
        assert moved["steps"] <= 3, (moved["steps"], figure.inner_text()[:80])
        stepped += moved["steps"]
    assert len(figures) > 12 and stepped > 0
    if play.get_attribute("aria-pressed") == "true":
        play.click()


AXES = """one => {
    const axes = one.closest(".axes");
    const texts = (selector) => [...(axes?.querySelectorAll(selector) ?? [])].map((found) => found.innerText.trim());
    return {
        names: texts(".names span"), x: texts(".x span"), y: texts(".y span"), key: texts(".key"),
        waveform: one.parentElement.classList.contains("waveform"), label: one.getAttribute("aria-label"),
    };
}"""


def maps(page: Any, place: Any, count: int) -> list[Any]:
    """Return the canvases of a section, once it has drawn at least as many as expected."""
    for figure in place.locator("figure").all():
        figure.scroll_into_view_if_needed()
        page.wait_for_timeout(100)
    canvases = place.locator("canvas")
    wait(page, lambda: canvases.count() >= count, f"{count} maps", 20)
    return [canvas for canvas in canvases.all() if canvas.is_visible()]


def read_out(page: Any, canvas: Any, readout: Any) -> str:
    """Point at a canvas, and return what its readout then shows."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for share in (0.5, 0.03, 0.3):  # one place can be between two tiles
        canvas.hover(position={"x": share * box["width"], "y": share * box["height"]})
        page.wait_for_timeout(50)
        if text := str(readout.inner_text()):
            return text
    return ""


def test_every_map_has_named_axes_a_key_and_a_readout(live: Any) -> None:
    expected = {"problem": 2, "spectrogram": 4, "encoder": 7, "codebook": 1, "quantize": 1, "coverage": 1, "decoder": 5}
    expected |= {"bandwidth": 2, "voice": 1}
    for name in SECTIONS[:-1]:
        for canvas in maps(live, section(live, name), expected.get(name, 0)):
            found = canvas.evaluate(AXES)
            assert len(found["names"]) == 2 and all(found["names"]), (name, found)
            figure = canvas.locator("xpath=ancestor::figure")
            if name == "coverage":  # a projection
                assert "near" in figure.locator(".key").inner_text()
                readout = figure.locator(".readout")
            else:
                assert found["x"] and found["y"], (name, found)
                if name == "quantize":
                    assert figure.locator(".hint").first.inner_text()
                elif not found["waveform"]:
                    assert re.search(r"\d", " ".join(found["key"])), (name, found)
                readout = canvas.locator("xpath=ancestor::div[contains(@class, 'axes')]").locator(".readout")
            assert read_out(live, canvas, readout), (name, found)


def test_the_small_maps_of_the_opening_figure_have_units_keys_and_a_readout(live: Any) -> None:
    figure = live.locator("figure.machine")
    readout = figure.locator(".controls .readout")
    found = []
    for canvas in figure.locator("li canvas").all():
        assert canvas.locator("xpath=ancestor::li").locator(".units").inner_text()
        found.append(read_out(live, canvas, readout))
    wave = r"\d\.\d{3} s: \W?\d\.\d{3} to \W?\d\.\d{3}, \W?\d+ dBFS"
    assert re.fullmatch(wave, found[0]) and re.fullmatch(wave, found[4])
    assert re.fullmatch(r"\d\.\d\d s, [\d,]+ Hz: \W?\d+ dBFS", found[1])
    assert re.fullmatch(r"number \d+: \W?\d\.\d\d, level [0-7]", found[2])
    assert re.fullmatch(r"token \d+ of 19: [\d,]+; number \d+: level [0-7]", found[3])
    assert len(figure.locator(".keys .key").all()) == 3
    overview = figure.locator("canvas").first
    assert all(overview.evaluate(AXES)[part] for part in ("names", "x"))
    assert re.fullmatch(wave, read_out(live, overview, figure.locator(".axes .readout")))


def test_readouts_give_the_values_at_the_pointer_and_for_the_arrow_keys(live: Any) -> None:
    spectrogram = section(live, "spectrogram")
    ticks = spectrogram.locator(".axes").nth(3).locator(".y span, .x span").all_inner_texts()
    assert {"500 Hz", "8 kHz", "1 s"} <= set(ticks)
    spectrogram.locator("canvas").nth(2).hover(position={"x": 60, "y": 60})
    assert re.fullmatch(r"\d\.\d\d s, [\d.]+ k?Hz: \W?\d+ dBFS", spectrogram.locator(".readout").nth(2).inner_text())
    latent = section(live, "encoder").locator(".map").nth(1)
    latent.focus()
    live.keyboard.press("ArrowRight")
    assert re.fullmatch(r"frame \d+, number \d+: \W?\d\.\d{3}, level [0-7]", latent.locator(".readout").inner_text())
    waveform = spectrogram.locator(".map").nth(3)
    waveform.focus()
    live.keyboard.press("ArrowRight")
    assert re.match(r"\d\.\d{3} s: \W?\d\.\d{3} to ", waveform.locator(".readout").inner_text())
    section(live, "codebook").locator("canvas").first.hover(position={"x": 3, "y": 5})
    assert "entry 1," in section(live, "codebook").locator(".readout").first.inner_text()


def test_the_spectrogram_says_why_bands_are_empty(live: Any) -> None:
    rng = np.random.default_rng(0)
    spectrogram = section(live, "spectrogram")
    for highest_hz, narrow in ((8_000, True), (12_000, False)):
        spectrum = np.fft.rfft(0.1 * rng.standard_normal(48_000))
        spectrum[2 * highest_hz :] = 0  # 48,000 samples are 2 s: a bin is 0.5 Hz
        noise = (
            np.fft.irfft(spectrum)
            * np.minimum(1, np.arange(48_000) / 4_800)
            * np.minimum(1, np.arange(48_000, 0, -1) / 4_800)
        )
        upload(live, f"{highest_hz}.wav", wav(noise.astype(np.float32)))
        wait(live, lambda name=f"{highest_hz}.wav": title(live) == name, "the noise")
        found = " ".join(spectrogram.locator(".hint").all_inner_texts())
        assert ("almost nothing above about 8" in found and "more than 8 kHz" in found) == narrow
    slide(live, "spectrogram", "Band", 127)
    assert "is empty" not in " ".join(spectrogram.locator(".hint").all_inner_texts())
    upload(live, "zeros.wav", wav(np.zeros(30_000, np.float32)))
    wait(live, lambda: title(live) == "zeros.wav", "the silent file")
    assert "The recording is silent" in " ".join(spectrogram.locator(".hint").all_inner_texts())


def test_activations_appear_during_playback(live: Any) -> None:
    for name, maps in (("encoder", 7), ("decoder", 5)):
        section(live, name).locator(".stages").scroll_into_view_if_needed()
        canvases = section(live, name).locator("canvas")
        wait(live, lambda canvases=canvases, maps=maps: canvases.count() >= maps, "the activations", 20)
    decoder = section(live, "decoder")
    convolutions = decoder.locator("canvas").nth(2)
    last = in_view(live, convolutions).evaluate("one => one.toDataURL()")
    first = "one => { one.value = 1; one.dispatchEvent(new Event('input', { bubbles: true })); }"
    decoder.get_by_role("slider", name="Layer").nth(1).evaluate(first)
    assert convolutions.evaluate("one => one.toDataURL()") != last
    button = decoder.get_by_role("button", name="Play through the decoder")
    button.click()
    wait(live, lambda: decoder.locator(".veil").count() == 4, "the sound", 10)
    places = [decoder.locator(".veil").first.bounding_box()["x"]]
    live.wait_for_timeout(300)
    places.append(decoder.locator(".veil").first.bounding_box()["x"])
    button.click()
    assert places[0] < places[1] and decoder.locator(".veil").count() == 0


def test_activations_are_shown_only_for_samples(live: Any) -> None:
    record_voice(live)
    for name in ("encoder", "decoder"):
        assert section(live, name).get_by_text("for the example recordings only").count() == 1


def test_the_window_moves_along_the_waveform(live: Any) -> None:
    figure = section(live, "spectrogram").locator("figure").first
    figure.get_by_role("button", name="Move the window").click()
    wait(live, lambda: figure.get_by_role("slider", name="Window").input_value() in ("2", "3", "4", "5"), "a step", 10)
    veil, window = figure.locator(".veil"), figure.locator(".window")
    before = veil.bounding_box()["x"], window.bounding_box()["x"]
    live.wait_for_timeout(500)
    after = veil.bounding_box()["x"], window.bounding_box()["x"]
    assert after[0] > before[0] and after[1] > before[1]
    slide(live, "spectrogram", "Window", 10)  # the slider stops it
    assert figure.get_by_role("slider", name="Window").input_value() == "10"


def test_a_vector_moves_to_its_entry_and_the_error_is_shown(live: Any) -> None:
    codebook = section(live, "codebook")
    assert codebook.locator("rect[fill='var(--lost)']").count() == 16
    codebook.get_by_role("button", name="Quantize this moment").click()
    flyer = codebook.locator(".flyer")
    wait(live, lambda: flyer.count() == 1, "the vector", 5)
    lost = """all => [
        all.reduce((sum, one) => sum + one.height.baseVal.value, 0),
        getComputedStyle(all[0]).fill,
        document.querySelector("#codebook .flyer") !== null,
    ]"""
    rects = codebook.locator("rect[fill='var(--lost)']")
    before, color, flying = rects.evaluate_all(lost)
    live.wait_for_timeout(300)
    after, _, still_flying = rects.evaluate_all(lost)
    assert flying and still_flying and after > before  # the lost part grows during the flight
    red, green, blue = map(int, re.findall(r"\d+", color)[:3])
    assert red > 1.5 * max(green, blue)
    wait(live, lambda: flyer.count() == 0, "the end of the animation", 10)


def test_the_callouts_explain_rounding_and_palettes(live: Any) -> None:
    rounding = section(live, "quantize").locator(".callout").inner_text()
    assert all(number in rounding for number in ("3.7429", " 4", "0.2571"))
    palette = section(live, "coverage").locator(".callout")
    assert palette.locator("svg rect").count() >= 20


def test_the_chain_runs_and_its_sum_is_written(live: Any) -> None:
    residual = section(live, "residual")
    residual.get_by_role("button", name="Run the chain").click()
    wait(live, lambda: residual.locator(".stages > div").count() == 3, "the third codebook", 10)
    residual.get_by_role("button", name="Stop").click()
    text = residual.locator(".equation").inner_text().replace("\N{MINUS SIGN}", "-").replace(" ", "")
    vector, terms, total, left = re.fullmatch(r"(.+)≈(.+)=(.+),(.+)dBleft", text).groups()
    assert sum(map(float, re.findall(r"[+-]?[\d.]+", terms))) == pytest.approx(float(total), abs=0.03)
    assert float(vector) - float(total) == pytest.approx(float(left), abs=0.02)
    slide(live, "residual", "Codebooks", 3)


def test_dots_move_when_the_cells_change(live: Any) -> None:
    in_view(live, section(live, "quantize").locator("canvas"))
    slide(live, "quantize", "Entries", 9)
    moving = picture(live, "quantize")
    live.wait_for_timeout(1_500)
    resting = picture(live, "quantize")
    assert moving != resting == picture(live, "quantize")


def test_with_reduced_motion_animations_jump_to_the_end(still: Any) -> None:
    page = still
    section(page, "spectrogram").get_by_role("button", name="Move the window").click()
    assert section(page, "spectrogram").get_by_role("slider", name="Window").input_value() == "49"
    section(page, "codebook").get_by_role("button", name="Quantize this moment").click()
    assert section(page, "codebook").locator(".flyer").count() == 0
    section(page, "residual").get_by_role("button", name="Run the chain").click()
    assert section(page, "residual").locator(".stages > div").count() == 8
    slide(page, "quantize", "Entries", 9)
    page.wait_for_timeout(200)
    resting = picture(page, "quantize")
    page.wait_for_timeout(600)
    assert picture(page, "quantize") == resting


def test_the_figure_on_samples_and_tokens_reacts_to_its_sliders(live: Any) -> None:
    before = picture(live, "problem"), number(live, "problem", "samples")
    slide(live, "problem", "Which second", 1)
    slide(live, "problem", "Someone talks for", 0)
    assert picture(live, "problem") != before[0]
    assert number(live, "problem", "samples") == "24,000" != before[1]


def test_the_last_frame_is_selected_at_a_moment_within_the_recording(live: Any) -> None:
    choose(live, "Arabic")  # It ends in the middle of a frame.
    slider = section(live, "decoder").get_by_role("slider", name="Frame")
    slider.focus()
    live.keyboard.press("End")
    assert slider.get_attribute("aria-valuetext").startswith("frame 14,")
    moment = section(live, "spectrogram").get_by_role("slider", name="Moment")
    assert moment.get_attribute("aria-valuetext") == "5.25 s"
    assert moment.input_value() == moment.get_attribute("max")


def test_the_spectrogram_zooms_and_plays_a_region(live: Any) -> None:
    whole = picture(live, "spectrogram", 2)
    slide(live, "spectrogram", "Shown", 2)
    assert picture(live, "spectrogram", 2) != whole
    bars = section(live, "spectrogram").locator("svg").last.inner_html()
    slide(live, "spectrogram", "Moment", 60)
    assert section(live, "spectrogram").locator("svg").last.inner_html() != bars
    slide(live, "spectrogram", "Shown", 6)
    canvas = section(live, "spectrogram").locator("canvas").nth(2)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    live.mouse.move(box["x"] + 100, box["y"] + 50)
    live.mouse.down()
    live.mouse.move(box["x"] + 300, box["y"] + 60, steps=4)
    live.mouse.up()
    button = section(live, "spectrogram").get_by_role("button", name="Play the region")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    wait(live, lambda: button.get_attribute("aria-pressed") == "false", "the end of the region", 10)


def test_the_encoder_shows_the_selected_frame(live: Any) -> None:
    pictures = [picture(live, "encoder", i) for i in (2, 3)]
    slide(live, "encoder", "Frame", 0)
    assert [picture(live, "encoder", i) for i in (2, 3)] != pictures
    assert "frame 1" in section(live, "encoder").get_by_role("slider", name="Frame").get_attribute("aria-valuetext")


def test_entries_of_the_codebook_are_selected_with_keys(live: Any) -> None:
    board = section(live, "codebook").get_by_role("slider", name="Codebook entry")
    nearest = board.get_attribute("aria-valuenow")
    off = number(live, "codebook", "error here")
    board.focus()
    live.keyboard.press("ArrowDown")
    live.keyboard.press("ArrowRight")
    assert board.get_attribute("aria-valuenow") != nearest
    assert float(number(live, "codebook", "error here").split()[0]) > float(off.split()[0])
    slide(live, "codebook", "Moment", 3)
    assert number(live, "codebook", "error here") != off
    button = section(live, "codebook").get_by_role("button", name="All moments, quantized")
    button.click()
    wait(live, lambda: button.get_attribute("aria-pressed") == "true", "the quantized recording", 10)
    button.click()


def test_a_larger_codebook_has_a_smaller_error(live: Any) -> None:
    errors, pictures = [], set()
    for size in (0, 4, 10, 14):  # 2, 8, 64, 256
        slide(live, "quantize", "Entries", size)
        errors.append(float(number(live, "quantize", "error, in steps")))
        pictures.add(picture(live, "quantize"))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.5 * errors[0]
    assert len(pictures) == 4
    section(live, "quantize").get_by_label("Silk's grid").check()
    assert number(live, "quantize", "entries") == "64"
    assert float(number(live, "quantize", "error, in steps")) < 0.35  # errors that are uniform within a step: 0.29
    button = section(live, "quantize").get_by_role("button", name="Hear it")
    button.click()
    wait(live, lambda: button.get_attribute("aria-pressed") == "true", "the quantized recording", 20)
    button.click()
    section(live, "quantize").get_by_label("learned from speech").check()


def test_each_codebook_of_the_chain_reduces_the_error(live: Any) -> None:
    errors = []
    for length in range(1, 9):
        slide(live, "residual", "Codebooks", length)
        assert section(live, "residual").locator(".stages > div").count() == length
        errors.append(float(number(live, "residual", "error, all moments").split()[0]))
    assert all(after < before for before, after in pairwise(errors))
    assert number(live, "residual", "tokens per second") == "400"


def test_the_map_of_moments_shows_each_language(live: Any) -> None:
    figure = section(live, "coverage").locator("figure.moments")
    seen, shares = set(), []
    for language in SAMPLES:
        figure.get_by_role("button", name=language).click()
        wait(live, lambda: figure.locator("canvas").count() == 1, "the map", 20)
        seen.add(figure.locator("canvas").evaluate("one => one.toDataURL()"))
        shares.append(int(figure.locator(".covered b").inner_text().split()[0]))
    assert len(seen) == 3
    assert shares[0] in (94, 95, 96)  # because the radius was chosen for 95 %
    before = figure.locator(".readout").inner_text()
    figure.locator("canvas").click(position={"x": 200, "y": 200})
    assert figure.locator(".readout").inner_text() != before
    assert re.search(r"dB from the nearest entry, (near|far)$", figure.locator(".readout").inner_text())


DOTS = """one => {  // places on the canvas that have a color, and no pixel of the other color nearby
    const { data, width, height } = one.getContext("2d").getImageData(0, 0, one.width, one.height);
    const style = getComputedStyle(one);
    const colors = ["--good", "--lost"].map((name) => {
        const dot = document.createElement("i");
        dot.style.color = `var(${name})`;
        one.after(dot);
        const found = getComputedStyle(dot).color.match(/\\d+/g).slice(0, 3).map(Number);
        dot.remove();
        return found;
    });
    const kind = (x, y) => {
        const at = 4 * (y * width + x);
        return colors.findIndex((color) => color.every((value, c) => Math.abs(value - data[at + c]) < 4));
    };
    const places = [[], []];
    const reach = Math.round(width / 60);
    for (let y = reach; y < height - reach; y += 2) for (let x = reach; x < width - reach; x += 2) {
        const own = kind(x, y);
        if (own < 0) continue;
        let alone = true;
        for (let j = -reach; alone && j <= reach; j++) for (let i = -reach; alone && i <= reach; i++) {
            alone = kind(x + i, y + j) !== 1 - own;
        }
        if (alone) places[own].push([x / width, y / height]);
    }
    return { colors, near: places[0], far: places[1] };
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_near_moments_are_green_and_far_ones_red(page_of: Open, theme: str) -> None:
    page = page_of(1280, theme)
    figure = section(page, "coverage").locator("figure.moments")
    figure.scroll_into_view_if_needed()
    figure.get_by_role("button", name="Mandarin").click()
    wait(page, lambda: figure.locator("canvas").count() == 1, "the map", 20)
    canvas = in_view(page, figure.locator("canvas"))
    found = canvas.evaluate(DOTS)
    (good, lost), box = found["colors"], canvas.bounding_box()
    assert good[1] > max(good[0], good[2]) and lost[0] > max(lost[1], lost[2])  # green, and red
    for kind in ("near", "far"):
        places = found[kind]
        assert len(places) > 10, kind
        for x, y in places[:: max(1, len(places) // 12)]:
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            page.wait_for_timeout(30)
            assert figure.locator(".readout").inner_text().endswith(kind), (kind, x, y)


def test_coverage_changes_with_quantizer_and_view(live: Any) -> None:
    figure = section(live, "coverage").locator("figure").last
    seen = {figure.inner_text()}
    figure.get_by_label("Quantizer").select_option("fsq 10")
    seen.add(figure.inner_text())
    figure.get_by_label("Removed beforehand").select_option("channel")
    seen.add(figure.inner_text())
    assert len(seen) == 3
    figure.get_by_label("show each source").check()
    assert figure.locator(".source").count() > 5


def test_the_table_of_codecs_sorts(live: Any) -> None:
    rows = section(live, "landscape").locator("tbody th")
    assert rows.first.inner_text() == "Silk"
    head = section(live, "landscape").get_by_role("columnheader", name="tokens/s")
    head.get_by_role("button").click()
    assert rows.last.inner_text() == "Silk" and head.get_attribute("aria-sort") == "descending"
    section(live, "landscape").get_by_role("columnheader", name="kbit/s").get_by_role("button").focus()
    live.keyboard.press("Enter")
    assert rows.first.inner_text() == "Silk"
    slide(live, "landscape", "Someone talks for", 10)
    assert "28,500" in section(live, "landscape").locator(".chart").inner_text()
    head.get_by_role("button").click()


def test_the_versions_are_named(live: Any) -> None:
    listen = section(live, "listen")
    listen.scroll_into_view_if_needed()
    rows = [text.strip() for text in listen.locator("tbody th").all_inner_texts()]
    assert rows == [
        "Original",
        "Silk",
        "Opus, 6 kbit/s",
        "Codec2, 1,200 bit/s",
        "RVQ, 4 codebooks",
        "RVQ, 2 codebooks",
        "RVQ, 1 codebook",
    ]


def tones(page: Any) -> None:
    """Replace the versions by tones of 400 Hz, 800 Hz and so on, whose levels are equal only with the stated gains."""
    versions = json.loads((explain.SITE / "data" / "listen.json").read_text("utf-8"))["versions"]
    t = np.arange(72_000) / 24_000
    files = {}
    for i, version in enumerate(versions):
        file = io.BytesIO()
        tone = 0.2 * 10 ** (-version["gain_db"] / 20) * np.sin(2 * np.pi * 400 * (i + 1) * t)
        soundfile.write(file, tone, 24_000, format="FLAC", subtype="PCM_16")
        files[version["file"]] = file.getvalue()
    page.route("**/data/listen/*.flac", lambda route: route.fulfill(body=files[route.request.url.rpartition("/")[2]]))


def test_versions_switch_in_sync_without_a_gap(opened: Open) -> None:
    """The page and the report share mixer.js, which `test_report_browser.py` tests too."""

    def before(page: Any) -> None:
        page.add_init_script(EAR)
        page.route("**/weights/*.onnx", lambda route: None)  # never answered: this needs no model
        tones(page)

    page = opened(before=before)
    listen = section(page, "listen")
    listen.scroll_into_view_if_needed()
    radios, seek, play = listen.locator("tbody input"), listen.locator(".seek"), listen.locator(".play")
    wait(page, lambda: radios.count() == 7 and play.is_enabled(), "the recordings", 20)

    def position_s() -> float:
        return float(seek.input_value())

    play.click()
    listen.locator("h3").first.click()  # takes the focus away from the button
    wait(page, lambda: page.evaluate("window.context && context.currentTime > 0.9"), "some sound", 20)
    assert page.evaluate("pitch()") == pytest.approx(400, abs=3)
    before = page.evaluate("lag('#listen .seek')")
    page.keyboard.press("4")
    page.wait_for_timeout(300)
    loudness = page.evaluate("loudness()")
    assert page.evaluate("lag('#listen .seek')") == pytest.approx(before, abs=0.05)  # it continued
    assert min(loudness) > 0.5 * np.median(loudness)  # and was never silent
    assert radios.nth(3).is_checked() and not radios.nth(0).is_checked()
    page.wait_for_timeout(800)
    assert page.evaluate("pitch()") == pytest.approx(1600, abs=3)
    assert np.median(page.evaluate("loudness()")) == pytest.approx(0.2 / 2**0.5, rel=0.05)  # the matched level

    scrolled = page.evaluate("scrollY")
    page.keyboard.press("Space")
    stopped = position_s()
    page.wait_for_timeout(200)
    assert position_s() == pytest.approx(stopped, abs=0.02) and play.inner_text() == "Play"
    assert page.evaluate("scrollY") == scrolled
    seek.focus()
    page.keyboard.press("End")
    assert position_s() > 2.9
    listen.get_by_label("Loop").check()
    page.keyboard.press("Space")  # on a check box, it only changes the box
    assert not listen.get_by_label("Loop").is_checked() and play.inner_text() == "Play"
    listen.get_by_label("Loop").check()
    play.click()
    wait(page, lambda: 0.1 < position_s() < 1.5, "the second time round", 10)
    assert play.inner_text() == "Pause"
    page.locator("header").get_by_role("button", name="Original").click()  # one sound at a time
    assert play.inner_text() == "Play"
    page.context.close()


def test_versions_have_one_level(live: Any, address: str) -> None:
    levels = []
    for version in live.request.get(f"{address}data/listen.json").json()["versions"]:
        wave, _ = soundfile.read(io.BytesIO(live.request.get(f"{address}data/listen/{version['file']}").body()))
        levels.append(10 * np.log10(np.mean(wave**2)) + version["gain_db"])
    assert max(levels) - min(levels) < 0.1


def test_only_the_straight_through_gradient_trains(live: Any) -> None:
    slide(live, "gradient", "The number", -3)
    slide(live, "gradient", "Level with the lowest loss", 6)
    train = section(live, "gradient").get_by_role("button", name="Train")
    section(live, "gradient").get_by_label("true", exact=True).check()
    train.click()
    assert number(live, "gradient", "gradient") == "0"
    assert number(live, "gradient", "after training") == "level 1"
    section(live, "gradient").get_by_label("straight-through", exact=True).check()
    train.click()
    assert number(live, "gradient", "gradient") == "\N{MINUS SIGN}10"
    assert number(live, "gradient", "after training") == "level 6"


def test_fewer_groups_and_flipped_bits_are_decoded(live: Any) -> None:
    def distance() -> float:
        wait(live, lambda: "dB" in number(live, "bandwidth", "spectrogram distance"), "a distance", 30)
        return float(number(live, "bandwidth", "spectrogram distance").split()[0])

    whole, before = distance(), picture(live, "bandwidth", 1)
    slide(live, "bandwidth", "Groups kept", 6)
    fewer = distance()
    assert fewer > whole and picture(live, "bandwidth", 1) != before
    assert number(live, "bandwidth", "sent") == "315 bit/s"
    section(live, "bandwidth").get_by_role("button", name="Reset").click()
    slide(live, "bandwidth", "Bits flipped", 8)
    assert distance() > whole
    section(live, "bandwidth").get_by_role("button", name="Reset").click()
    slide(live, "bandwidth", "Numbers per token", 3)
    assert (
        number(live, "bandwidth", "tokens per second") == "80.0" and number(live, "bandwidth", "vocabulary") == "4,096"
    )


def test_tokens_are_edited_played_and_saved(live: Any) -> None:
    voice = section(live, "voice")
    original = container.read(io.BytesIO(saved(live, "Download .silk"))).to_levels()
    voice.locator("[data-at='2-3']").click()
    live.keyboard.press("ArrowRight")
    live.keyboard.press("ArrowDown")
    assert voice.get_by_text("Frame 4, group 5").count() == 1
    level = original[3, 4 * 7]
    slide(live, "voice", "Number 29", (level + 1) % 8)
    edited = container.read(io.BytesIO(saved(live, "Download .silk"))).to_levels()
    assert list(map(tuple, np.argwhere(edited != original))) == [(3, 28)] and edited[3, 28] == (level + 1) % 8
    assert voice.locator(".matrix .changed").count() == 1
    button = voice.get_by_role("button", name="Changed tokens")
    button.click()
    wait(live, lambda: button.get_attribute("aria-pressed") == "true", "the changed tokens", 20)
    voice.get_by_role("button", name="Undo all").click()
    assert voice.locator(".matrix .changed").count() == 0


def test_the_quiz_and_the_terms_show_explanations(live: Any) -> None:
    quiz = section(live, "quiz")
    for question in quiz.locator(".choices").all():
        question.get_by_role("button").first.click()
    assert "of 6 right" in quiz.locator(".score").inner_text()
    assert all(text for text in quiz.locator(".why").all_inner_texts())
    term = section(live, "problem").get_by_role("button", name="language model")
    term.focus()
    tooltip = section(live, "problem").get_by_role("tooltip").filter(visible=True)
    assert len(tooltip.inner_text()) > 20
    live.keyboard.press("Escape")
    assert section(live, "problem").get_by_role("tooltip").filter(visible=True).count() == 0
    term.hover()
    tooltip.hover()
    assert tooltip.is_visible()  # WCAG 1.4.13


def test_the_rail_shows_the_section_in_view(live: Any) -> None:
    rail = live.locator("nav.rail")
    assert rail.is_visible() and rail.locator("a").count() == len(SECTIONS)
    rail.get_by_role("link", name="Residuals").click()
    wait(live, lambda: rail.locator("[aria-current]").all_inner_texts() == ["6Residuals"], "the mark", 10)
    assert rail.locator(".done").count() == 5
    box, figure = rail.bounding_box(), section(live, "residual").locator("figure").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= figure["x"]


def test_a_phone_has_a_progress_line_and_steps(page_of: Open) -> None:
    page = page_of(390, "light")
    steps, progress = page.locator("nav.steps"), page.locator("nav.steps .progress")
    assert steps.is_visible() and not page.locator("nav.rail").is_visible()
    wait(page, lambda: steps.locator(".here").inner_text() == "Start", "the start of the page", 10)
    before = progress.bounding_box()["width"]
    for wanted in ("1 of 14", "2 of 14"):
        steps.get_by_role("link", name="Next section").click()
        wait(page, lambda wanted=wanted: steps.locator(".here").inner_text() == wanted, wanted, 10)
    assert progress.bounding_box()["width"] > before
    steps.get_by_role("link", name="Previous section").click()
    wait(page, lambda: steps.locator(".here").inner_text() == "1 of 14", "the way back", 10)


def test_the_theme_is_remembered(opened: Open) -> None:
    page = opened(theme="light", before=lambda page: page.route("**/weights/*", lambda route: None))  # not needed
    page.get_by_role("button", name="Dark theme").click()
    page.reload()
    page.get_by_role("button", name="Light theme").wait_for()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.context.close()


def test_folds_have_different_names(live: Any) -> None:
    names = live.locator("details summary").all_inner_texts()
    assert len(names) >= 10 and len(set(names)) == len(names)


def test_the_quiz_can_be_retaken_and_the_glossary_links_back(live: Any) -> None:
    quiz = section(live, "quiz")
    quiz.locator(".choices").first.get_by_role("button").first.click()
    quiz.get_by_role("button", name="Take the quiz again").click()
    assert quiz.get_by_role("button").first.evaluate("one => one === document.activeElement")
    assert quiz.locator("[aria-pressed=true]").count() == 0 and quiz.locator(".score").inner_text() == ""
    entry = quiz.locator(".terms div", has=live.get_by_text("spectrogram", exact=True)).first
    assert entry.get_by_role("link").first.get_attribute("href") == "#spectrogram"
    unused = [
        one.locator("dt").inner_text() for one in quiz.locator(".terms div").all() if not one.locator("a").count()
    ]
    assert unused == []


FIRST = """word => {  // whether the first visible use of a word is a term with an explanation
    const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const place = texts.currentNode.parentElement;
        if (!new RegExp(word, "i").test(texts.currentNode.data) || place.closest("[role=tooltip]")) continue;
        return Boolean(place.closest(".term")?.querySelector("[role=tooltip]").textContent);
    }
    return false;
}"""


def test_terms_are_explained_where_they_first_occur(live: Any) -> None:
    for word in ("convolution", "transformer", "95 % interval", "significant"):
        assert live.evaluate(FIRST, word), word
        entry = section(live, "quiz").locator(".terms div", has=live.locator(f"dt:text-is('{word}')"))
        assert entry.locator("a").count() >= 1


def caches(page: Any) -> list[str]:
    return [name for name in page.evaluate("caches.keys()") if name.startswith("silk-page ")]


def test_an_exported_page_runs_below_any_path_and_offline(browser: Any, tmp_path: Path, weights_folder: Path) -> None:
    folder = tmp_path / "some" / "path"
    explain.export(folder, weights=weights_folder)
    with serving(tmp_path) as address:
        page = browser.new_page()
        troubles: list[str] = []
        page.on("console", lambda one: troubles.append(one.text) if one.type in ("error", "warning") else None)
        page.goto(f"{address}some/path/")
        wait_ready(page)
        assert "same tokens as the stored ones in all" in status(page) and troubles == []
        wait(page, lambda: page.evaluate("!!navigator.serviceWorker.controller"), "the service worker", 20)
        first = caches(page)
        assert len(first) == 1 and "/some/path/" in first[0]

        worker = folder / "service-worker.js"  # A new version of the page replaces the stored one.
        new = re.sub(r'VERSION = "\w+"', 'VERSION = "0123456789ab"', worker.read_text(encoding="utf-8"))
        worker.write_text(new, encoding="utf-8")
        page.reload()
        wait_ready(page)
        wait(page, lambda: [name.split()[-1] for name in caches(page)] == ["0123456789ab"], "the new version", 20)
    page.reload()  # The server has stopped.
    wait_ready(page)
    assert "same tokens as the stored ones in all" in status(page)
    choose(page, "Arabic")
    wait(page, lambda: title(page) == "Arabic", "the sample")
    listen = section(page, "listen")
    listen.scroll_into_view_if_needed()
    wait(page, lambda: listen.locator(".play").is_enabled(), "the recordings", 20)
    section(page, "decoder").locator(".stages").scroll_into_view_if_needed()
    wait(page, lambda: section(page, "decoder").locator("canvas").count() >= 5, "the activations", 20)
    page.close()


def violations(page: Any, context: str) -> list[Any]:
    """Return what axe finds in parts of the page, which a JavaScript expression states."""
    found = page.evaluate(f"axe.run({context}, {{ resultTypes: ['violations'] }})")["violations"]
    return [(one["id"], [node["target"] for node in one["nodes"]][:4]) for one in found]


@pytest.mark.parametrize(("width", "theme"), list(product((1280, 390), ("light", "dark"))))
def test_the_page_fits_and_axe_reports_no_violations(page_of: Open, width: int, theme: str) -> None:
    axe = WEB / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip("needs web/node_modules: make web (and Node.js for it)")
    page = page_of(width, theme)
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(axe.read_text(encoding="utf-8"))
    assert violations(page, "document") == []
    changing = "{ include: [['header'], ['#voice']] }"  # what recording and messages change
    page.locator("header").get_by_role("button", name="Record").click()
    stop = page.locator("header").get_by_role("button", name="Stop")
    wait(page, stop.is_visible, "the recording")
    assert violations(page, changing) == []
    stop.click()
    wait(page, lambda: title(page).startswith("Your voice"), "the recorded voice")
    upload(page, "letter.wav", b"This is not audio." * 50)
    assert "letter.wav" in told(page)
    assert violations(page, "{ include: [['header'], ['#voice'], ['#decoder']] }") == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
