"""Finds the files that a DICOMDIR names (PS3.3 F.3, PS3.10 8.2). Must not know what they hold."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from dicube.dicom.elements.quiet import pydicom_quiet
from dicube.dicom.files.encoding import Encoding, encoding_of
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    MetaDataError,
)
from dicube.regular_files import open_regular

_RECORDS, _IN_USE, _FILE_ID = 0x00041220, 0x00041410, 0x00041500
_CLASS = b"1.2.840.10008.1.3.10"  # Media Storage Directory


def is_dicomdir(start: bytes) -> bool:
    """Return whether a file is a DICOMDIR, given its first 512 bytes."""
    return start[128:132] == b"DICM" and _CLASS + b"\0" * (len(_CLASS) % 2) in start


def named_files(path: str) -> list[str]:
    """Return the paths of the files that a DICOMDIR names, below its own folder.

    Names are compared without regard to case, because media are often copied to lower case.

    Raises:
        CubeFileNotFoundError: none of the files exists.
        CubeFileAccessError: the operating system refuses to read it, or to list a folder.
        DataConsistencyError: it names no files, or one outside its folder.
        MetaDataError: it is damaged.

    Warns:
        UserWarning: files are missing; counts them.
    """
    folder, folders = os.path.dirname(path), _Folders()
    found: dict[str, None] = {}
    missing = 0
    for parts in _names(path):
        if any(_leads_elsewhere(part) for part in parts):
            raise DataConsistencyError(f"{path}: expected names of files in its folder")
        file = folders.file(folder, parts)
        if file is None:
            missing += 1
        else:
            found[file] = None
    if not found and not missing:
        raise DataConsistencyError(f"{path} names no files")
    text = f"{path}: {missing} of {len(found) + missing} files are missing"
    if not found:
        raise CubeFileNotFoundError(text)
    if missing:
        warnings.warn(text, stacklevel=2)
    return list(found)


def _names(path: str) -> list[list[str]]:
    """Return the components of each name in the records that are in use."""
    try:
        with pydicom_quiet():  # it warns of names in lower case
            records = _elements(path).get(_RECORDS)
            used = [r for r in (records.value if records else ()) if _is_used(r)]
            ids = [record[_FILE_ID].value for record in used if _FILE_ID in record]
        return [[one] if isinstance(one, str) else list(map(str, one)) for one in ids if one]
    except OSError as error:
        raise CubeFileAccessError(f"can't read {path}: {error.strerror}") from error
    except Exception as error:  # pydicom raises all kinds of exceptions for malformed bytes
        raise MetaDataError(f"{path} is a damaged DICOMDIR: {type(error).__name__}") from None


def _elements(path: str) -> Dataset:
    """Return the elements, which are never deflated: pydicom's `dcmread` inflates without limit."""
    with open_regular(path) as file:
        data = BytesIO(file.read())  # a file would allocate whatever length an element claims
    data.seek(132)
    meta = read_dataset(data, *Encoding(False, True), stop_when=lambda tag, *_: tag >> 16 != 2)
    start = data.getbuffer()[data.tell() : data.tell() + 8]
    return read_dataset(data, *encoding_of(bytes(start), str(meta.get("TransferSyntaxUID", ""))))


def _leads_elsewhere(part: str) -> bool:
    """Return whether a component of a name may be more than the name of a file or folder."""
    is_separated = bool(set(part) & set("/\\\0") or os.path.splitdrive(part)[0])
    return part in ("", ".", "..") or is_separated


def _is_used(record: Dataset) -> bool:
    return _IN_USE not in record or record[_IN_USE].value != 0


class _Folders:
    """Finds names in folders; each folder that lacks a name as it is written is listed once."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str]] = {}

    def file(self, folder: str, parts: Sequence[str]) -> str | None:
        """Return the path of a file below a folder; None if there is none."""
        path = folder
        for part in parts:
            exact = os.path.join(path, part)
            if not os.path.exists(exact):
                name = self._listed(path).get(part.lower())
                if name is None:
                    return None
                exact = os.path.join(path, name)
            path = exact
        return path if os.path.isfile(path) else None

    def _listed(self, folder: str) -> dict[str, str]:
        """Return the names in a folder by lower case, without the versions of ISO 9660."""
        if folder not in self._names:
            place = folder or os.curdir
            try:
                names = os.listdir(place) if os.path.isdir(place) else []
            except OSError as error:
                raise CubeFileAccessError(f"can't read {place}: {error.strerror}") from error
            known = {name.partition(";")[0].rstrip(".").lower(): name for name in names}
            self._names[folder] = known
        return self._names[folder]
