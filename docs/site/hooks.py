"""What MkDocs does besides: files that pages link to but that lie outside docs/, and links to code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES_OF_THE_ROOT = ("CHANGELOG.md", "CONTRIBUTING.md")
SHOWN = {".csv", ".gif", ".ipynb", ".json", ".md", ".png", ".svg", ".yml"}
_LINK = re.compile(r"\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def in_the_repository(source: str) -> Path:
    """Path of a page's file from the root, by its path in the site."""
    return Path(source) if (ROOT / source).is_file() else Path("docs", source)


def linked(source: Path) -> Iterator[Path]:
    """Files outside docs/ to which a page links, all paths from the root."""
    for match in _LINK.finditer((ROOT / source).read_text(encoding="utf-8")):
        path = Path(normpath(source.parent / match[2]))
        if path.suffix in SHOWN and path.parts[0] != "docs" and (ROOT / path).is_file():
            yield path


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages of the root, and what any page links to, under their paths in the repository."""
    new = [Path(name) for name in PAGES_OF_THE_ROOT]
    new += [path for file in files.documentation_pages() for path in linked(in_the_repository(file.src_uri))]
    while new:
        path = new.pop()
        if files.get_file_from_path(path.as_posix()) is None and path.name != "README.md":
            files.append(File.generated(config, path.as_posix(), abs_src_path=str(ROOT / path)))
            new += linked(path) if path.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at what the site has: pages, files, for code its place in the API; of others the text stays."""
    source = page.file.src_uri
    here, folder = in_the_repository(source).parent, Path(source).parent.as_posix()
    homes = {
        module: file.src_uri
        for file in files.documentation_pages()
        if file.src_uri.startswith("api/")
        for module in re.findall(r"^::: (\S+)$", (ROOT / "docs" / file.src_uri).read_text(encoding="utf-8"), flags=re.M)
    }

    def pointed(match: re.Match[str]) -> str:
        text, path, anchor = match[1], normpath(here / match[2]), match[3] or ""
        if files.get_file_from_path(path.removeprefix("docs/")) is not None:
            return f"[{text}]({relpath(path.removeprefix('docs/'), folder)}{anchor})"
        module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        home = homes.get(module) or homes.get(".".join(module.split(".")[:2]))
        return f"[{text}]({relpath(home, folder)}#{module})" if home else text

    return _LINK.sub(pointed, markdown)
