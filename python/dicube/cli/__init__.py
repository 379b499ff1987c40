"""The `dicube` command: runs the module of a verb, and turns errors and warnings into lines.

The verbs are `convert`, `info`, `preview`, `verify`, `extract`, `append`, `archive`, `view`,
`serve` and `demo`; each module has a function `run`.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

from dicube.cli.one_line import one_line, text_of
from dicube.cli.options.parser import parser
from dicube.exceptions import DicomCubeError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0; 1 after an error, which is one line on the standard error output; 3 if
        damaged slices were left out on request, or `archive add` or `append` left something out.
        Wrong usage raises SystemExit with status 2.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr does
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout is not None:  # the caller may have closed it
                sys.stdout.flush()
    except OSError as error:
        # Without this, Python would try to flush the output again at exit and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1 if isinstance(error, BrokenPipeError) else _fail(str(error))


def _run(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    verb = import_module(f"dicube.cli.{options.command}")  # loads only what this command needs
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _show_warning
        try:
            return int(verb.run(options))
        except DicomCubeError as error:
            return _fail(text_of(error))
        except BrokenPipeError:
            raise
        except OSError as error:
            return _fail(str(error))
        except MemoryError as error:
            return _fail(f"out of memory: {error}")
        except KeyboardInterrupt:
            return _fail("interrupted")


def _fail(message: str) -> int:
    """Print an error on one line; return the exit status."""
    print(f"dicube: error: {one_line(message)}", file=sys.stderr)
    return 1


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning on one line."""
    print(f"dicube: warning: {one_line(str(message))}", file=sys.stderr)
