"""Runs the code of a page of the manual, in order, as a reader would: `run_page.py PAGE`.

In the current folder, and in one process: blocks of Python share their names, and `dicube` is found
by shells. What a page has in a `text` block right after a block of code is what the code prints;
`...` in it stands for anything. A comment right above a block changes this:

    <!-- not run: why -->        of a block of code
    <!-- not compared: why --> of a block of text
    <!-- needs: node, npm -->     not run where a program is missing

A block with a title, such as ```c title="read.c", is written to that file, for later commands. The
folder is empty, but for what the page asks of the files of `example_files`:

    <!-- files: series, head.dcbs -->
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

_BLOCK = re.compile(
    r"^(?P<markers>(?:<!--[^\n]*-->\n)*)```(?P<language>[\w+-]*)(?P<options>[^\n]*)\n"
    r"(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SHELL_SYNTAX = re.compile(r"[|&;<>$`*(){}\\]")


def files_of(page: Path) -> list[str]:
    """Return the names of the files that a page asks for."""
    asked = re.search(r"^<!-- files: (.*?) -->$", page.read_text(), re.MULTILINE)
    return asked[1].split(", ") if asked else []


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        language: 'python', 'sh', 'text' and so on; '' if the page names none.
        code: the text of the block.
        line: the number of the first line of `code` in the page.
        title: the name of a file to write; '' for none.
        not_run: why the block is not run, or its text not compared; '' if it is.
        needs: the programs without which it is not run.
        follows: whether only empty lines lie between this block and the one before.
    """

    language: str
    code: str
    line: int
    title: str
    not_run: str
    needs: tuple[str, ...]
    follows: bool

    @property
    def missing(self) -> list[str]:
        """Those of `needs` that this machine lacks."""
        return [name for name in self.needs if shutil.which(name) is None]


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, also those in HTML comments, which readers don't see."""
    text, found, end = page.read_text(), [], 0
    for match in _BLOCK.finditer(text):
        marked = dict(re.findall(r"<!-- (not run|not compared|needs): (.*?) -->", match["markers"]))
        title = re.search(r'title="([^"]*)"', match["options"])
        found.append(
            Block(
                match["language"],
                match["code"],
                text.count("\n", 0, match.start("code")) + 1,
                title[1] if title else "",
                marked.get("not run") or marked.get("not compared") or "",
                tuple(filter(None, re.split(r",\s*", marked.get("needs", "")))),
                not text[end : match.start()].strip(),
            )
        )
        end = match.end()
    return found


class Page:
    """Runs the blocks of a page, and compares what they print."""

    def __init__(self, page: Path) -> None:
        self._page = page
        self._names: dict[str, object] = {"__name__": "__main__"}
        self._groups: list[int] = []
        self._tools = Path(tempfile.mkdtemp())
        command = self._tools / "dicube"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dicube "$@"\n')
        command.chmod(0o755)
        os.symlink(sys.executable, self._tools / "python")
        library = ROOT / "python" / "dicube"
        os.environ.update(
            PATH=f"{self._tools}{os.pathsep}{os.environ['PATH']}",
            CPATH=str(ROOT / "cpp" / "include"),
            LIBRARY_PATH=str(library),
            LD_LIBRARY_PATH=str(library),
        )

    def run(self) -> None:
        """Run all blocks; SystemExit names the first that fails."""
        output: str | None = None  # of the block before; None if that was not run
        try:
            for block in blocks_of(self._page):
                if block.language == "text":
                    if block.follows and output is not None and not block.not_run:
                        self._compare(block, output)
                    output = None
                elif block.not_run or block.missing:
                    output = None
                else:
                    output = self._output_of(block)
        finally:
            self._end()

    def _output_of(self, block: Block) -> str | None:
        """Run a block; return what it printed."""
        if block.title:
            Path(block.title).write_text(block.code)
        elif block.language == "python":
            return self._python(block)
        elif block.language == "sh":
            return self._shell(block)
        return None

    def _python(self, block: Block) -> str:
        code = compile("\n" * (block.line - 1) + block.code, str(self._page), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, self._names)
        return printed.getvalue()

    def _shell(self, block: Block) -> str:
        """Run commands, those of dicube in this process, which is faster."""
        if _SHELL_SYNTAX.search(re.sub(r"#.*", "", block.code)) or any(
            not line.startswith("dicube ") for line in block.code.splitlines()
        ):
            return self._bash(block)
        from dicube.cli import main

        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            for line in block.code.splitlines():
                if status := main(shlex.split(line, comments=True)[1:]):
                    self._fail(block, f"{line}: exit status {status}\n{printed.getvalue()}")
        return printed.getvalue()

    def _bash(self, block: Block) -> str:
        """Run commands in a shell. What they start in the background ends with the page."""
        with tempfile.TemporaryFile() as file:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", block.code],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._groups.append(process.pid)
            status = process.wait()
            file.seek(0)
            printed = file.read().decode()
        if status:
            self._fail(block, f"exit status {status}\n{printed}")
        return printed

    def _compare(self, block: Block, found: str) -> None:
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        if not doctest.OutputChecker().check_output(block.code, found, flags):
            self._fail(block, f"the page says:\n{block.code}but the code prints:\n{found}")

    def _fail(self, block: Block, message: str) -> None:
        sys.exit(f"{self._page.name}, line {block.line}: {message}")

    def _end(self) -> None:
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)
        shutil.rmtree(self._tools)


if __name__ == "__main__":
    Page(Path(sys.argv[1])).run()
