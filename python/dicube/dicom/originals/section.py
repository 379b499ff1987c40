"""Converts `Originals` to the bytes of the section "originals" and back (see FORMAT.md).

The bytes are untrusted: whatever is wrong with them raises an InvalidCubeFileError. Must not know
elements, pixels or compression.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.dicom.originals.model import (
    Coded,
    Original,
    Originals,
    Piece,
    Runs,
    SampleForm,
    Samples,
)
from dicube.exceptions import InvalidCubeFileError
from dicube.strict_json import parse_json

VERSION = 1

_DIGEST = 32  # bytes of a SHA-256
_ORDERS = ("little", "big", "pairs")
_DRIVE = re.compile(r"[A-Za-z]:")


def originals_to_bytes(originals: Originals, volume: NDArray[Any]) -> bytes:
    """Return the bytes of the section, before compression.

    Args:
        originals: the originals.
        volume: the samples, unchanged since the files were read.
    """
    originals = originals.with_digests(volume)
    forms: dict[SampleForm, int] = {}
    literals: list[bytes | memoryview] = []
    digests: list[bytes] = []
    entries = []
    for file in originals.all_files:
        pieces: list[Any] = []
        for piece in file.pieces:
            if isinstance(piece, Samples):
                form = forms.setdefault(piece.form, len(forms))
                pieces.append([form, *chain.from_iterable(piece.runs)])
            elif isinstance(piece, Coded):
                name = "jpeg" if piece.jpeg else "coded"
                pieces.append({name: [piece.frame, piece.start, piece.stop]})
            else:
                pieces.append(len(piece))
                literals.append(piece)
        entry: dict[str, Any] = {"name": file.name, "pieces": pieces}
        if file.frames:
            entry["frames"] = list(chain.from_iterable(file.frames))
        entries.append(entry)
        digests += [file.digest, file.frames_digest]
    count = len(originals.files)
    index = {"version": VERSION, "forms": list(forms), "files": entries[:count]}
    if originals.copies:
        index["copies"] = entries[count:]
    text = json.dumps(index, separators=(",", ":")).encode()
    return b"".join([struct.pack("<L", len(text)), text, *digests, *literals])


def originals_from_bytes(
    data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], codec: str
) -> Originals:
    """Return the originals from the bytes of the section.

    Args:
        data: the bytes, after decompression.
        shape: shape of the volume.
        dtype: dtype of the volume.
        codec: name of the codec of the dicube file's frames in `dicube.codecs`.

    Raises:
        InvalidCubeFileError: the bytes don't describe originals of such a volume.
    """
    length = struct.unpack_from("<L", data)[0] if len(data) >= 4 else len(data)
    if 4 + length > len(data):
        raise _fault("the index is cut off")
    try:
        index = parse_json(data[4 : 4 + length])
    except ValueError as error:
        raise _fault(f"the index is not JSON: {error}") from None
    if not isinstance(index, dict) or index.get("version") != VERSION:
        raise _fault(f"expected an index of version {VERSION}")
    forms = [_form(form) for form in _list(index.get("forms"))]
    entries = _list(index.get("files"))
    count = len(entries)
    entries = entries + _list(index.get("copies", []))
    cursor = _Cursor(memoryview(data), 4 + length)
    heads = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise _fault("a file has no name")
        runs = _runs(_list(entry["frames"])) if entry.get("frames") else ()
        digest = bytes(cursor.take(_DIGEST))
        heads.append((entry, runs, digest, bytes(cursor.take(_DIGEST)) if runs else b""))
    files = tuple(
        Original(
            entry["name"],
            digest,
            tuple(_piece(piece, forms, cursor) for piece in _list(entry.get("pieces"))),
            runs,
            frames_digest,
        )
        for entry, runs, digest, frames_digest in heads
    )
    # Originals with uncompressed samples have no coded frames, whatever the dicube file's codec.
    are_coded = any(isinstance(piece, Coded) for file in files for piece in file.pieces)
    originals = Originals(
        files[:count], shape, dtype, codec if are_coded else "", copies=files[count:]
    )
    if not cursor.at_end:
        raise _fault("there are bytes that belong to no file")
    fault = fault_of(originals)
    if fault:
        raise _fault(fault)
    return originals


def fault_of(originals: Originals) -> str:
    """Return the reason why originals can't be stored or are invalid; '' if there is none."""
    names = [file.name for file in originals.all_files]
    for name in names:
        if _is_unsafe(name):
            return f"{name!r} is not a path within a folder"
    folders = {parent for name in names for parent in _parents(name)}
    if len(set(names)) < len(names) or folders & set(names):
        return "two files have the same name"
    end = 0
    for first, count in sorted(run for file in originals.files for run in file.all_runs()):
        if first != end:
            return f"frame {min(first, end)} is in no file or in several"
        end += count
    if end != originals.shape[0]:
        return f"expected files with {originals.shape[0]} frames, found {end}"
    held = {_frames_of(file) for file in originals.files}
    for copy in originals.copies:
        if _frames_of(copy) not in held:
            return f"{copy.name} is no copy: no file holds the same frames"
    groups = (originals.files, *((copy,) for copy in originals.copies))
    return next(filter(None, map(_fault_of_coded, groups)), "")


def _frames_of(file: Original) -> Runs:
    return tuple(sorted(file.all_runs()))


def _fault_of_coded(files: Sequence[Original]) -> str:
    """Return what is wrong with the ranges of coded frames in files; '' if they are valid."""
    ends: dict[int, int] = {}
    for coded in (p for file in files for p in file.pieces if isinstance(p, Coded)):
        end = ends.get(coded.frame, 0)
        # A segment that was added to a JPEG leaves a gap.
        if coded.start < end or (coded.start > end and not coded.jpeg) or coded.stop < coded.start:
            return f"the bytes of frame {coded.frame} are missing or repeated"
        ends[coded.frame] = coded.stop
    return ""


def _is_unsafe(name: str) -> bool:
    """Return whether a name may lead out of the folder that files are restored to."""
    parts = name.split("/")
    return bool(
        "\0" in name
        or any(part in ("", ".", "..") for part in parts)
        or _DRIVE.match(name)
        or (os.sep != "/" and os.sep in name)
    )


def _parents(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


class _Cursor:
    """Reads bytes part by part."""

    def __init__(self, data: memoryview, position: int) -> None:
        self._data, self._position = data, position

    def take(self, length: int) -> memoryview:
        """Return the next `length` bytes."""
        start, stop = self._position, self._position + length
        if stop > len(self._data):
            raise _fault(f"expected {length} bytes at {start}, found {len(self._data) - start}")
        self._position = stop
        return self._data[start:stop]

    @property
    def at_end(self) -> bool:
        return self._position == len(self._data)


def _form(document: Any) -> SampleForm:
    form = _list(document)
    if len(form) != 3 or form[0] not in _ORDERS or not all(type(f) is bool for f in form[1:]):
        raise _fault(f"expected a form of samples, found {document!r}")
    return SampleForm(*form)


def _piece(document: Any, forms: Sequence[SampleForm], cursor: _Cursor) -> Piece:
    if isinstance(document, list):
        if not document or not _is_count(document[0]) or document[0] >= len(forms):
            raise _fault(f"expected a piece of a file, found {document!r}")
        return Samples(forms[document[0]], _runs(document[1:]))
    if isinstance(document, dict):
        for name, jpeg in (("coded", False), ("jpeg", True)):
            numbers = document.get(name)
            if isinstance(numbers, list) and len(numbers) == 3 and all(map(_is_count, numbers)):
                frame, start, stop = numbers
                return Coded(frame, start, stop, jpeg)
    elif _is_count(document):
        return cursor.take(document)
    raise _fault(f"expected a piece of a file, found {document!r}")


def _runs(numbers: Sequence[Any]) -> Runs:
    if not numbers or len(numbers) % 2 or not all(map(_is_count, numbers)) or 0 in numbers[1::2]:
        raise _fault(f"expected runs of frames, found {list(numbers)!r}")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _list(document: Any) -> list[Any]:
    if not isinstance(document, list):
        raise _fault(f"expected a list, found {type(document).__name__}")
    return document


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 62


def _fault(problem: str) -> InvalidCubeFileError:
    return InvalidCubeFileError(f"section originals: {problem}")
