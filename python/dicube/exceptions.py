"""The exceptions of dicube: one tree, so that one `except DicomCubeError` catches them all.

Imports nothing of dicube. A failure that Python has a builtin exception for is that builtin as
well: a missing file is both an InvalidCubeFileError and a FileNotFoundError.
"""

from __future__ import annotations

from typing import Any


class DicomCubeError(Exception):
    """Base of every exception that dicube raises on purpose.

    Args:
        message: what went wrong, with the numbers, on one line.
        context: what was being done, e.g. "from_file".
        suggestion: what the caller can do about it.
        details: further facts by name.

    Attributes:
        context, suggestion, details: as given; `details` is {} when none were.
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

    def __str__(self) -> str:
        lines = [f"{self.context}: {self.message}" if self.context else self.message]
        if self.details:
            facts = ", ".join(f"{name}={value!r}" for name, value in self.details.items())
            lines.append(f"Details: {facts}")
        if self.suggestion:
            lines.append(f"Suggestion: {self.suggestion}")
        return "\n".join(lines)


class InvalidCubeFileError(DicomCubeError):
    """Not a dicube file, a damaged or newer one, or one that can't be read or written."""


class CodecError(DicomCubeError):
    """A codestream that can't be decoded, or pixels that can't be encoded."""


class MetaDataError(DicomCubeError):
    """DICOM metadata that is missing, malformed or contradicts itself."""


class DataConsistencyError(DicomCubeError):
    """Arguments that don't fit each other: shapes, dtypes, counts, sizes."""


class CubeFileNotFoundError(InvalidCubeFileError, FileNotFoundError):
    """The path does not exist."""


class CubeFileAccessError(InvalidCubeFileError, OSError):
    """The operating system refused a read or a write: permission, a full disk, a broken device."""


class OutOfMemoryError(InvalidCubeFileError, MemoryError):
    """What a file says it holds takes more memory than there is, or than `max_memory` allows."""


class MissingPackageError(DicomCubeError, ImportError):
    """A package that is not installed with dicube by default is needed."""


class TargetExistsError(DicomCubeError, FileExistsError):
    """The target holds something that writing would replace, and `overwrite` was not asked for."""
