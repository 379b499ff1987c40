"""The exceptions of dicube, all of them subclasses of DicomCubeError, and its warning.

An exception is a subclass of Python's builtin one as well, if there is one for its cause: a missing
file raises an InvalidCubeFileError that is a FileNotFoundError. Imports nothing from dicube.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_MOST_SHOWN, _MOST_BITS = 16, 64  # of numbers in an error


class DicomCubeError(Exception):
    """Base class of dicube's exceptions.

    Some functions also raise IndexError, TypeError or ValueError; their docstrings say so.

    Args:
        message: one line: what was expected, what was found, and where.
        context: the operation that failed, such as "from_file".
        suggestion: what the caller can do about it.
        details: further facts by name.

    Attributes:
        message, context, suggestion: as given.
        details: as given; {} by default.

    Example:
        >>> try:
        ...     dicube.open("missing.dcbs")
        ... except dicube.exceptions.DicomCubeError as error:
        ...     print(type(error).__name__, isinstance(error, FileNotFoundError))
        CubeFileNotFoundError True
    """

    default_suggestion: str | None = None

    def __init__(
        self,
        message: str,
        context: str | None = None,
        suggestion: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        self.message = message
        self.context = context
        self.suggestion = suggestion if suggestion is not None else self.default_suggestion
        self.details = dict(details or {})
        super().__init__(message)

    @property
    def text(self) -> str:
        """The message, with the suggestion in parentheses."""
        return f"{self.message} ({self.suggestion})" if self.suggestion else self.message

    def name_source(self, name: str) -> None:
        """Put the name of the file or URL before the message, unless the message contains it."""
        if name and name not in self.message:
            self.message = f"{name}: {self.message}"
            self.args = (self.message,)

    def __str__(self) -> str:
        lines = [f"{self.context}: {self.message}" if self.context else self.message]
        if self.details:
            facts = ", ".join(f"{name}={value!r}" for name, value in self.details.items())
            lines.append(f"Details: {facts}")
        if self.suggestion:
            lines.append(f"Suggestion: {self.suggestion}")
        return "\n".join(lines)


def shown(value: Any) -> str:
    """Return what an error says of a value that it found: numbers, but the length of a text.

    Texts, dates and UIDs may identify a patient, and errors are logged.

    Example:
        >>> from dicube.exceptions import shown
        >>> shown("DOE^JOHN"), shown([1, 2.5])
        ('a text of 8 characters', '[1, 2.5]')
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"an integer of {value.bit_length()} bits"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{len(value)} bytes"
    if not isinstance(value, (list, tuple)):
        return f"a {type(value).__name__}"
    if len(value) <= _MOST_SHOWN and all(isinstance(one, (int, float)) for one in value):
        return f"[{', '.join(map(shown, value))}]"
    return f"{len(value)} values"


def without_quotes(error: BaseException, known: Collection[str] = ()) -> str:
    """Return the message of another library's error on one line, without the texts it quotes.

    Args:
        error: the error.
        known: texts that are kept.
    """
    message = " ".join(str(error).split())
    return _QUOTED.sub(lambda found: found[0] if found[0][1:-1] in known else "'…'", message)


class InvalidCubeFileError(DicomCubeError):
    """The file isn't a dicube file, is damaged or too new, or can't be read or written."""


class CodecError(DicomCubeError):
    """A codestream can't be decoded, or pixels can't be encoded."""


class MetaDataError(DicomCubeError):
    """DICOM metadata is missing, malformed or contradicts itself."""


class NoImagesError(MetaDataError):
    """The source has no images, or none that can form a volume; `store_files` keeps its files.

    Attributes:
        reasons: why the pixels of files can't be part of a volume, by the paths of the files.
    """

    default_suggestion = "dicube.store_files() keeps such files"

    def __init__(self, message: str, reasons: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(message)
        self.reasons = reasons


class DataConsistencyError(DicomCubeError):
    """Arguments are invalid or don't fit each other: shapes, dtypes, counts, sizes."""


class CubeFileNotFoundError(InvalidCubeFileError, FileNotFoundError):
    """The path does not exist."""


class CubeFileAccessError(InvalidCubeFileError, OSError):
    """The operating system refuses to read or write: permissions, a full disk, a broken device."""


class OutOfMemoryError(InvalidCubeFileError, MemoryError):
    """Reading a file needs more memory than there is, or than `max_memory` allows."""


class _ReportingMemory:
    """A context that turns the MemoryError of Python or numpy into an OutOfMemoryError.

    No decorator: that would be a further frame for the stacklevel of warnings.
    """

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: type[BaseException] | None, error: Any, _traceback: Any) -> None:
        """Raise the OutOfMemoryError."""
        if isinstance(error, MemoryError) and not isinstance(error, DicomCubeError):
            raise OutOfMemoryError(str(error) or "there is not enough memory") from error


reporting_memory = _ReportingMemory()


class LeftOutWarning(UserWarning):
    """The image that is read, or the file that is written, lacks objects of its source."""


class MissingPackageError(DicomCubeError, ImportError):
    """An optional package is needed and not installed."""


@contextmanager
def needing(what: str, package: str, extra: str) -> Iterator[None]:
    """Report a package that is missing in this context.

    Args:
        what: needs it.
        package: that is imported.
        extra: of dicube, which installs it.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingPackageError(
            f"{what} needs the package {package}", suggestion=f"pip install 'dicube[{extra}]'"
        ) from error


class TargetExistsError(DicomCubeError, FileExistsError):
    """The target exists, and `overwrite` is False."""
