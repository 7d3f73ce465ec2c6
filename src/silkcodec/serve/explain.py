"""Implement `silk explain`, which serves or exports a page that explains codecs. The model runs in the browser.

`make web` builds the page from `web/` into `silkcodec/site/`. Compressed files (FILE.br, FILE.gz) are sent to browsers
that accept them.
"""

from __future__ import annotations

import gzip
import html
import os
import shutil
import sys
import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from silkcodec.errors import ArgumentError, OutputError, SilkError, WeightsError

PACKAGE = Path(__file__).parent.parent
SITE = PACKAGE / "site"
WEIGHTS = PACKAGE / "silk" / "weights"
SERVED = ("config.json", "encoder.onnx", "decoder.onnx")  # files of the weights that the page requests
ENCODINGS = (("br", ".br"), ("gzip", ".gz"))  # HTTP content encodings and file suffixes, best compression first
SMALLEST_GAIN = 0.05  # minimum reduction of a file's size, as a fraction
TYPES = {  # Operating systems often have wrong types for .wasm and .js.
    ".bin": "application/octet-stream",
    ".css": "text/css",
    ".flac": "audio/flac",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " worker-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


# Browsers ignore frame-ancestors in a meta element and report it in the console.
_META_POLICY = html.escape(POLICY.removesuffix("; frame-ancestors 'none'"))
_META = f'<meta http-equiv="Content-Security-Policy" content="{_META_POLICY}">'


def explain(*, port: int = 0, open_browser: bool = True, weights: Path | None = None) -> None:
    """Serve the `silk explain` page until the user presses Ctrl-C.

    Args:
        port: TCP port. 0 selects a free one.
        open_browser: whether to open the page in the default browser.
        weights: weights folder. None uses the weights in the package.

    Raises:
        ArgumentError: the port is out of range.
        SilkError: the page has not been built, or the port is in use.
        WeightsError: the folder has no weights.
    """
    with server(port, weights) as page:
        url = f"http://127.0.0.1:{page.server_port}/"
        print(f"Serving the page on this machine only: {url}  (press Ctrl-C to stop)", flush=True)
        if open_browser:
            webbrowser.open(url)
        page.serve_forever()


def server(port: int = 0, weights: Path | None = None, site: Path = SITE) -> ThreadingHTTPServer:
    """Create an HTTP server for the `silk explain` page. Raises the same errors as `explain`."""
    if not 0 <= port <= 65_535:
        raise ArgumentError(f"port must be between 0 and 65535; got {port}.")
    folder = _checked(site, weights)
    try:
        return _Server(("127.0.0.1", port), partial(_Page, site=site, weights=folder))
    except OSError as error:
        raise SilkError(
            f"Cannot listen on port {port}: {error.strerror or error}. Choose another port with --port."
        ) from error


def export(folder: Path, *, weights: Path | None = None, site: Path | None = None) -> None:
    """Write the `silk explain` page and the weights to a folder for use with any static web server.

    Args:
        folder: folder to create. It can already exist if it is empty.
        weights: weights folder. None uses the weights in the package.
        site: folder of the built page. None uses the installed page.

    Raises:
        SilkError: the page has not been built.
        WeightsError: the weights folder is incomplete.
        OutputError: the folder is not empty, or cannot be written to.
    """
    site, folder = site or SITE, folder.absolute()
    source = _checked(site, weights)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"The export folder must be new or empty; got '{folder}'.")
        part = folder.with_name(f"{folder.name}.part{os.getpid()}")
        try:
            shutil.copytree(site, part)
            (part / "weights").mkdir()
            for name in SERVED:
                shutil.copyfile(source / name, part / "weights" / name)
            page = (part / "index.html").read_text(encoding="utf-8")
            (part / "index.html").write_text(page.replace("<head>", f"<head>{_META}", 1), encoding="utf-8")
            _compress(part)
            if folder.exists():
                folder.rmdir()
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"Cannot write to '{folder}': {error.strerror or error}.") from error


def _compress(folder: Path) -> None:
    """Write FILE.gz next to each file that gzip makes at least 5 % smaller."""
    for path in [one for one in folder.rglob("*") if one.is_file() and one.suffix != ".br"]:
        content = path.read_bytes()
        compressed = gzip.compress(content, 6, mtime=0)
        if len(compressed) <= (1 - SMALLEST_GAIN) * len(content):
            path.with_name(f"{path.name}.gz").write_bytes(compressed)


def _checked(site: Path, weights: Path | None) -> Path:
    """Check that the page and the weights exist, and return the weights folder."""
    if not (site / "index.html").is_file():
        raise SilkError(
            "The web page has not been built. Run `make web` (needs Node.js), or install silkcodec from a wheel."
        )
    folder = weights or WEIGHTS
    for name in SERVED:
        if not (folder / name).is_file():
            raise WeightsError(f"The weights folder '{folder}' must contain {name}.")
    return folder


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors from closed connections, because browsers abort downloads when a tab is closed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Page(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # Allows the page to fetch its dozen files over one connection.

    def __init__(self, *arguments: object, site: Path, weights: Path) -> None:
        self._weights = weights
        self._encoding: str | None = None
        self.extensions_map = {**SimpleHTTPRequestHandler.extensions_map, **TYPES}
        super().__init__(*arguments, directory=str(site))  # type: ignore[arg-type]

    def translate_path(self, path: str) -> str:
        folder, _, name = unquote(urlsplit(path).path).lstrip("/").rpartition("/")
        model = folder == "weights" and name in SERVED
        found = str(self._weights / name) if model else super().translate_path(path)
        accepted = {one.split(";")[0].strip() for one in self.headers.get("Accept-Encoding", "").split(",")}
        self._encoding = None
        for encoding, suffix in ENCODINGS:
            if encoding in accepted and Path(found + suffix).is_file():
                self._encoding = encoding
                return found + suffix
        return found

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        suffix = dict(ENCODINGS).get(self._encoding or "", "")
        return super().guess_type(str(path).removesuffix(suffix))

    def list_directory(self, path: object) -> None:
        self.send_error(404)

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Vary", "Accept-Encoding")
        if self._encoding:
            self.send_header("Content-Encoding", self._encoding)
        # File names in assets/ contain a hash of the content. All other files can change in the next version.
        hashed = self.path.startswith("/assets/")
        self.send_header("Cache-Control", "max-age=31536000, immutable" if hashed else "no-cache")
        super().end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Do not log requests."""
