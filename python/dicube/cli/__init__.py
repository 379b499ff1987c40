"""The `dicube` command: what it is asked, what it does, what it shows, and its exit status.

What the commands do is done by `core` and `demo`. Here errors and warnings become lines.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from dicube.cli.arguments import parser
from dicube.cli.one_line import one_line
from dicube.exceptions import DicomCubeError

_OPTION_OF_ARGUMENT = {"overwrite=True": "--overwrite", "series_uid=": "--series-uid"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0, or 1 after one line on the standard error output, or 3 where damaged
        parts were left out as asked for. Wrong usage ends in SystemExit with status 2.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as the standard error output
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout is not None:  # closed by who called
                sys.stdout.flush()
    except OSError as error:
        # Python must not try to write the rest at exit, where whoever read the output has gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1 if isinstance(error, BrokenPipeError) else _fail(str(error))


def _run(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _show_warning
        try:
            return int(options.run(options))
        except DicomCubeError as error:
            message = error.message if error.suggestion is None else _with_suggestion(error)
            return _fail(message)
        except BrokenPipeError:
            raise
        except OSError as error:
            return _fail(str(error))
        except MemoryError as error:
            return _fail(f"out of memory: {error}")
        except KeyboardInterrupt:
            return _fail("interrupted")


def _with_suggestion(error: DicomCubeError) -> str:
    """Return message and suggestion of an error on one line."""
    suggestion = str(error.suggestion)
    for argument, option in _OPTION_OF_ARGUMENT.items():
        suggestion = suggestion.replace(argument, option)
    return f"{error.message} ({suggestion})"


def _fail(message: str) -> int:
    """Print one line of error; return the exit status."""
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
    """Print one line of warning."""
    print(f"dicube: warning: {one_line(str(message))}", file=sys.stderr)
