"""NiftiHeader: all bytes of a NIfTI file before its voxels, unchanged, and the fields in them.

NIfTI-1 and NIfTI-2 (nifti1.h, nifti2.h of the NIfTI Data Format Working Group). Must not know
dicube files, DICOM, or the patient's coordinate system.
"""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from dicube.exceptions import DataConsistencyError, InvalidCubeFileError
from dicube.nifti.nibabel_door import nibabel_class, refusing, single_file_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIZES = {1: 348, 2: 540}  # of the header by version; its first number is this size
_EXTENDER = 4  # bytes after the header that say whether extensions follow
_MAGIC_PLACES = {1: 344, 2: 4}
_MAGIC = {1: b"n+1\0", 2: b"n+2\0\r\n\x1a\n"}
_PAIR_MAGIC = {1: b"ni1\0", 2: b"ni2\0\r\n\x1a\n"}
_MM_PER_UNIT = {1: 1e3, 2: 1.0, 3: 1e-3}  # metre, mm, micrometre (NIFTI_UNITS_…)
_SECONDS_PER_UNIT = {8: 1.0, 16: 1e-3, 24: 1e-6}
_MOST_OF_NIFTI_1 = 32767  # voxels along each dimension: sizes are 16-bit numbers
# FreeSurfer's mark for surfaces with more vertices than that; the size is in another field.
_FREESURFER_SIZES = ((-1,), (27307,))
_OF_VERSION = {"sizeof_hdr", "magic", "vox_offset", "eol_check"}
_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT
_MM, _SECONDS = 2, 8
_RGB24 = 128  # NIFTI_TYPE_RGB24
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_RIGHT_ANGLES = 1e-5  # largest cosine that a quaternion of 32-bit numbers rounds to a right angle
_QUIET = logging.getLogger("dicube.nifti.fixed")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False

# No real header is larger; one that claims to be is damaged, or made to exhaust memory.
_LARGEST = 1 << 28


class BytesBehind(NamedTuple):
    """What follows the voxels in a NIfTI file, for which NIfTI defines no meaning.

    Attributes:
        voxels_sha256: of the file's voxels; the bytes are written again behind the same voxels
            only, as they may repeat or describe them.
        data: the bytes; never empty.
    """

    voxels_sha256: bytes
    data: bytes


class NiftiVolume(NamedTuple):
    """A NIfTI file.

    Attributes:
        header: everything before the voxels.
        voxels: stored values, (slices, rows, columns) or (slices, rows, columns, 3). If the file
            has more than three dimensions, its volumes follow each other.
    """

    header: NiftiHeader
    voxels: NDArray[Any]


class NiftiHeader:
    """Everything in a NIfTI file except its voxels. Immutable.

    Args:
        data: the bytes before the voxels: header, extender, extensions, and any others.
        behind: the bytes behind the voxels; None if there are none.

    Raises:
        InvalidCubeFileError: the bytes aren't a NIfTI header.
    """

    def __init__(self, data: bytes, behind: BytesBehind | None = None) -> None:
        self.version, self._endianness = _version_of(data)
        self.data, self.behind = data, behind
        if len(data) < _SIZES[self.version]:
            raise InvalidCubeFileError(f"a NIfTI header is truncated to {len(data)} bytes")

    @classmethod
    def new(cls, shape: tuple[int, ...]) -> NiftiHeader:
        """Return the header of a new array, in mm, without affine; NIfTI-1 if the shape allows.

        Raises:
            DataConsistencyError: NIfTI doesn't support the shape.
        """
        fields = nibabel_class(1 if max(shape) <= _MOST_OF_NIFTI_1 else 2)()
        with refusing(DataConsistencyError):
            fields.set_data_shape(shape)
        fields["xyzt_units"] = _MM
        fields["scl_slope"], fields["scl_inter"] = 1, 0
        return cls(single_file_bytes(fields))

    def __getstate__(self) -> dict[str, Any]:
        kept = ("data", "behind", "version", "_endianness")
        return {name: getattr(self, name) for name in kept}

    # ------------------------------------------------------------------------------------- fields

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """One to seven sizes, along x, y, z and further dimensions.

        Raises:
            InvalidCubeFileError: there is another number of sizes, or one below 1.
        """
        form, place = ("8h", 40) if self.version == 1 else ("8q", 16)
        count, *sizes = struct.unpack_from(self._endianness + form, self.data, place)
        shape = tuple(sizes[:count])
        if shape[0:1] in _FREESURFER_SIZES and shape[1:2] == (1,):
            with refusing():
                shape = tuple(int(size) for size in self._raw.get_data_shape())
        if not 1 <= count <= 7 or min(shape) < 1:
            raise InvalidCubeFileError(
                "the NIfTI header has no valid shape: expected 1 to 7 sizes of at least 1, "
                f"found dim {[count, *sizes]}"
            )
        return shape

    @property
    def volume_dims(self) -> tuple[int, int, int]:
        """Sizes of one volume along x, y and z."""
        x, y, z = (*self.shape, 1, 1)[:3]
        return x, y, z

    @property
    def volume_count(self) -> int:
        """Number of volumes: 1 unless the file has more than three dimensions."""
        return math.prod(self.shape[3:])

    @property
    def voxels_shape(self) -> tuple[int, ...]:
        """The shape that the voxels have in dicube: (slices, rows, columns[, 3])."""
        x, y, z = self.volume_dims
        place = 70 if self.version == 1 else 12
        (datatype,) = struct.unpack_from(self._endianness + "h", self.data, place)
        colours = (3,) if datatype == _RGB24 else ()
        return (self.volume_count * z, y, x, *colours)

    @property
    def sample_dtype(self) -> np.dtype[Any]:
        """The dtype of a sample, in the file's byte order.

        Raises:
            DataConsistencyError: dicube can't store voxels of this type.
        """
        dtype = self._dtype
        if dtype == RGB:
            return np.dtype(np.uint8)
        if dtype.kind not in "iuf" or dtype.itemsize > 8:
            name = "RGBA" if dtype.names else dtype.name
            raise DataConsistencyError(
                f"voxels of type {name} (NIfTI datatype {int(self._parsed['datatype'])}) "
                "can't be stored",
                suggestion="convert them to RGB, or to numbers of at most 64 bits",
            )
        return dtype.newbyteorder(self._endianness)

    @property
    def data_size(self) -> int:
        """Size of all voxels in bytes."""
        return math.prod(self.voxels_shape) * self.sample_dtype.itemsize

    @cached_property
    def rescale(self) -> tuple[float, float]:
        """Slope and intercept; (1, 0) if there are none: scl_slope is 0 or not finite.

        Raises:
            InvalidCubeFileError: there is a slope, but the intercept isn't finite.
        """
        with refusing():
            slope, intercept = self._parsed.get_slope_inter()
        return (1.0, 0.0) if slope is None else (float(slope), float(intercept))

    @cached_property
    def affine(self) -> NDArray[np.float64]:
        """The affine that nibabel selects: from voxel indices (x, y, z) to RAS, (4, 4).

        The sform if it has a code, else the qform if it has one, else made of the voxel sizes.

        Raises:
            InvalidCubeFileError: the quaternion is invalid.
        """
        with refusing():
            return np.array(self._parsed.get_best_affine(), np.float64)

    @property
    def mm_per_unit(self) -> float:
        """Millimetres in the header's unit of length; 1 if it has none."""
        return _MM_PER_UNIT.get(int(self._parsed["xyzt_units"]) & 7, 1.0)

    @property
    def seconds_between_volumes(self) -> float | None:
        """Seconds from one volume to the next; None if the fourth dimension isn't time."""
        if self.volume_count == 1:
            return None
        unit = _SECONDS_PER_UNIT.get(int(self._parsed["xyzt_units"]) & 56)
        step = float(self._parsed["pixdim"][4])
        return unit * step if unit and math.isfinite(step) and step > 0 else None

    @property
    def uncertain_bytes(self) -> int:
        """How many of the last bytes may be voxels already: 0 if `vox_offset` is valid, else to 4.

        A `vox_offset` before the end of the extender is invalid. Readers then differ: niftilib
        takes the voxels to begin at once behind the header, others behind the extender.
        """
        size = _SIZES[self.version]
        stored = int(self._raw["vox_offset"])
        return max(size + _EXTENDER - max(stored, size), 0)

    def check(self) -> None:
        """Raise the error of any property that is invalid."""
        for name in ("shape", "sample_dtype", "rescale", "affine"):
            getattr(self, name)

    def differences(self, other: NiftiHeader, *, show_values: bool = False) -> list[str]:
        """Return what differs in another header, one line for each; with the values on request."""
        if (self.version, self._endianness) != (other.version, other._endianness):
            one, two = (f"NIfTI-{h.version} {h._endianness}" for h in (self, other))
            return [f"version and byte order: {one} became {two}"]
        pairs = {name: (self._raw[name], other._raw[name]) for name in self._raw}
        found = [
            f"{name}: {one} became {two}" if show_values else f"{name}: another value"
            for name, (one, two) in pairs.items()
            if one.tobytes() != two.tobytes()
        ]
        size = _SIZES[self.version]
        if self.data[size:] != other.data[size:]:
            found.append("other bytes between header and voxels")
        if self.behind != other.behind:
            counts = (0 if h.behind is None else len(h.behind.data) for h in (self, other))
            found.append("bytes behind the voxels: {} became {} (or others)".format(*counts))
        return found

    # ------------------------------------------------------------------------------------ changes

    def single(self) -> NiftiHeader:
        """Return the header of a single volume; without the bytes behind all of them."""
        return self if len(self.shape) <= 3 else self.with_behind(None).with_shape(self.volume_dims)

    def with_behind(self, behind: BytesBehind | None) -> NiftiHeader:
        """Return the header with other bytes behind the voxels."""
        return self if behind == self.behind else NiftiHeader(self.data, behind)

    def with_shape(self, shape: tuple[int, ...]) -> NiftiHeader:
        """Return the header for an array of another shape, (x, y, z, …).

        Slice timing is removed, since it describes the old slices. The header becomes NIfTI-2 if
        NIfTI-1 doesn't support the shape.

        Raises:
            DataConsistencyError: NIfTI doesn't support the shape.
        """
        if shape == self.shape:
            return self
        if self.version == 1 and max(shape) > _MOST_OF_NIFTI_1:
            return self.with_version(2).with_shape(shape)
        changed = self._raw.copy()
        with refusing(DataConsistencyError):
            changed.set_data_shape(shape)
        if shape[:3] != self.volume_dims:
            changed["slice_start"] = changed["slice_end"] = changed["slice_code"] = 0
            changed["slice_duration"] = 0
        return self._changed(changed)

    def with_samples(self, dtype: np.dtype[Any], colour: bool) -> NiftiHeader:
        """Return the header for voxels of another type.

        Raises:
            DataConsistencyError: NIfTI doesn't support the type.
        """
        wanted = RGB if colour and dtype == np.uint8 else dtype.newbyteorder("=")
        if wanted == self._dtype.newbyteorder("="):
            return self
        if colour and dtype != np.uint8:
            raise DataConsistencyError(f"NIfTI supports colour of uint8 only, found {dtype}")
        changed = self._raw.copy()
        with refusing(DataConsistencyError):
            changed.set_data_dtype(wanted)
        return self._changed(changed)

    def with_rescale(self, slope: float, intercept: float) -> NiftiHeader:
        """Return the header with another rescale, which NIfTI-1 rounds to 32-bit numbers.

        Raises:
            DataConsistencyError: the slope is 0, or one of them isn't finite.
        """
        if (slope, intercept) == self.rescale:
            return self
        changed = self._raw.copy()
        with np.errstate(over="ignore"):
            changed["scl_slope"], changed["scl_inter"] = slope, intercept
        held = float(changed["scl_slope"]), float(changed["scl_inter"])
        if not (all(map(math.isfinite, held)) and held[0]):
            raise DataConsistencyError(
                f"NIfTI-{self.version} can't store a rescale of slope {slope!r} and intercept "
                f"{intercept!r}"
            )
        return self._changed(changed)

    def with_affine(self, affine: NDArray[Any] | None) -> NiftiHeader:
        """Return the header with another affine.

        Args:
            affine: in the header's unit of length, (4, 4); None if it is unknown.

        Returns:
            The header with the affine as sform, and also as qform if its axes are at right angles;
            their lengths are the voxel sizes.
        """
        changed = self._raw.copy()
        codes = int(changed["sform_code"]), int(changed["qform_code"])
        best = codes[0] or codes[1] or _SCANNER
        if affine is None:
            for axis in "xyz":
                changed[f"srow_{axis}"] = 0
            for name in ("quatern_b", "quatern_c", "quatern_d"):
                changed[name] = 0
            for name in ("qoffset_x", "qoffset_y", "qoffset_z", "sform_code", "qform_code"):
                changed[name] = 0
            return self._changed(changed)
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        axes = affine[:3, :3] / lengths
        changed.set_sform(affine, _SCANNER)
        changed["sform_code"] = best  # set_sform refuses codes that nibabel doesn't know
        if np.allclose(axes.T @ axes, np.eye(3), rtol=0, atol=_RIGHT_ANGLES):
            changed.set_qform(affine, _SCANNER)
            changed["qform_code"] = codes[1] or best
        else:
            changed.set_qform(np.eye(4), 0)
        changed["pixdim"][1:4] = lengths
        return self._changed(changed)

    def with_spacing(self, spacing: tuple[float, float, float]) -> NiftiHeader:
        """Return the header with other voxel sizes, (x, y, z)."""
        changed = self._raw.copy()
        changed["pixdim"][1:4] = spacing
        return self._changed(changed)

    def with_seconds_between_volumes(self, seconds: float) -> NiftiHeader:
        """Return the header of a series over time."""
        changed = self._raw.copy()
        changed["pixdim"][4] = seconds
        changed["xyzt_units"] = (int(changed["xyzt_units"]) & ~56) | _SECONDS
        return self._changed(changed)

    def with_version(self, version: int) -> NiftiHeader:
        """Return the header as NIfTI-1 or NIfTI-2, with its extensions.

        Raises:
            DataConsistencyError: its values don't fit NIfTI-1, or there is no such version.
        """
        if version == self.version:
            return self
        changed = nibabel_class(version)(endianness=self._endianness)
        for name in set(self._raw.keys()).intersection(changed.keys()) - _OF_VERSION:
            with refusing(DataConsistencyError):
                changed[name] = self._raw[name]
            if not _holds(changed[name], self._raw[name]):
                raise DataConsistencyError(
                    f"NIfTI-{version} can't store {name} {self._raw[name].tolist()}"
                )
        return self._changed(changed)

    # ------------------------------------------------------------------------------------ nibabel

    @property
    def _block(self) -> bytes:
        return self.data[: _SIZES[self.version]]

    @cached_property
    def _raw(self) -> Any:
        """The header's fields, unchanged, as a nibabel header."""
        return nibabel_class(self.version)(self._block, self._endianness, check=False)

    @cached_property
    def _parsed(self) -> Any:
        """The header's fields with small errors fixed, as nibabel does when it opens a file."""
        fields = self._raw.copy()
        fields["vox_offset"] = 0  # nibabel refuses an offset within the header
        with refusing():
            fields.check_fix(logger=_QUIET)
        return fields

    @property
    def _dtype(self) -> np.dtype[Any]:
        with refusing():
            dtype: np.dtype[Any] = self._parsed.get_data_dtype()
        return dtype

    def _changed(self, fields: Any) -> NiftiHeader:
        extensions = self.data[_SIZES[self.version] :].ljust(_EXTENDER, b"\0")
        fields["vox_offset"] = len(fields.binaryblock) + len(extensions)
        return NiftiHeader(fields.binaryblock + extensions, self.behind)


def read_header(read: Callable[[int], bytes]) -> NiftiHeader:
    """Read everything before the voxels.

    These begin at `vox_offset`, or behind the extender if `vox_offset` lies before that.

    Args:
        read: called with a number of bytes; returns the file's next bytes, fewer at its end.

    Raises:
        InvalidCubeFileError: it isn't a NIfTI file, is truncated, or its header is invalid.
    """
    data = bytearray(read(_SIZES[1]))
    version, endianness = _version_of(data)
    size = _SIZES[version]
    data += read(size - len(data))
    form, place = ("f", 108) if version == 1 else ("q", 168)
    if len(data) < size:
        raise InvalidCubeFileError(
            f"the NIfTI header is truncated: expected {size} bytes, found {len(data)}"
        )
    (stored,) = struct.unpack_from(endianness + form, data, place)
    offset = max(_checked_offset(stored), size + _EXTENDER)
    data += read(offset - size)
    if len(data) < offset:
        raise InvalidCubeFileError(
            f"the NIfTI file is truncated: voxels begin at offset {offset}, the file has "
            f"{len(data)} bytes"
        )
    return NiftiHeader(bytes(data))


def header_of_pair(data: bytes) -> tuple[NiftiHeader, int]:
    """Return the header that the voxels of a pair have in a single file, and their offset in .img.

    Args:
        data: the .hdr file.

    Raises:
        InvalidCubeFileError: it isn't the header of a pair, is truncated, or is invalid.
    """
    version, endianness = _version_of(data, _PAIR_MAGIC)
    size = _SIZES[version]
    if len(data) < size:
        raise InvalidCubeFileError(
            f"the NIfTI header is truncated: expected {size} bytes, found {len(data)}"
        )
    fields = nibabel_class(version)(data[:size], endianness, check=False)
    offset = _checked_offset(float(fields["vox_offset"]))
    extensions = data[size:].ljust(_EXTENDER, b"\0")
    fields["magic"] = _MAGIC[version]
    fields["vox_offset"] = size + len(extensions)
    return NiftiHeader(fields.binaryblock + extensions), offset


def _checked_offset(stored: float) -> int:
    """Return a `vox_offset` as a number of bytes.

    Raises:
        InvalidCubeFileError: it is negative, infinite, or larger than any real header.
    """
    if not (math.isfinite(stored) and 0 <= stored <= _LARGEST):
        raise InvalidCubeFileError(f"the NIfTI header puts the voxels at offset {stored}")
    return int(stored)


def _holds(value: NDArray[Any], wanted: NDArray[Any]) -> bool:
    """Return whether a field has a value; floating-point numbers may be rounded."""
    if value.dtype.kind != "f":
        return bool(np.all(value == wanted))
    return np.allclose(value, wanted, rtol=1e-6, atol=1e-37, equal_nan=True)


def _version_of(
    data: bytes | bytearray, magics: dict[int, bytes] = _MAGIC
) -> tuple[int, Literal["<", ">"]]:
    """Return the NIfTI version of a header and its byte order, '<' or '>'.

    Args:
        data: begins with the header.
        magics: of each version, those of single files or of pairs.

    Raises:
        InvalidCubeFileError: it isn't a NIfTI header of this kind.
    """
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    for version, size in _SIZES.items():
        for endianness in orders:
            if data[:4] != struct.pack(endianness + "i", size):
                continue
            place, magic = _MAGIC_PLACES[version], magics[version]
            found = bytes(data[place : place + len(magic)])
            if found == magic:
                return version, endianness
            if found == _PAIR_MAGIC[version]:
                raise InvalidCubeFileError(
                    "the NIfTI header belongs to a pair of files",
                    suggestion="pairs are read if their names end in .hdr and .img",
                )
            raise InvalidCubeFileError(
                f"not a NIfTI file: expected magic {magic!r}, found {found!r}"
            )
    raise InvalidCubeFileError(f"not a NIfTI file: it begins with {bytes(data[:4])!r}")
