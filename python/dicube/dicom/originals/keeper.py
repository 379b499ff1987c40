"""Collects, while DICOM files are read, what is needed to restore them byte for byte.

Must not know metadata or dicube files.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from dicube.codecs.recipes import find_recipe
from dicube.codecs.records import record_of
from dicube.dicom.dicom_tags import uid_name
from dicube.dicom.files.coded_frames import CodedPixels, split_frames
from dicube.dicom.files.instance import Instance
from dicube.dicom.files.sources import DatasetInMemory, Source
from dicube.dicom.files.volume import frame_layout
from dicube.dicom.originals.model import (
    BIG,
    IN_MEMORY,
    LITTLE,
    PAIRS,
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
    digest_of,
    frames_digest,
    frames_in,
    runs_of,
    size_of,
)
from dicube.dicom.originals.section import fault_of
from dicube.dicom.transfer_syntaxes import RECIPE_KINDS, coded_syntax_of
from dicube.exceptions import CubeFileAccessError, DataConsistencyError

# Files without frames are kept in memory, like the headers of images, only if they are small, and
# only so many. All together they compress well.
_MOST_IN_MEMORY = 1 << 16
_MOST_TOGETHER = 1 << 26

_CLASS_UID = 0x00080016
_RANGE_SIZE = 1 << 24  # bytes of a file read at a time


class OriginalsKeeper:
    """Collects what restores the files of a series while their pixels are read."""

    def __init__(
        self,
        source: Source,
        instances: Sequence[Instance],
        slices: Sequence[Sequence[int]],
        others: Sequence[Instance] = (),
        reasons: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Prepare for the files of a series.

        Args:
            source: the source that the files were found in; their names are relative to it.
            instances: the files with the frames of the volume.
            slices: for each file, the slices that its frames become, in the order of the frames.
            others: further files of the series.
            reasons: why the pixels of `others` are not in the volume, by their paths.
        """
        self._instances, self._slices, self._reasons = instances, slices, reasons
        self._others = [other for other in others if not other.in_memory]
        paths = [file.path for instance in instances for file in _with_copies(instance)]
        paths += [other.path for other in self._others]
        self._names = dict(zip(paths, names_in(source, paths), strict=True))
        self._files: list[Original | None] = [None] * len(instances)
        self._copies: list[list[Original | None]] = [[]] * len(instances)
        self._coded: list[CodedPixels | None] = [None] * len(instances)

    def keep(self, index: int, volume: NDArray[Any], coded: CodedPixels | None) -> None:
        """Add a file whose frames were read into the volume: `on_read` of `volume.read_volume`."""
        instance, slices = self._instances[index], self._slices[index]
        several = bool(instance.copies)
        file, *copies = (
            original_of(one, self._names[one.path], volume, slices, coded, hashed=several)
            for one in _with_copies(instance)
        )
        self._files[index], self._copies[index], self._coded[index] = file, copies, coded

    def originals(self, volume: NDArray[Any]) -> Originals | str:
        """Return the originals after all files were added; or the reason why there can be none."""
        codec = self._commonest_codec()
        frames = [b""] * len(volume) if codec else []
        for index, coded in enumerate(self._coded):
            if coded is not None and coded.codec.name != codec:
                syntax = coded_syntax_of(self._instances[index].transfer_syntax)
                title = coded.codec.label if syntax is None else syntax.title
                self._keep_coded(index, f"frames in {title} among {record_of(codec).label} frames")
            elif coded is not None:
                for number, frame in zip(self._slices[index], coded.frames, strict=True):
                    frames[number] = frame
        files = []
        for instance, file in zip(self._instances, self._files, strict=True):
            if file is None:
                return f"{instance.path} was a dataset in memory and not a file"
            files.append(file)
        originals = Originals(
            tuple(files),
            volume.shape,
            volume.dtype,
            codec,
            tuple(frames),
            self._further_copies(files),
            files_without_frames(self._others, self._names, self._reasons),
        )
        return fault_of(originals) or originals

    def _commonest_codec(self) -> str:
        """Return the name of the codec of most coded frames; '' if there are none."""
        counts = Counter[str]()
        for coded, slices in zip(self._coded, self._slices, strict=True):
            if coded is not None:
                counts[coded.codec.name] += len(slices)
        return max(sorted(counts), key=counts.__getitem__, default="")

    def _keep_coded(self, index: int, why: str) -> None:
        """Keep the coded frames of a file and its copies as they are."""

        def kept(instance: Instance, file: Original | None) -> Original | None:
            if file is None:
                return None
            return file.keeping(
                lambda offset, pieces: FileBulk(instance, offset, sum(map(size_of, pieces))), why
            )

        instances = _with_copies(self._instances[index])
        files = [self._files[index], *self._copies[index]]
        self._files[index], *self._copies[index] = map(kept, instances, files)

    def _further_copies(self, files: Sequence[Original]) -> tuple[Original, ...]:
        """Return the copies, but for files that were given twice (same name and digest)."""
        known = {(file.name, file.digest) for file in files}
        copies = (file for found in self._copies for file in found if file is not None)
        others = {(file.name, file.digest): file for file in copies}
        return tuple(file for key, file in others.items() if key not in known)


class FileBulk(Bulk):
    """A file, or some of its bytes, that is read again when the bytes are needed."""

    def __init__(self, instance: Instance, offset: int = 0, length: int | None = None) -> None:
        """Take the file, and its state by which a change can be detected.

        Args:
            instance: the file.
            offset: of the first byte.
            length: number of bytes; None for all.
        """
        assert not isinstance(instance.source, DatasetInMemory)
        self._path, self._source, self._offset = instance.path, instance.source, offset
        self._size = instance.size - offset if length is None else length
        self._state = self._state_now()

    def __len__(self) -> int:
        return self._size

    def problem(self) -> str:
        """Return that the file is no longer the one that was read; '' if it is."""
        if self._state_now() == self._state:
            return ""
        return f"{self._path} was changed or removed since it was read"

    def chunks(self) -> Iterator[Bytes]:
        """Yield the bytes.

        Raises:
            DataConsistencyError: the file was changed since it was read.
            CubeFileAccessError: the operating system refuses to read.
        """
        left = self._size
        try:
            with self._source.open() as file:
                file.seek(self._offset)
                while left > 0:
                    chunk = file.read(min(left, _RANGE_SIZE)) or b""
                    left -= len(chunk)
                    if problem := self.problem() or ("" if chunk else f"{self._path} is cut off"):
                        raise DataConsistencyError(problem)
                    yield chunk
        except OSError as error:
            raise CubeFileAccessError(f"can't read {self._path}: {error.strerror}") from error

    def _state_now(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._source.container)
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns


def files_without_frames(
    instances: Sequence[Instance], names: Mapping[str, str], reasons: Mapping[str, str]
) -> tuple[Original, ...]:
    """Return what restores files that hold no frames of a volume.

    Args:
        instances: the files.
        names: the name of the original of each path.
        reasons: why the pixels of files are not frames, by path, where that is known.
    """
    files = []
    room = _MOST_TOGETHER
    for instance in instances:
        pieces: tuple[Piece, ...] = (FileBulk(instance),)
        if instance.size <= min(_MOST_IN_MEMORY, room):
            pieces = _without_empty([instance.read(0, instance.size)])
            room -= instance.size
        pixels = "no pixels" if instance.pixels is None else "not in a volume"
        why = f"{uid_name(instance.text(_CLASS_UID))}: {reasons.get(instance.path) or pixels}"
        files.append(Original(names[instance.path], b"", pieces, why=why))
    return tuple(files)


def original_of(
    instance: Instance,
    name: str,
    volume: NDArray[Any],
    slices: Sequence[int],
    coded: CodedPixels | None,
    *,
    hashed: bool,
) -> Original | None:
    """Return what restores a file; None if it is a dataset in memory.

    Coded frames that can't be coded again are kept as they are.

    Args:
        instance: the file.
        name: name of the original.
        volume: the volume with the file's frames.
        slices: the slices of the file's frames, in the order that they have in the file.
        coded: the coded pixels of the file, if `volume` was decoded from them.
        hashed: compute the digest even if that could be done later.
    """
    place, runs = instance.pixels, runs_of(slices)
    if place is None or instance.in_memory:
        return None
    if frame_layout(instance).direct:
        known = _of_direct(instance, name, volume, runs, hashed)
        if known is not None:
            return known
    data = instance.read(0, instance.size)
    end = place.offset + place.length
    if place.encapsulated or coded is not None:
        if coded is None:
            value = _recoded(instance, data[place.offset : end], volume, slices)
        else:
            value = [
                part
                if isinstance(part, bytes)
                else Coded(slices[part[0]], part[1], part[2], coded.jpeg)
                for part in coded.layout
            ]
        why = ""
        if value is None:
            value = [FileBulk(instance, place.offset, place.length)]
            syntax = uid_name(instance.transfer_syntax)
            why = f"frames in {syntax}, which can't be coded again to the byte"
        pieces = _without_empty([data[: place.offset], *value, data[end:]])
        return Original(name, digest_of([data]), pieces, runs, frames_digest(volume, runs), why)
    if place.offset:  # otherwise deflated, and deflating again may give other bytes
        for form in _forms(volume):
            samples = form.encode(frames_in(volume, runs))
            if samples is not None and data[place.offset : end].startswith(samples):
                behind = data[place.offset + len(samples) :]
                pieces = _without_empty([data[: place.offset], Samples(form, runs), behind])
                return Original(name, digest_of([data]), pieces)
    return Original(name, digest_of([data]), (data,), runs, frames_digest(volume, runs))


def _recoded(
    instance: Instance, value: bytes, volume: NDArray[Any], slices: Sequence[int]
) -> list[Piece] | None:
    """Return the pieces of a value field whose frames are coded again; None if they can't be.

    Args:
        instance: the file.
        value: the value field of its pixels.
        volume, slices: see `original_of`.
    """
    kind = RECIPE_KINDS.get(instance.transfer_syntax)
    if kind is None:
        return None
    recipes: list[Recipe] = []
    refused = False

    def size_of(coded: bytes) -> int:
        nonlocal refused
        found = None if refused else find_recipe(kind, volume[slices[len(recipes)]], coded)
        if found is None:
            refused = True
            return 0
        recipes.append(Recipe(kind, found.data))
        return found.coded_size

    split = split_frames(value, len(slices), size_of)
    if split is None or refused:
        return None
    return [
        part
        if isinstance(part, bytes)
        else Recoded(recipes[part[0]], slices[part[0]], part[1], part[2])
        for part in split[1]
    ]


def names_in(source: Source, paths: Sequence[str]) -> list[str]:
    """Return the paths of files relative to the source that they were found in, with slashes.

    Args:
        source: the source; see `dicom_io.read_dicom_dir`.
        paths: paths of the files.
    """
    base = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    if isinstance(source, (str, os.PathLike)) and os.fspath(source) not in paths:
        # A folder, an archive, which its members' paths begin with, or a DICOMDIR beside the files.
        base = os.path.abspath(source)
        if not os.path.abspath(paths[0]).startswith(os.path.join(base, "")):
            base = os.path.dirname(base)
    return [os.path.relpath(os.path.abspath(p), base).replace(os.sep, "/") for p in paths]


def _with_copies(instance: Instance) -> list[Instance]:
    """Return a file and its copies, except for copies in memory."""
    return [instance, *(copy for copy in instance.copies if not copy.in_memory)]


def _of_direct(
    instance: Instance, name: str, volume: NDArray[Any], runs: Runs, hashed: bool
) -> Original | None:
    """Return the original of a file with directly readable samples, without reading them again."""
    place = instance.pixels
    if place is None or instance.around is None:
        return None
    before, after = instance.around
    samples = IN_MEMORY.encode(frames_in(volume, runs)) or b""
    padding = place.length - len(samples)
    behind = instance.read(place.offset + len(samples), padding) + after
    if len(before) + len(samples) + len(behind) != instance.size:
        return None
    pieces = _without_empty([before, Samples(IN_MEMORY, runs), behind])
    # Hashing takes as long as all the rest, so it is left until the image is saved.
    digest = digest_of([before, samples, behind]) if hashed else b""
    return Original(name, digest, pieces, is_plain=not padding)


def _forms(volume: NDArray[Any]) -> list[SampleForm]:
    """Return the forms in which a file may store a volume's samples."""
    orders = (LITTLE, PAIRS) if volume.dtype.itemsize == 1 else (LITTLE, BIG)
    planar = (False, True) if volume.ndim == 4 else (False,)
    packed = (False, True) if volume.dtype == "u1" and volume.ndim == 3 else (False,)
    return [SampleForm(*choice) for choice in product(orders, planar, packed)]


def _without_empty(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    return tuple(piece for piece in pieces if piece)
