"""Hooks of mkdocs: the order of pages, and reference pages that are made from other files.

The pages of the command, the C ABI, the format and the limits are made when the manual is built, so
that they can't differ from the program. A section lists its pages in the order in which its
index.md links to them, then those that it doesn't link to.
"""

from __future__ import annotations

import argparse
import posixpath
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import griffe
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = {
    "tutorials": "Tutorials",
    "how-to": "How-to guides",
    "reference": "Reference",
    "explanation": "Explanation",
}

# ------------------------------------------------------------------------------ mkdocs calls these


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages, and put all pages in order."""
    for name, text in generated_pages().items():
        files.append(File.generated(config, name, content=text))
    config.nav = ["index.md"]
    for folder, title in SECTIONS.items():
        if pages := ordered_pages(files, folder):
            config.nav.append({title: pages})
    return files


def on_post_build(config: Any) -> None:
    """Fail if a page would load something from another place."""
    found = [
        f"{path}: loads {url}"
        for path in sorted(Path(config.site_dir).rglob("*.html"))
        for url in loaded_urls(path.read_text())
    ]
    if found:
        raise PluginError("\n".join(found))


class ExamplesAsCode(griffe.Extension):
    """Lets mkdocstrings show `Example:` in a docstring as code, which it does for `Examples:`."""

    def on_object(self, *, obj: griffe.Object, **_others: Any) -> None:
        """Rename the section of one docstring."""
        if obj.docstring is not None:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = text


# --------------------------------------------------------------------------------- order of pages


def ordered_pages(files: Files, folder: str) -> list[str]:
    """Return the pages of a section: index.md, those that it links to, the others.

    Pages outside the folders of sections belong to the section whose index.md links to them.
    """
    names = sorted(file.src_uri for file in files.documentation_pages())
    index = f"{folder}/index.md"
    others = [name for name in names if name.startswith(f"{folder}/") and name != index]
    page = files.get_file_from_path(index)
    if page is None:
        return others
    targets = re.findall(r"\]\(([\w./-]+\.md)", page.content_string)
    linked = dict.fromkeys(posixpath.normpath(f"{folder}/{target}") for target in targets)
    first = [name for name in linked if name in others or ("/" not in name and name in names)]
    return [index, *first, *(name for name in others if name not in first)]


# ------------------------------------------------------------------------------- what a page loads


class _Loaded(HTMLParser):
    """Collects what a browser fetches with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Keep the URLs of other places; a link that a reader may follow is none."""
        given = dict(attributes)
        if tag == "a" or (tag == "link" and given.get("rel") in ("canonical", "prev", "next")):
            return
        for name in ("href", "src", "srcset", "data", "poster"):
            url = given.get(name) or ""
            if re.match(r"(https?:)?//", url):
                self.urls.append(url)
        if "mermaid" in (given.get("class") or "").split():
            self.urls.append("mermaid, which the theme takes from the network")


def loaded_urls(html: str) -> list[str]:
    """Return the URLs of other places from which a page loads something."""
    loaded = _Loaded()
    loaded.feed(html)
    return loaded.urls + re.findall(r"url\([\"']?((?:https?:)?//[^)\"']+)", html)


# -------------------------------------------------------------------------------- generated pages


def generated_pages() -> dict[str, str]:
    """Return the texts of the generated pages by their names in docs/."""
    return {
        "reference/command.md": command_page(),
        "reference/c-abi.md": c_abi_page((ROOT / "cpp/include/dicube/dicube.h").read_text()),
        "reference/format.md": (ROOT / "cpp/FORMAT.md").read_text(),
        "reference/limits.md": limits_page((ROOT / "SECURITY.md").read_text()),
    }


def limits_page(security: str) -> str:
    """Return the section of SECURITY.md, whose numbers a test compares with the code."""
    found = re.search(r"^## Limits\n(.*?)(?=^## )", security, re.MULTILINE | re.DOTALL)
    if found is None:
        raise PluginError("SECURITY.md: expected a section Limits")
    return f"# Limits\n{found[1]}"


def command_page() -> str:
    """Return the help of the `dicube` command and its verbs, as argparse prints it."""
    sys.path.insert(0, str(ROOT / "python"))
    from dicube.cli.options.parser import parser

    text = "# The dicube command\n\nInstalled with the package; `python -m dicube` is the same.\n"
    for name, command in commands(parser()):
        depth = "#" * min(len(name.split()) + 1, 4)
        command.formatter_class = _narrow(command.formatter_class)
        text += f"\n{depth} {name}\n\n```text\n{command.format_help().rstrip()}\n```\n"
    return text


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield a parser and those of its verbs, by their names on the command line."""
    yield parser.prog, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from commands(verb)


def _narrow(formatter: Any) -> Any:
    """Return a formatter whose lines fit a page, whatever the terminal's width is."""
    return lambda prog: formatter(prog, width=88)


# ------------------------------------------------------------------------- dicube.h as a web page

_COMMENT = re.compile(r"/\*(.*?)\*/", re.DOTALL)
_DIVIDER = re.compile(r"-{20,} *([\w ]+)")
_NAME = re.compile(r"\b(dicube_\w+)\s*\(|^typedef struct (\w+)|^#define (\w+)", re.MULTILINE)


def c_abi_page(header: str) -> str:
    """Return dicube.h as Markdown: its comments as text, what they describe as code."""
    body = re.sub(r"^#(?:include|ifdef|ifndef|if|else|elif|endif).*\n", "", header, flags=re.M)
    start = _COMMENT.match(body)
    if start is None:
        raise PluginError("dicube.h: expected a comment at the start")
    text = "# C ABI\n\n" + _introduction(start[1])
    for block in re.split(r"\n\s*\n", body[body.index("/* ----") :]):
        text += _of_block(block.strip())
    return text


def _of_block(block: str) -> str:
    """Return the Markdown of a block of the header, which has no empty line."""
    comment = _COMMENT.match(block)
    if comment is None:
        return f"\n```c\n{block}\n```\n" if "dicube" in block.lower() else ""
    if divider := _DIVIDER.match(comment[1].strip()):
        return f"\n## {divider[1].strip().capitalize()}\n"
    code = block[comment.end() :].strip()
    names = [next(filter(None, found.groups())) for found in _NAME.finditer(code)]
    names = [name for name in names if not name.startswith("DICUBE_")] or names[:1]
    title = ", ".join(f"`{name}`" for name in dict.fromkeys(names))
    prose = re.sub(r"^ ?\* ?", "", comment[1].strip(), flags=re.MULTILINE)
    heading = f"\n### {title}\n" if title else ""
    return f"{heading}\n{_escaped(prose)}\n" + (f"\n```c\n{code}\n```\n" if code else "")


def _introduction(comment: str) -> str:
    """Return the comment at the start: code is indented by four, paragraphs have a name."""
    lines = [re.sub(r"^ \* ?", "", line) for line in comment.strip("\n").splitlines()]
    text = ""
    for paragraph in "\n".join(lines).strip().split("\n\n"):
        if paragraph.startswith("    "):
            code = re.sub(r"^    ", "", paragraph, flags=re.MULTILINE)
            text += f"```c\n{code}\n```\n\n"
        else:
            prose = _escaped(re.sub(r"\s+", " ", paragraph).strip())
            text += re.sub(r"^(Threads|Errors|Memory|Structs|Text)\. ", r"**\1.** ", prose) + "\n\n"
    return text


def _escaped(prose: str) -> str:
    """Return text in which only backticks mean something to Markdown."""
    parts = re.split(r"(`[^`]*`)", prose)
    return "".join(
        part if part.startswith("`") else re.sub(r"([*<\[\]#|])", r"\\\1", part) for part in parts
    )
