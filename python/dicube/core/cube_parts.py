"""The parts of an image besides its pixels, and the sections of a dicube file that store them.

Knows names and content of the sections. It must not know pixels, or where in a file a section is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from dicube.core.fidelity.origin import Origin
from dicube.core.fidelity.provenance import Provenance, StoredMeta, StoredOriginals
from dicube.core.lossy.loss import Loss, read_losses
from dicube.dicom.dicom_meta import ELSEWHERE_KEY, DicomMeta
from dicube.dicom.dicom_status import PUBLISHED_STATUSES, DicomStatus, get_dicom_status
from dicube.dicom.metadata.original_elements import OriginalElements
from dicube.dicom.originals.section import BulkSource
from dicube.dicom.series.geometry import space_from_json, space_to_json
from dicube.dicom.series.precedence import write_rescale
from dicube.dicom.transfer_syntaxes import coded_syntax_of
from dicube.exceptions import (
    DicomCubeError,
    InvalidCubeFileError,
    reporting_memory,
    shown,
)
from dicube.pixel_header import PixelDataHeader
from dicube.storage.bulk import BulkReader, BulkWriter
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.dcb_writer import DcbWriter
from dicube.storage.packed_text import pack_bytes, pack_text, unpack_bytes, unpack_text
from dicube.strict_json import check_json_memory, least_packed
from dicube.threads import Threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicube.dicom.export.pixel_attributes import Replaced
    from dicube.dicom.series.geometry import Space
    from dicube.nifti import NiftiHeader

_STATUS = "dicom_status"  # the status value as text
METADATA = "dicom_meta"  # JSON, packed with zstd
_SPACE = "space"  # JSON, in (x, y, z) order
# The same for a colour volume. The published package refuses a file whose volume has more axes than
# its space, so it must not find one.
_COLOUR_SPACE = "colour_space"
_HEADER = "pixel_header"  # JSON
_NIFTI = "nifti"  # the bytes of a NIfTI file before its voxels, packed with zstd
# SHA-256 of the NIfTI file's voxels and the bytes behind them, packed with zstd.
_NIFTI_END = "nifti_end"
ORIGINALS = "originals"  # the original files without their pixels, packed with zstd
ORIGINALS_BULK = "originals_bulk"  # byte ranges of these files, each packed with zstd

_TRANSFER_SYNTAX = "00020010"
_SHA256 = 32  # bytes

# A number alone must not cost time and memory for each slice. In a file without frames there is a
# slice for each original file, of which the file has a digest at least.
_BYTES_OF_SLICE = 16
_SLICES_ALWAYS_ALLOWED = 4096

Read = TypeVar("Read")
Options = ParamSpec("Options")


class CubeParts(NamedTuple):
    """Everything that makes an image, except its pixels."""

    header: PixelDataHeader
    meta: DicomMeta | None
    space: Space | None
    status: DicomStatus
    origin: Origin = Origin()


@contextmanager
def parts_around_frames(
    writer: DcbWriter,
    parts: CubeParts,
    provenance: Provenance | None = None,
    volume: NDArray[Any] | None = None,
) -> Iterator[None]:
    """Write the parts of an image; the caller writes the frames inside this context.

    The original files, which only an export needs, are packed while frames are encoded, and follow
    the frames in the file.

    Args:
        writer: of the file; it has no frames yet.
        parts: the parts.
        provenance: of the image, to keep the original files; None to leave them out.
        volume: of the image, to keep the original files.
    """
    space_section = _COLOUR_SPACE if len(writer.shape) == 4 else _SPACE
    status = parts.status if parts.status in PUBLISHED_STATUSES else DicomStatus.INCONSISTENT
    writer.write_section(_STATUS, status.value.encode())
    if parts.meta is not None:
        elsewhere: list[str] = []
        if provenance is not None:
            elsewhere = parts.meta.kept_by(OriginalElements(lambda: provenance.originals))
        write_meta(writer, parts.meta, elsewhere)
    if parts.space is not None:
        writer.write_section(space_section, space_to_json(parts.space).encode())
    writer.write_section(_HEADER, parts.header.to_json().encode())
    nifti = parts.origin.nifti
    if nifti is not None:
        writer.write_section(_NIFTI, pack_bytes(nifti.data))
        if nifti.behind is not None:
            writer.write_section(_NIFTI_END, pack_bytes(b"".join(nifti.behind)))
    if provenance is None or volume is None:
        yield
        return
    if provenance.originals.bulk:
        yield
        store = BulkWriter(writer, ORIGINALS_BULK).write
        writer.write_section(ORIGINALS, provenance.pack_originals(volume, store))
        return
    with Threads(1) as threads:
        packed = threads.map(provenance.pack_originals, [volume])
        yield
        writer.write_section(ORIGINALS, next(packed))


def write_meta(writer: DcbWriter, meta: DicomMeta, elsewhere: Sequence[str] = ()) -> None:
    """Write metadata to a file; see `DicomMeta.to_json` for `elsewhere`."""
    text = meta.to_json(elsewhere)
    least = least_packed(text.encode())
    if not writer.shape[0] and meta.slice_count > _SLICES_ALWAYS_ALLOWED:
        least = max(least, meta.slice_count * _BYTES_OF_SLICE)  # else readers refuse the metadata
    writer.write_section(METADATA, pack_text(text, least))


def derived_attributes(meta: DicomMeta, losses: Sequence[Loss]) -> list[Replaced]:
    """Return the elements that record losses, for each DICOM file."""
    from dicube.dicom.export.replaced import lossy_attributes

    return lossy_attributes(meta, [(loss.ratio, str(loss)) for loss in losses])


def _naming_source(
    read: Callable[Concatenate[DcbReader, Options], Read],
) -> Callable[Concatenate[DcbReader, Options], Read]:
    """Let the errors of a function that reads sections begin with the name of the file."""

    @wraps(read)
    def named(reader: DcbReader, /, *args: Options.args, **kwargs: Options.kwargs) -> Read:
        try:
            with reporting_memory:
                return read(reader, *args, **kwargs)
        except DicomCubeError as error:
            error.name_source(reader.name)
            raise

    return named


@_naming_source
def read_parts(reader: DcbReader) -> CubeParts:
    """Read the parts of an image from the sections of a file.

    Raises:
        InvalidCubeFileError: a section is damaged.
        MetaDataError: the metadata can't be parsed.
    """
    originals, losses = read_originals(reader), read_losses(reader)
    elements = OriginalElements(originals)
    header, space = read_header(reader), read_space(reader)
    text = _read_meta_text(reader)
    meta = None if text is None else _meta_of(text, elements, reader, header)
    if originals is not None and meta is not None and _has_coded_source(meta):
        originals.coded = reader.coded_frames()
    provenance = Provenance(
        originals or _why_no_originals(losses),
        None if text is None else StoredMeta(text, elements),
        header,
        space,
    )
    status, nifti = read_status(reader, meta), read_nifti_header(reader)
    return CubeParts(header, meta, space, status, Origin(provenance, nifti=nifti, losses=losses))


def _why_no_originals(losses: Sequence[Loss]) -> str:
    return "the pixels were coded lossily" if losses else "the dicube file holds no original files"


@_naming_source
def read_meta(reader: DcbReader) -> DicomMeta | None:
    """Return the metadata of a file; None if it has none.

    Raises:
        InvalidCubeFileError: the section is damaged.
        MetaDataError: they can't be parsed.
    """
    text = _read_meta_text(reader)
    if text is None:
        return None
    # The originals are behind the frames. Callers that don't need them must not wait for them.
    originals = read_originals(reader) if ELSEWHERE_KEY in text else None
    elements = OriginalElements(originals)
    meta = _meta_of(text, elements, reader, read_header(reader), reader.name)
    if originals is not None and _has_coded_source(meta):
        originals.coded = reader.coded_frames()
    return meta


@_naming_source
def read_stated_meta(reader: DcbReader) -> DicomMeta | None:
    """Return the metadata of a file without what they leave to the original files.

    To compare them with these; nothing of the originals is read. None and Raises: see `read_meta`.
    """
    text = _read_meta_text(reader)
    return None if text is None else _meta_of(text, OriginalElements(), reader, read_header(reader))


@_naming_source
def read_header(reader: DcbReader) -> PixelDataHeader:
    """Return the pixel header of a file, or one without rescale if it has none."""
    name = reader.dtype.name
    text = _read_text(reader, _HEADER)
    if text is None:
        return PixelDataHeader(OriginalPixelDtype=name, PixelDtype=name)
    try:
        header = PixelDataHeader.from_json(text)
    except ValueError as error:
        raise InvalidCubeFileError(f"section {_HEADER}: {error}") from error
    # The published package stores the dtype that it is given, which may differ from the pixels'.
    return dataclasses.replace(header, PixelDtype=name)


@_naming_source
def read_space(reader: DcbReader) -> Space | None:
    """Return the geometry of a file; None if it has none."""
    text = _read_text(reader, _SPACE) or _read_text(reader, _COLOUR_SPACE)
    return None if text is None else space_from_json(text)


@_naming_source
def read_status(reader: DcbReader, meta: DicomMeta | None = None) -> DicomStatus:
    """Return the status of a file; CONSISTENT if it has none.

    Args:
        reader: of the file.
        meta: its metadata; None to read them if they are needed, which they are if the file may
            have a status that the published package lacks.
    """
    text = _read_text(reader, _STATUS)
    if text is None:
        return DicomStatus.CONSISTENT
    try:
        status = DicomStatus(text)
    except ValueError:
        raise InvalidCubeFileError(f"section {_STATUS}: {shown(text)} is not a status") from None
    if status is not DicomStatus.INCONSISTENT:
        return status
    meta = meta or read_meta(reader)
    found = status if meta is None else get_dicom_status(meta)
    return status if found in PUBLISHED_STATUSES else found


def _read_text(reader: DcbReader, name: str) -> str | None:
    """Return the text of a section; None if it is missing or empty."""
    data = reader.sections.get(name)
    if not data:
        return None
    try:
        check_json_memory(data, len(data), reader.max_memory)
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidCubeFileError(f"section {name}: {error}") from error
    except InvalidCubeFileError as error:
        raise type(error)(f"section {name}: {error.message}") from error


def _read_meta_text(reader: DcbReader) -> str | None:
    """Return the JSON of a file's metadata; None if it has none."""
    packed = reader.sections.get(METADATA)
    if not packed:
        return None
    try:
        text = unpack_text(packed, reader.max_memory)
        check_json_memory(text.encode(), len(packed), reader.max_memory)
        return text
    except InvalidCubeFileError as error:
        raise type(error)(f"section {METADATA}: {error.message}") from error


def read_originals(reader: DcbReader, remembering: bool = False) -> StoredOriginals | None:
    """Return the original files in a dicube file; None if it has none.

    Args:
        reader: of the file.
        remembering: keep the range of bulk that was read last, for callers who read it again.
    """
    packed = reader.sections.get(ORIGINALS)
    if not packed:
        return None
    bulk = None
    if ORIGINALS_BULK in reader.sections:  # the image then keeps the file open
        section = BulkReader(reader.sections, ORIGINALS_BULK, reader.max_memory)
        read = lru_cache(1)(section.read) if remembering else section.read
        bulk = BulkSource(section.size, read)
    return StoredOriginals(
        packed,
        reader.shape,
        reader.dtype,
        reader.codec,
        reader.max_memory,
        bulk,
    )


def names_in_file(reader: DcbReader) -> tuple[str, ...]:
    """Return the names of the original files in an open dicube file."""
    stored = read_originals(reader)
    return () if stored is None else tuple(file.name for file in stored().all_files)


def _has_coded_source(meta: DicomMeta) -> bool:
    """Return whether the original files may have coded frames that the dicube file has too."""
    syntaxes = set(map(str, meta.get(_TRANSFER_SYNTAX, force_nonshared=True)))
    return any(coded_syntax_of(syntax) is not None for syntax in syntaxes)


@_naming_source
def read_nifti_header(reader: DcbReader) -> NiftiHeader | None:
    """Return the NIfTI header in a file; None if it has none."""
    packed = reader.sections.get(_NIFTI)
    if not packed:
        return None
    from dicube.nifti import BytesBehind, NiftiHeader

    name = _NIFTI
    try:
        header = NiftiHeader(unpack_bytes(packed, reader.max_memory))
        name = _NIFTI_END
        end = reader.sections.get(name)
        if not end:
            return header
        data = unpack_bytes(end, reader.max_memory)
        if len(data) <= _SHA256:
            raise InvalidCubeFileError(
                f"expected a SHA-256 and bytes behind the voxels, found {len(data)} bytes"
            )
    except InvalidCubeFileError as error:
        raise type(error)(f"section {name}: {error.message}") from error
    return header.with_behind(BytesBehind(data[:_SHA256], data[_SHA256:]))


def _meta_of(
    text: str,
    elements: OriginalElements,
    reader: DcbReader,
    header: PixelDataHeader,
    source: str | None = None,
) -> DicomMeta:
    """Return the metadata of a file, parsed from their JSON; see `DicomMeta.from_json`."""
    most = reader.shape[0] or max(_SLICES_ALWAYS_ALLOWED, reader.file_size // _BYTES_OF_SLICE)
    meta = DicomMeta.from_json(text, originals=elements, most_slices=most, source=source)
    if not reader.has_checksums:
        # The published package stores rescaled values; its metadata still have the rescale of the
        # source, which must not be applied again. The header has the one that counts.
        write_rescale(header, meta)
    return meta
