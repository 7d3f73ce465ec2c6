"""Generate parts of the documentation site when MkDocs builds it.

cli.md            the reference of the command line (commands.py)
files/...         repository files that pages link to (linked_files.py)
assets/tokens.css the design tokens, which the HTML report contains
audio/...         the samples, decoded by each codec, for listen.md (listening.py)
<!-- include -->  a table from README.md
```mermaid        a diagram as SVG (drawing.py)
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

import commands
import drawing
import listening
from linked_files import BrokenLink, Repository
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

LOG = logging.getLogger("mkdocs.hooks.silk")
ROOT = Path(__file__).resolve().parent.parent
TOKENS = ROOT / "src" / "silkcodec" / "evaluate" / "html" / "tokens.css"
REPOSITORY = Repository(ROOT)
INCLUDE = re.compile(r"^<!-- include README.md (bench:[a-z-]+) -->$", re.MULTILINE)
PLAYERS = re.compile(r"^<!-- players ([a-z]+) -->$", re.MULTILINE)

_players: dict[str, str] = {}
_sources: dict[str, str] = {}  # path of a generated page -> path of its file in the repository


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages and audio files."""
    global _players
    files.append(File.generated(config, "cli.md", content=commands.page(ROOT)))
    files.append(File.generated(config, "assets/tokens.css", abs_src_path=str(TOKENS)))
    audio, _players = listening.build(ROOT, Path(config.config_file_path).parent / "out" / "listening")
    for name, path in audio.items():
        files.append(File.generated(config, f"audio/{name}", abs_src_path=str(path)))
    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages() if file.generated_by is None]
    try:
        linked = list(REPOSITORY.linked(pages))
    except BrokenLink as error:
        raise PluginError(str(error)) from error
    for name in linked:
        uri, content = REPOSITORY.site_path(name), REPOSITORY.page(name)
        _sources[uri] = name
        if content is None:
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / name)))
        else:
            files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Insert tables, audio players and diagrams, and make links to repository files work on the site."""
    uri = page.file.src_uri
    if uri == "cli.md":
        return markdown
    markdown = re.sub(r"^```(\w+) \w+$", r"```\1", markdown, flags=re.MULTILINE)  # Only tests use the second word.
    source = _sources.get(uri, f"docs/{uri}")
    if source.endswith(".md"):
        markdown = REPOSITORY.with_site_links(markdown, source)
        markdown = INCLUDE.sub(lambda match: _table(match[1]), markdown)
        markdown = re.sub(r"```mermaid\n(.*?)```", lambda match: drawing.svg(match[1]), markdown, flags=re.DOTALL)
    audio = posixpath.relpath("audio", page.url or ".") + "/"
    return PLAYERS.sub(lambda match: _players[match[1]].replace(listening.AUDIO, audio), markdown)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> None:
    """Log a warning if a code fence was not recognized."""
    if "```" in html and page.file.src_uri not in _sources:
        LOG.warning("%s: the fence of a code block was not recognized", page.file.src_uri)


def _table(name: str) -> str:
    """Return the text between a pair of markers in README.md."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", readme, re.DOTALL)
    if found is None:
        raise PluginError(f"README.md must contain the '{name}' table between markers.")
    return found[1]
