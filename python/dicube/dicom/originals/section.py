"""Converts `Originals` to the bytes of the section "originals" and back (see FORMAT.md).

Version 1 is written unless something needs version 2. The bytes are untrusted: whatever is wrong
with them raises an InvalidCubeFileError. Must not know elements, pixels or compression.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dicube.dicom.originals.model import (
    LARGEST_RANGE,
    MOST_GROWTH,
    Bulk,
    Bytes,
    Coded,
    Original,
    Originals,
    Piece,
    Recipe,
    Recoded,
    Runs,
    SampleForm,
    Samples,
)
from dicube.exceptions import DataConsistencyError, InvalidCubeFileError, shown
from dicube.strict_json import check_json_memory, parse_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PLAIN, _VERSION = 1, 2  # of the index

_DIGEST = 32  # bytes of a SHA-256
# Copies take no room in the section, but as much as their originals when they are restored.
_MOST_COPIES = 16  # for each file, on average
_COPIES_ALWAYS_ALLOWED = 256 << 20  # bytes
# Equal recipes are stored once, and give their data again with each frame.
_REPEATED_ALWAYS_ALLOWED = 64 << 20  # bytes of such data
_LONGEST_REASON = 1024  # characters
# The writer makes a few for each file and each coded frame; copies hold frames again.
_PIECES_ALWAYS_ALLOWED, _MOST_PIECES_OF_FRAME, _MOST_PIECES_OF_FILE = 1 << 18, 64, 4
# No system takes a longer path; the names of 100 bytes of a packed index could have any length.
_LONGEST_NAME, _MOST_PARTS = 4096, 256
_LENGTH, _RANGE = struct.Struct("<L"), struct.Struct("<4Q")
_ORDERS = ("little", "big", "pairs")
_DRIVE = re.compile(r"[A-Za-z]:")


class StoredRange(NamedTuple):
    """A range of the section `originals_bulk`.

    Attributes:
        offset: in the section.
        stored: number of bytes in the section.
        size: number of bytes that they stand for.
        checksum: of the bytes in the section.
    """

    offset: int
    stored: int
    size: int
    checksum: int


class BulkSource(NamedTuple):
    """The source of the bytes of ranges.

    Attributes:
        size: bytes of the section `originals_bulk`.
        read: returns the bytes that a range stands for, given the fields of a `StoredRange`; raises
            InvalidCubeFileError if the range is damaged.
    """

    size: int
    read: Callable[[int, int, int, int], Bytes]


class StoredBulk(Bulk):
    """A range of the section `originals_bulk`."""

    def __init__(self, where: StoredRange, source: BulkSource) -> None:
        """Take the range, and the source of its bytes."""
        self._where, self._source = where, source

    def __len__(self) -> int:
        return self._where.size

    def __getitem__(self, where: slice, /) -> Bytes:
        return self._source.read(*self._where)[where]

    def chunks(self) -> Iterator[Bytes]:
        """Yield its bytes, all at once."""
        yield self[:]


def originals_to_bytes(
    originals: Originals,
    volume: NDArray[Any],
    store: Callable[[Bytes], tuple[int, int, int, int]] | None = None,
) -> bytes:
    """Return the bytes of the section, before compression.

    Args:
        originals: the originals.
        volume: the samples, unchanged since the files were read.
        store: stores bytes as a range of `originals_bulk`, and returns a `StoredRange`; needed if
            the originals have bulk.

    Raises:
        DataConsistencyError: a file with bulk was changed since it was read.
    """
    import hashlib

    forms: dict[SampleForm, int] = {}
    recipes: dict[Recipe, int] = {}
    literals: list[bytes | memoryview] = []
    ranges: list[tuple[int, int, int, int]] = []
    digests: list[bytes] = []
    entries = []
    for file in originals.with_digests(volume).all_files:
        pieces: list[Any] = []
        has_bulk = any(isinstance(piece, Bulk) for piece in file.pieces)
        is_whole = not any(isinstance(piece, (Samples, Coded, Recoded)) for piece in file.pieces)
        # Made while bulk is in memory.
        digest = hashlib.sha256() if is_whole and (has_bulk or not file.digest) else None
        for piece in file.pieces:
            if isinstance(piece, Samples):
                form = forms.setdefault(piece.form, len(forms))
                pieces.append([form, *chain.from_iterable(piece.runs)])
            elif isinstance(piece, Coded):
                name = "jpeg" if piece.jpeg else "coded"
                pieces.append({name: [piece.frame, piece.start, piece.stop]})
            elif isinstance(piece, Recoded):
                recipe = recipes.setdefault(piece.recipe, len(recipes))
                pieces.append({"recoded": [recipe, *piece[1:]]})
            elif isinstance(piece, Bulk):
                assert store is not None
                for chunk in piece.chunks():
                    pieces.append({"bulk": len(ranges)})
                    ranges.append(store(chunk))
                    if digest is not None:
                        digest.update(chunk)
            else:
                if digest is not None:
                    digest.update(piece)
                pieces.append(len(piece))
                literals.append(piece)
        entry: dict[str, Any] = {"name": file.name, "pieces": pieces}
        if file.frames:
            entry["frames"] = list(chain.from_iterable(file.frames))
        if file.why:
            entry["why"] = file.why[:_LONGEST_REASON]
        if digest is not None and file.digest and digest.digest() != file.digest:
            raise DataConsistencyError(f"{file.label} was changed since it was read")
        entries.append(entry)
        digests += [file.digest if digest is None else digest.digest(), file.frames_digest]
    is_plain = not (originals.others or recipes or ranges)
    index: dict[str, Any] = {
        "version": _PLAIN if is_plain else _VERSION,
        "forms": list(forms),
        "files": entries[: len(originals.files)],
    }
    if originals.copies:
        index["copies"] = entries[len(originals.files) : len(entries) - len(originals.others)]
    if not is_plain:
        index["recipes"] = list(map(_document_of, recipes))
        index["bulk"] = len(ranges)
        index["others"] = entries[len(entries) - len(originals.others) :]
    text = json.dumps(index, separators=(",", ":")).encode()
    table = (_RANGE.pack(*place) for place in ranges)
    data = (recipe.data for recipe in recipes)
    return b"".join([_LENGTH.pack(len(text)), text, *digests, *table, *data, *literals])


def originals_from_bytes(
    data: bytes,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    codec: str,
    bulk: BulkSource | None = None,
    packed: int | None = None,
    max_memory: int | None = None,
    holding: bytes = b"",
) -> Originals:
    """Return the originals from the bytes of the section.

    Args:
        data: the bytes, after decompression.
        shape: shape of the volume.
        dtype: dtype of the volume.
        codec: name of the codec of the dicube file's frames in `dicube.codecs`.
        bulk: the source of the ranges of `originals_bulk`; None if the file has no such section.
        packed: the size of the section before decompression; None for that of `data`.
        max_memory: the most bytes that parsing the index may take; None for a limit by `packed`.
        holding: return only the files that have these bytes among those stored in the section, and
            check only their pieces; b"" for all files.

    Raises:
        InvalidCubeFileError: the bytes don't describe originals of such a volume.
        OutOfMemoryError: (an InvalidCubeFileError too) the index takes more than `max_memory`.
    """
    text = index_of(data)
    try:
        check_json_memory(text, len(data) if packed is None else packed, max_memory)
        index = parse_json(text)
    except InvalidCubeFileError as error:
        raise type(error)(f"section originals: {error.message}") from error
    except ValueError as error:
        raise _fault(f"the index is not JSON: {error}") from None
    version = index.get("version") if isinstance(index, dict) else None
    if type(version) is not int or version not in (_PLAIN, _VERSION):
        raise _fault(f"expected an index of version {_PLAIN} or {_VERSION}, found {shown(version)}")
    if version == _PLAIN:  # which has no other keys
        index = {key: index[key] for key in ("forms", "files", "copies") if key in index}
    forms = [_form(form) for form in _list(index.get("forms"))]
    files = _list(index.get("files"))
    copies, others = _list(index.get("copies", [])), _list(index.get("others", []))
    cursor = _Cursor(memoryview(data), _LENGTH.size + len(text))
    entries = [*files, *copies, *others]
    # Where the digests of each file begin; and, if they are needed, the literals of each.
    digests: list[int] = []
    place, count, literals, ends = cursor.position, 0, 0, [0]
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise _fault("a file has no name")
        digests.append(place)
        place += _DIGEST * 2 if entry.get("frames") else _DIGEST
        count += len(_list(entry.get("pieces")))
        if holding:
            literals += sum(p for p in entry["pieces"] if p.__class__ is int and p > 0)
            ends.append(literals)
    cursor.take(place - cursor.position)
    if fault := _fault_of_count(count, shape[0], len(entries)):
        raise _fault(fault)
    ranges = _Ranges(cursor, index.get("bulk", 0), bulk)
    recipes = [_recipe(recipe, cursor) for recipe in _list(index.get("recipes", []))]

    def original(number: int) -> Original:
        entry, place = entries[number], digests[number]
        pieces = (_piece(piece, forms, recipes, ranges, cursor) for piece in entry["pieces"])
        if holding:  # a view would keep the section in memory for one file
            pieces = (bytes(p) if isinstance(p, memoryview) else p for p in pieces)
        runs = _runs(_list(entry["frames"])) if entry.get("frames") else ()
        middle = place + _DIGEST
        return Original(
            entry["name"],
            bytes(data[place:middle]),
            tuple(pieces),
            runs,
            bytes(data[middle : middle + _DIGEST]) if runs else b"",
            _reason(entry.get("why", "")),
        )

    found: dict[int, Original] = {}
    if holding:
        first = cursor.position
        for number in _numbers_holding(holding, data, first, ends):
            cursor.position = first + ends[number]
            found[number] = original(number)
    else:
        found = {number: original(number) for number in range(len(entries))}
        ranges.check_used()
    # Originals with uncompressed samples have no coded frames, whatever the dicube file's codec.
    are_coded = any(isinstance(piece, Coded) for file in found.values() for piece in file.pieces)
    first_copy, first_other = len(files), len(files) + len(copies)
    originals = Originals(
        tuple(file for number, file in found.items() if number < first_copy),
        shape,
        dtype,
        codec if are_coded else "",
        copies=tuple(f for number, f in found.items() if first_copy <= number < first_other),
        others=tuple(file for number, file in found.items() if number >= first_other),
    )
    if holding:
        fault = _fault_of_repeated(originals) or _fault_of_each(originals)
    else:
        if not cursor.at_end:
            raise _fault("there are bytes that belong to no file")
        fault = fault_of(originals)
    if fault:
        raise _fault(fault)
    return originals


def _numbers_holding(text: bytes, data: bytes, first: int, ends: Sequence[int]) -> list[int]:
    """Return the numbers of the files that have a text in their bytes.

    Args:
        text: the text.
        data: the section.
        first: where the bytes of the first file begin.
        ends: how far behind that those of each file begin, and where those of the last one end.
    """
    found: dict[int, None] = {}
    at = data.find(text, first)
    while 0 <= at < first + ends[-1]:
        found[bisect_right(ends, at - first) - 1] = None
        at = data.find(text, at + 1)
    return list(found)


def index_of(data: bytes) -> memoryview:
    """Return the JSON in the bytes of the section."""
    length = _LENGTH.unpack_from(data)[0] if len(data) >= _LENGTH.size else len(data)
    if _LENGTH.size + length > len(data):
        raise _fault("the index is cut off")
    return memoryview(data)[_LENGTH.size : _LENGTH.size + length]


def fault_of(originals: Originals) -> str:
    """Return the reason why originals can't be stored or are invalid; '' if there is none."""
    files = originals.all_files
    count = sum(len(file.pieces) for file in files)
    if fault := _fault_of_count(count, originals.shape[0], len(files)):
        return fault
    names = [file.name for file in files]
    for name in names:
        if len(name) > _LONGEST_NAME or name.count("/") >= _MOST_PARTS:
            return f"a name has {len(name)} characters in {name.count('/') + 1} parts"
        if _is_unsafe(name):
            return f"the name of an original file ({shown(name)}) is not a path within a folder"
    # What is in a folder follows the name of the folder if "/" comes before all other characters.
    ordered = sorted(name.replace("/", "\0") for name in names)
    if any(f"{later}\0".startswith(f"{name}\0") for name, later in pairwise(ordered)):
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
            return f"{copy.label} is no copy: no file holds the same frames"
    copied = sum(count for copy in originals.copies for _, count in copy.all_runs())
    size = copied * math.prod(originals.shape[1:]) * originals.dtype.itemsize
    if copied > _MOST_COPIES * originals.shape[0] and size > _COPIES_ALWAYS_ALLOWED:
        return (
            f"{len(originals.copies)} copies hold {size} bytes of samples, more than "
            f"{_COPIES_ALWAYS_ALLOWED} and more than {_MOST_COPIES} times those of the volume"
        )
    if fault := _fault_of_repeated(originals):
        return fault
    if fault := _fault_of_each(originals):
        return fault
    return _fault_of_coded(originals.files)


def _fault_of_each(originals: Originals) -> str:
    """Return what is wrong with any file on its own; '' if all are valid."""
    for other in originals.others:
        if any(other.all_runs()) or any(isinstance(p, (Coded, Recoded)) for p in other.pieces):
            return f"{other.label} holds frames, which files among the others can't"
    for file in (*originals.files, *originals.copies):
        if (
            sum(count for _, count in file.all_runs()) > originals.shape[0]
            or max(map(sum, file.all_runs()), default=0) > originals.shape[0]
        ):
            return f"expected files with {originals.shape[0]} frames, found a further one"
        own = set(file.all_numbers())
        coded = (piece for piece in file.pieces if isinstance(piece, (Coded, Recoded)))
        if not all(piece.frame in own for piece in coded):
            return f"{file.label} has bytes of frames that it does not hold"
        if fault := _fault_of_recoded(file) or _fault_of_coded((file,)):
            return fault
    return ""


def _fault_of_count(pieces: int, frames: int, files: int) -> str:
    """Return that originals have too many pieces; '' if they don't."""
    most = _MOST_PIECES_OF_FRAME * frames + _MOST_PIECES_OF_FILE * files
    most = max(_PIECES_ALWAYS_ALLOWED, most)
    return f"expected at most {most} pieces of files, found {pieces}" if pieces > most else ""


def _frames_of(file: Original) -> Runs:
    return tuple(sorted(file.all_runs()))


def _fault_of_coded(files: Sequence[Original]) -> str:
    """Return what is wrong with the ranges of coded frames in files; '' if they are valid."""
    ends: dict[int, int] = {}
    for coded in (p for file in files for p in file.pieces if isinstance(p, Coded)):
        end = ends.get(coded.frame, 0)
        # A segment that was added to a JPEG leaves a gap.
        if coded.start < end or (coded.start > end and not coded.jpeg) or coded.stop <= coded.start:
            return f"the bytes of frame {coded.frame} are missing or repeated"
        ends[coded.frame] = coded.stop
    return ""


def _fault_of_repeated(originals: Originals) -> str:
    """Return that equal recipes give too many bytes; '' if they don't."""
    used = {
        (number, piece.frame): piece.recipe
        for number, file in enumerate((*originals.files, *originals.copies))
        for piece in file.pieces
        if isinstance(piece, Recoded)
    }
    stored = sum(len(recipe.data) for recipe in set(used.values()))
    repeated = sum(len(recipe.data) for recipe in used.values()) - stored
    most = math.prod(originals.shape) * originals.dtype.itemsize
    most = max(_REPEATED_ALWAYS_ALLOWED, most)
    if repeated > most:
        return f"equal recipes repeat {repeated} bytes, more than {most}"
    return ""


def _fault_of_recoded(file: Original) -> str:
    """Return what is wrong with the recoded frames of a file; '' if they are valid.

    The pieces of a frame follow each other, so that it is coded only once to restore the file.
    """
    done: dict[int, Recoded] = {}
    last = -1
    for piece in (p for p in file.pieces if isinstance(p, Recoded)):
        before = done.get(piece.frame)
        expected = 0 if before is None else before.stop
        if (
            piece.start != expected
            or piece.stop <= piece.start
            or (before is not None and (last != piece.frame or before.recipe != piece.recipe))
        ):
            return f"the bytes of frame {piece.frame} are missing, repeated or apart"
        done[piece.frame], last = piece, piece.frame
    return ""


def _is_unsafe(name: str) -> bool:
    """Return whether a name may lead out of the folder that files are restored to."""
    parts = name.split("/")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # half of a surrogate pair
        return True
    return bool(
        "\0" in name
        or any(part in ("", ".", "..") for part in parts)
        or _DRIVE.match(name)
        or (os.sep != "/" and os.sep in name)
    )


class _Cursor:
    """Reads bytes part by part."""

    def __init__(self, data: memoryview, position: int) -> None:
        self._data, self.position = data, position

    def take(self, length: int) -> memoryview:
        """Return the next `length` bytes."""
        start, stop = self.position, self.position + length
        if stop > len(self._data):
            raise _fault(f"expected {length} bytes at {start}, found {len(self._data) - start}")
        self.position = stop
        return self._data[start:stop]

    @property
    def at_end(self) -> bool:
        return self.position == len(self._data)


class _Ranges:
    """The table of the ranges of `originals_bulk`, each of which belongs to one piece."""

    def __init__(self, cursor: _Cursor, count: Any, source: BulkSource | None) -> None:
        """Read the table and check it against the size of the section."""
        if not _is_count(count):
            raise _fault(f"expected a number of ranges, found {shown(count)}")
        table = cursor.take(count * _RANGE.size)
        self._ranges = [StoredRange(*numbers) for numbers in _RANGE.iter_unpack(table)]
        self._unused = set(range(count))
        self._source = source
        size = 0 if source is None else source.size
        for place in self._ranges:
            most = min(LARGEST_RANGE, place.stored * MOST_GROWTH)
            if not 0 < place.stored <= place.size <= most:
                raise _fault(f"a range stores {place.size} bytes as {place.stored}")
            if place.offset + place.stored > size:
                raise _fault(
                    f"{place.stored} bytes at {place.offset} are beyond the {size} bytes of "
                    "section originals_bulk"
                )
        for one, other in pairwise(sorted(self._ranges)):
            if one.offset + one.stored > other.offset:
                raise _fault(f"ranges of section originals_bulk overlap at {other.offset}")

    def take(self, index: int) -> StoredBulk:
        """Return the piece of a range."""
        if self._source is None or index not in self._unused:
            raise _fault(f"range {index} of section originals_bulk is missing or used twice")
        self._unused.remove(index)
        return StoredBulk(self._ranges[index], self._source)

    def check_used(self) -> None:
        """Raise if a range belongs to no piece."""
        if self._unused:
            raise _fault(f"range {min(self._unused)} of section originals_bulk is in no file")


def _document_of(recipe: Recipe) -> dict[str, Any]:
    """Return the record of a recipe in the index."""
    size = {"bytes": len(recipe.data)} if recipe.data else {}
    return {"kind": recipe.kind, **size, **json.loads(recipe.keys)}


def _recipe(document: Any, cursor: _Cursor) -> Recipe:
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise _fault("a recipe has no kind")
    size = document.get("bytes", 0)
    if not _is_count(size):
        raise _fault(f"expected the number of a recipe's bytes, found {shown(size)}")
    keys = {key: value for key, value in document.items() if key not in ("kind", "bytes")}
    return Recipe(document["kind"], bytes(cursor.take(size)), json.dumps(keys))


def _reason(document: Any) -> str:
    if not isinstance(document, str) or len(document) > _LONGEST_REASON:
        raise _fault(f"expected a reason of at most {_LONGEST_REASON} characters")
    return document


def _form(document: Any) -> SampleForm:
    form = _list(document)
    if len(form) != 3 or form[0] not in _ORDERS or not all(type(f) is bool for f in form[1:]):
        raise _fault(f"expected a form of samples, found {shown(document)}")
    return SampleForm(*form)


def _piece(
    document: Any,
    forms: Sequence[SampleForm],
    recipes: Sequence[Recipe],
    ranges: _Ranges,
    cursor: _Cursor,
) -> Piece:
    if isinstance(document, list):
        if not document or not _is_count(document[0]) or document[0] >= len(forms):
            raise _fault(f"expected a piece of a file, found {shown(document)}")
        return Samples(forms[document[0]], _runs(document[1:]))
    if isinstance(document, dict) and len(document) == 1:
        ((name, value),) = document.items()
        numbers = value if isinstance(value, list) and all(map(_is_count, value)) else []
        if name in ("coded", "jpeg") and len(numbers) == 3:
            frame, start, stop = numbers
            return Coded(frame, start, stop, name == "jpeg")
        if name == "recoded" and len(numbers) == 4:
            recipe, frame, start, stop = numbers
            if recipe < len(recipes):
                return Recoded(recipes[recipe], frame, start, stop)
        if name == "bulk" and _is_count(value):
            return ranges.take(value)
    elif _is_count(document):
        return cursor.take(document)
    raise _fault(f"expected a piece of a file, found {shown(document)}")


def _runs(numbers: Sequence[Any]) -> Runs:
    if not numbers or len(numbers) % 2 or not all(map(_is_count, numbers)) or 0 in numbers[1::2]:
        raise _fault(f"expected runs of frames, found {shown(list(numbers))}")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _list(document: Any) -> list[Any]:
    if not isinstance(document, list):
        raise _fault(f"expected a list, found {type(document).__name__}")
    return document


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 62


def _fault(problem: str) -> InvalidCubeFileError:
    return InvalidCubeFileError(f"section originals: {problem}")
