"""`silk explain`: the page that shows how codecs work, with the real model live in the browser.

The page is built from `web/` into `silkcodec/site/`, and the model is served from `silkcodec/silk/weights/`: no second
copy. Only this machine can reach the server, and the page asks no other.
"""

from __future__ import annotations

import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from silkcodec.errors import ArgumentError, SilkError, WeightsError

PACKAGE = Path(__file__).parent.parent
SITE = PACKAGE / "site"
WEIGHTS = PACKAGE / "silk" / "weights"
SERVED = ("config.json", "encoder.onnx", "decoder.onnx")  # of the weights; nothing else in that folder is asked for
TYPES = {  # not left to the machine's own table, which knows .wasm and .js wrongly often enough
    ".bin": "application/octet-stream",
    ".css": "text/css",
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


def explain(*, port: int = 0, open_browser: bool = True, weights: Path | None = None) -> None:
    """Serve the page until Ctrl-C.

    Args:
        port: 0 takes a free one.
        weights: a folder of other weights that the page is to run; None: the embedded ones.

    Raises:
        SilkError: the page has not been built, or the port is taken.
        WeightsError: the folder has no weights.
    """
    with server(port, weights) as page:
        url = f"http://127.0.0.1:{page.server_port}/"
        print(f"How codecs work: {url}  (Ctrl-C ends it)", flush=True)
        if open_browser:
            webbrowser.open(url)
        page.serve_forever()


def server(port: int = 0, weights: Path | None = None, site: Path = SITE) -> ThreadingHTTPServer:
    """The server, not yet running. Raises as `explain` does."""
    if not 0 <= port <= 65_535:
        raise ArgumentError(f"port must be 0..65535; got {port}.")
    if not (site / "index.html").is_file():
        raise SilkError("The page must be built first: run `make web` (with Node.js), or install a wheel.")
    folder = weights or WEIGHTS
    for name in SERVED:
        if not (folder / name).is_file():
            raise WeightsError(f"A weights folder must hold {name}; '{folder}' does not.")
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Page, site=site, weights=folder))
    except OSError as error:
        raise SilkError(f"The page must have a free port; port {port}: {error.strerror or error}.") from error


class _Page(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the figures fetch a dozen files; one connection will do

    def __init__(self, *arguments: object, site: Path, weights: Path) -> None:
        self._weights = weights
        self.extensions_map = {**SimpleHTTPRequestHandler.extensions_map, **TYPES}
        super().__init__(*arguments, directory=str(site))  # type: ignore[arg-type]

    def translate_path(self, path: str) -> str:
        folder, _, name = unquote(urlsplit(path).path).lstrip("/").rpartition("/")
        if folder == "weights" and name in SERVED:
            return str(self._weights / name)
        return super().translate_path(path)

    def list_directory(self, path: object) -> None:
        self.send_error(404)

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        # Names in assets/ hold a hash of their content; all else may change with the next version.
        hashed = self.path.startswith("/assets/")
        self.send_header("Cache-Control", "max-age=31536000, immutable" if hashed else "no-cache")
        super().end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the terminal is for the one line that says where the page is."""
