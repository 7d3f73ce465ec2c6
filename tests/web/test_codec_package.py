"""Test the npm package of web/codec as `npm pack` packs it: in Node.js, in Chromium without a bundler, and with Vite.

The tests are skipped without Node.js, web/node_modules (`make web`) or Chromium.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chromium
import silkcodec
from repository import ROOT
from silkcodec import container
from webserver import serving

WEB = ROOT / "web"
NODE_MODULES = WEB / "node_modules"
WORKER = """
import * as ort from "/ort/ort.wasm.bundle.min.mjs";
import { serve } from "/silkcodec/dist/worker.js";
serve({ ort });
"""
PAGE = """<!doctype html><title>plain page</title><script type="importmap">{ "imports": {
  "silkcodec": "./silkcodec/dist/index.js", "onnxruntime-web/wasm": "./ort/ort.wasm.bundle.min.mjs" } }</script>"""
ENCODE = """async ([wave, inWorker]) => {
  const { load } = await import("silkcodec");
  const worker = inWorker ? new Worker("./worker.js", { type: "module" }) : undefined;
  const codec = await load({ weights: "weights", wasmPaths: new URL("ort/", document.baseURI).href, worker });
  const sound = Float32Array.from(wave);
  const tokens = await codec.encode(sound);
  const decoded = await codec.decode(tokens);
  const stream = codec.encoder();
  const pieces = [];
  for (let at = 0; at < sound.length; at += 5000) {
    pieces.push(...(await stream.feed(sound.subarray(at, at + 5000))).levels);
  }
  pieces.push(...(await stream.flush()).levels);
  const abort = new AbortController();
  const long = codec.encode(new Float32Array(960_000), { signal: abort.signal, onProgress: () => abort.abort() });
  const aborted = await long.then(() => "finished", (error) => error.name);
  const again = await codec.encode(sound);
  const waiting = codec.encode(sound).catch((error) => error.message);
  await codec.close();
  return {
    levels: [...tokens.levels], decoded: [...decoded], streamed: pieces, again: [...again.levels], aborted,
    closed: await waiting,
  };
}"""
NODE = """
import { readFileSync } from "node:fs";
import { load, readSilk, writeSilk } from "silkcodec";
import { serve } from "silkcodec/worker";
const codec = await load({ weights: process.argv[2] });
const bytes = readFileSync(process.argv[3]);
const tokens = readSilk(writeSilk(await codec.encode(new Float32Array(Uint8Array.from(bytes).buffer))));
await codec.close();
console.log(JSON.stringify({ levels: [...tokens.levels], codes: tokens.codes, serve: typeof serve }));
"""
BUNDLED = """
import { load } from "silkcodec";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
const codec = await load({ weights: "weights/", wasmPaths: { wasm: new URL(wasm, import.meta.url).href } });
const wave = Float32Array.from(await (await fetch("wave.json")).json());
globalThis.found = [...(await codec.encode(wave)).levels];
"""
TYPED = """
import { load, Tokens, type Codec, type Frames, type LoadOptions } from "silkcodec";
import { serve } from "silkcodec/worker";
const options: LoadOptions = { weights: new URL("https://example.org/weights/"), wasmPaths: { wasm: "a.wasm" } };
const onProgress = (bytes: number, totalBytes: number | null) => console.log(bytes, totalBytes);
const codec: Codec = await load({ ...options, signal: AbortSignal.timeout(1000), onProgress });
const tokens: Tokens = await codec.encode(new Float32Array(1));
const frames: Frames = await codec.encoder().feed(new Float32Array(1));
const wave: Float32Array = await codec.decode(tokens.regroup(4));
const earlier: readonly string[] = codec.decodes;
// @ts-expect-error: a folder is required
await load({});
export { earlier, frames, serve, wave };
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with node_modules/silkcodec, as `npm install` of the packed package makes it."""
    if shutil.which("npm") is None or not NODE_MODULES.is_dir():
        pytest.skip("needs Node.js and web/node_modules: make web")
    folder = tmp_path_factory.mktemp("package")
    command = ["npm", "pack", "--json", "--pack-destination", str(folder)]
    done = subprocess.run(command, cwd=WEB / "codec", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (archive,) = folder.glob("*.tgz")
    modules = folder / "node_modules"
    with tarfile.open(archive) as tar:
        tar.extractall(modules, filter="data")
    (modules / "package").rename(modules / "silkcodec")
    for name in ("onnxruntime-web", "onnxruntime-common"):
        (modules / name).symlink_to(NODE_MODULES / name)
    return folder


@pytest.fixture(scope="module")
def golden(weights_folder: Path) -> dict[str, Any]:
    with np.load(weights_folder / "golden.npz") as arrays:
        return dict(arrays)


def test_the_page_imports_only_the_public_interface() -> None:
    sources = [path for path in (WEB / "src").rglob("*") if path.suffix in (".ts", ".svelte")]
    imported = {(path, name) for path in sources for name in re.findall(r'from "([^"]*)"', path.read_text("utf-8"))}
    assert {name for _, name in imported if "silkcodec" in name} == {"silkcodec", "silkcodec/worker"}
    own = [(path.parent / name).resolve() for path, name in imported if name.startswith(".")]
    assert not [path for path in own if path.is_relative_to(WEB / "codec")]


@pytest.mark.slow
def test_it_packs_its_build_readme_and_licence(package: Path) -> None:
    folder = package / "node_modules" / "silkcodec"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    manifest = json.loads((folder / "package.json").read_text("utf-8"))
    targets = [entry[key] for entry in manifest["exports"].values() if isinstance(entry, dict) for key in entry]
    assert {target.removeprefix("./") for target in targets} <= files
    assert {"README.md", "LICENSE"} <= files
    assert all(name.startswith("dist/") for name in files - {"README.md", "LICENSE", "package.json"})
    code = "".join(path.read_text("utf-8") for path in (folder / "dist").glob("*.js"))
    assert set(re.findall(r'(?:from|import\() ?"([^."][^"]*)"', code)) == {"onnxruntime-web/wasm"}


@pytest.mark.slow
def test_it_has_types(package: Path) -> None:
    (package / "typed.mts").write_text(TYPED, encoding="utf-8")
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022"]
    command = [str(NODE_MODULES / ".bin" / "tsc"), *options, "--lib", "es2023,dom", "typed.mts"]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_in_node_the_tokens_are_those_of_python(package: Path, weights_folder: Path, golden: dict[str, Any]) -> None:
    (package / "encode.mjs").write_text(NODE, encoding="utf-8")
    golden["wave"].astype("<f4").tofile(package / "wave.f32")
    command = ["node", "encode.mjs", os.path.relpath(weights_folder, package), "wave.f32"]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)
    np.testing.assert_array_equal(found["levels"], golden["levels"].ravel())
    tokens = silkcodec.Tokens.from_levels(golden["levels"], n_samples=len(golden["wave"]), codec="silk@0a1b2c3d4e5f")
    np.testing.assert_array_equal(found["codes"], np.stack(tokens.codes))
    assert found["serve"] == "function"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.launched() as found:
        yield found


@pytest.fixture(scope="module")
def plain_site(package: Path, weights_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a page without a bundler, which imports the packed package."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "silkcodec").symlink_to(package / "node_modules" / "silkcodec")
    (folder / "ort").symlink_to(NODE_MODULES / "onnxruntime-web" / "dist")
    (folder / "weights").symlink_to(weights_folder)
    (folder / "index.html").write_text(PAGE, encoding="utf-8")
    (folder / "worker.js").write_text(WORKER, encoding="utf-8")
    with serving(folder) as address:
        yield address


@pytest.mark.slow
@pytest.mark.parametrize("in_worker", [False, True], ids=["page", "worker"])
def test_in_chromium_the_tokens_are_those_of_python(
    browser: Any, plain_site: str, golden: dict[str, Any], in_worker: bool
) -> None:
    page = browser.new_page()
    page.goto(plain_site)
    found = page.evaluate(ENCODE, [golden["wave"].astype(float).tolist(), in_worker])
    page.close()
    for name in ("levels", "streamed", "again"):
        np.testing.assert_array_equal(found[name], golden["levels"].ravel(), err_msg=name)
    np.testing.assert_allclose(found["decoded"], golden["decoded"], atol=1e-4)
    assert found["aborted"] == "AbortError"
    assert "closed" in found["closed"]


@pytest.mark.slow
def test_vite_bundles_an_app_with_the_packed_package(
    browser: Any, package: Path, weights_folder: Path, golden: dict[str, Any]
) -> None:
    (package / "app").mkdir()
    (package / "app" / "main.js").write_text(BUNDLED, encoding="utf-8")
    (package / "app" / "index.html").write_text('<script type="module" src="./main.js"></script>', encoding="utf-8")
    command = [str(NODE_MODULES / ".bin" / "vite"), "build", "--base=./", "--target=esnext", "--logLevel=warn"]
    done = subprocess.run(command, cwd=package / "app", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    built = package / "app" / "dist"
    code = "".join(path.read_text("utf-8") for path in (built / "assets").glob("*.js"))
    assert "SilkError" in code and not re.search(r"""from ?["'](silkcodec|onnxruntime)""", code)  # nothing is missing
    assert len(list((built / "assets").glob("ort-wasm-simd-threaded-*.wasm"))) == 1
    (built / "weights").symlink_to(weights_folder)
    (built / "wave.json").write_text(json.dumps(golden["wave"].astype(float).tolist()), encoding="utf-8")
    page = browser.new_page()
    with serving(built) as address:
        page.goto(address)
        page.wait_for_function("globalThis.found", timeout=60_000)
        found = page.evaluate("globalThis.found")
    page.close()
    np.testing.assert_array_equal(found, golden["levels"].ravel())


@pytest.mark.slow
def test_the_example_encodes_a_file(browser: Any, package: Path) -> None:
    assert package.is_dir()  # `npm pack` has built web/codec/dist, which the example uses
    page = browser.new_page()
    with serving(ROOT) as address:
        page.goto(address + "examples/browser/")
        page.locator("#sound:enabled").wait_for(timeout=60_000)
        page.locator("#sound").set_input_files(ROOT / "samples" / "english.flac")
        page.locator("#file:text('Download')").wait_for(timeout=60_000)
        shown = page.locator("#state").inner_text()
        with page.expect_download() as download:
            page.locator("#file").click()
        tokens = container.read(download.value.path())
        page.wait_for_function("document.getElementById('decoded').duration > 1")
        duration_s = page.evaluate("document.getElementById('decoded').duration")
    page.close()
    first = " ".join(str(codes[0]) for codes in tokens.codes)
    assert shown == f"{tokens.n_frames} frames. Tokens of the first frame: {first}"
    assert duration_s == pytest.approx(tokens.n_samples / 24_000, abs=1e-3)
