"""Generate parts of the documentation site when MkDocs builds it.

cli.md            the command line, from Typer (commands.py)
files/...         files of the repository that pages link to (linked_files.py)
audio/...         the samples, decoded by each codec, for the page listen.md (listening.py)
<!-- include -->  a generated table of README.md, so that the repository has it once
```mermaid        the drawing of architecture.md, as SVG (drawing.py), so that a page loads no script from elsewhere
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
REPOSITORY = Repository(ROOT)
INCLUDE = re.compile(r"^<!-- include README.md (bench:[a-z-]+) -->$", re.MULTILINE)
PLAYERS = re.compile(r"^<!-- players ([a-z]+) -->$", re.MULTILINE)

_players: dict[str, str] = {}
_sources: dict[str, str] = {}  # source path of a generated page -> its file in the repository


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages and the audio."""
    global _players
    files.append(File.generated(config, "cli.md", content=commands.page(ROOT)))
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
    """Insert tables, players and drawings, and point links to files of the repository to their pages."""
    uri = page.file.src_uri
    if uri == "cli.md":
        return markdown
    markdown = re.sub(r"^```(\w+) \w+$", r"```\1", markdown, flags=re.MULTILINE)  # a word for the tests
    source = _sources.get(uri, f"docs/{uri}")
    if source.endswith(".md"):
        markdown = REPOSITORY.with_site_links(markdown, source)
        markdown = INCLUDE.sub(lambda match: _table(match[1]), markdown)
        markdown = re.sub(r"```mermaid\n(.*?)```", lambda match: drawing.svg(match[1]), markdown, flags=re.DOTALL)
    audio = posixpath.relpath("audio", page.url or ".") + "/"
    return PLAYERS.sub(lambda match: _players[match[1]].replace(listening.AUDIO, audio), markdown)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> None:
    """Warn of a fence that was not recognised as one, so that a strict build fails."""
    if "```" in html and page.file.src_uri not in _sources:
        LOG.warning("%s: a block of code has a fence that is not recognised", page.file.src_uri)


def _table(name: str) -> str:
    """Return what is between a pair of markers of README.md."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", readme, re.DOTALL)
    if found is None:
        raise PluginError(f"README.md has no table {name!r}")
    return found[1]
