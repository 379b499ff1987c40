"""Checks that the original files in a dicube file agree with the rest of it.

Metadata, pixels, rescale and geometry that a file shows must be those of the files that it
restores. Restoring, DICOM export and verification call this module. It compares what the file
states with what the originals hold, by value, and never with what this version would derive from
them: other versions may have read them in another way. Must not know how a file is laid out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dicube.codecs.recipes import JPEG_LOSSLESS, find_recipe
from dicube.core.cube_parts import CubeParts
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_tags import uid_name
from dicube.dicom.files.coded_frames import coded_frames
from dicube.dicom.files.coded_images import declared_by
from dicube.dicom.files.encoding import BIG_ENDIAN
from dicube.dicom.files.file_in_parts import FileInParts, Part
from dicube.dicom.files.instance import Instance
from dicube.dicom.files.instance_reading import read_instance
from dicube.dicom.files.series import contradicted, stated_identity
from dicube.dicom.files.volume import check_order, frame_layout, read_volume
from dicube.dicom.metadata.compared_elements import ComparedElements
from dicube.dicom.metadata.real_world import header_values
from dicube.dicom.metadata.slice_order import numbers
from dicube.dicom.originals.model import (
    BIG,
    IN_MEMORY,
    Coded,
    Original,
    Originals,
    SampleForm,
    Samples,
    frames_of,
)
from dicube.dicom.series.geometry import Space, grid_of_space, same_space, space_or_reason
from dicube.dicom.series.precedence import UNITS, has_rescale_of
from dicube.dicom.series.stored_bits import UNUSED_BITS, has_unused_bits
from dicube.dicom.transfer_syntaxes import RECIPE_KINDS, REVERSIBLE, coded_syntax_of
from dicube.exceptions import (
    CodecError,
    DataConsistencyError,
    InvalidCubeFileError,
    MetaDataError,
)
from dicube.pixel_header import PixelDataHeader
from dicube.threads import Threads, thread_count

_INTERPRETATION, _STORED = 0x00280004, 0x00280101
_OTHER_SLICES = "the metadata describe {} slices, which are not those of the file"
_MOST_DIFFERENCE = 8  # of 256, between decoders of lossy frames
_ELEMENT_HEADER, _SMALLEST_HEAD = 12, 1 << 10  # bytes
# Distance in mm, and difference of two directions, that the geometry of a file may have from the
# positions of its slices: 0.4.0 accepts slices that are not quite where a grid has them.
_SAME_PLACE, _SAME_DIRECTION, _SAME_STEP = 1e-2, 1e-3, 0.1


def check_agreement(
    parts: CubeParts,
    originals: Originals,
    volume: NDArray[Any] | None,
    num_threads: int | None = None,
    names: Collection[str] | None = None,
) -> None:
    """Raise InvalidCubeFileError unless originals agree with a file; see `contradictions`."""
    for problem in contradictions(parts, originals, volume, num_threads, names):
        raise _contradiction(problem)


def check_one(
    meta: DicomMeta | None,
    originals: Originals,
    file: Original,
    volume: NDArray[Any] | None,
    index: int = 0,
) -> None:
    """Raise InvalidCubeFileError unless an original agrees with the metadata and its frames.

    The quick part of `check_agreement`: what no single file is needed for is left out.

    Args:
        meta: of the file that holds the original.
        originals: its originals; those that don't matter here may be missing.
        file: the original.
        volume: the pixels, of which only the frames of the original have to be decoded; None for a
            file without frames.
        index: of the original among those of a file without frames.
    """
    frames = originals.shape[0]
    if meta is not None and frames and meta.slice_count != frames:
        raise _contradiction(_OTHER_SLICES.format(meta.slice_count))
    shown = None if meta is None else meta.compared()
    if file in originals.others:
        stated = None if meta is None or not frames else _identity_in(meta)
        problem = _fault_of_other(file, originals, index, stated, shown)
    else:
        is_copy = file in originals.copies
        problem = _fault_of_image(file, is_copy, originals, volume, meta, shown, [])
        if not problem and not is_copy and meta is not None:
            problem = next(_of_frames(meta, [file]), "")
    if problem:
        raise _contradiction(problem)


def _contradiction(problem: str) -> InvalidCubeFileError:
    return InvalidCubeFileError(
        f"the file contradicts itself: {problem}",
        suggestion="dicube writes no such file: don't trust it",
    )


def contradictions(
    parts: CubeParts,
    originals: Originals,
    volume: NDArray[Any] | None,
    num_threads: int | None = None,
    names: Collection[str] | None = None,
    not_compared: list[str] | None = None,
) -> Iterator[str]:
    """Yield what originals contradict in the file that holds them, one line each.

    Args:
        parts: of the file, as read.
        originals: its original files.
        volume: its pixels; None to leave pixels out.
        num_threads: files whose frames are decoded at the same time.
        names: the originals to compare; None for all.
        not_compared: gets a line for each original with frames that nothing here decodes. They are
            kept as they are, and the SHA-256 of the original is all that can be checked.

    Raises:
        InvalidCubeFileError: the bytes of an original are damaged. One that needs an unknown recipe
            is left out: it can't be restored at all.
    """
    meta = parts.meta
    frames = originals.shape[0]
    if meta is not None and meta.slice_count != (frames or len(originals.others)):
        yield _OTHER_SLICES.format(meta.slice_count)
        return
    if originals.files:
        yield from _of_sections(parts, originals, volume)
    shown = None if meta is None else meta.compared()
    every = [(file, False) for file in originals.files] + [(f, True) for f in originals.copies]
    files = [(file, is_copy) for file, is_copy in every if names is None or file.name in names]
    if meta is not None and originals.files:
        yield from _of_frames(meta, originals.files)

    unread = [] if not_compared is None else not_compared

    def fault(file_and_kind: tuple[Original, bool]) -> str:
        return _fault_of_image(*file_and_kind, originals, volume, meta, shown, unread)

    if volume is not None and any(file.frames for file, _ in files):  # which may have to be decoded
        with Threads(thread_count(num_threads)) as threads:
            yield from filter(None, threads.map(fault, files))
    else:
        yield from filter(None, map(fault, files))
    stated = None
    if meta is not None and originals.files and originals.others:
        stated = _identity_in(meta)
    if meta is not None and not frames and len(_series_in(meta)) > 1:
        yield "the metadata describe files of several series"
    for index, file in enumerate(originals.others):
        if names is None or file.name in names:
            yield from filter(None, [_fault_of_other(file, originals, index, stated, shown)])


# ------------------------------------------------------------------------------------- sections


def _of_sections(
    parts: CubeParts, originals: Originals, volume: NDArray[Any] | None
) -> Iterator[str]:
    """Yield what other sections contradict in the metadata, which the originals agree with."""
    if parts.origin.losses:
        yield "the loss section records lossy coding, but there are original files"
    if parts.origin.nifti is not None:
        yield "there are the header of a NIfTI file and original DICOM files"
    if parts.space is not None and tuple(parts.space.shape) != originals.shape[:3]:
        yield f"the geometry has shape {tuple(parts.space.shape)}, not {originals.shape[:3]}"
    if parts.meta is None:
        yield "there are original files, but no metadata"
        return
    yield from _of_header(parts.header, parts.meta, originals, volume)
    if parts.space is not None and not _is_placed(parts.space, parts.meta):
        yield "the geometry differs from the positions of the slices"


def _of_header(
    header: PixelDataHeader, meta: DicomMeta, originals: Originals, volume: NDArray[Any] | None
) -> Iterator[str]:
    """Yield what a pixel header states about the first slice, and the metadata don't."""
    wrong = [
        name
        for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
        if getattr(header, name) != _first_number(meta, name, default)
    ]
    if wrong and not has_rescale_of(header, meta):
        yield f"the pixel header has another {' and '.join(wrong)} than the first slice"
    for name in ("WindowCenter", "WindowWidth"):
        stated = getattr(header, name)
        if stated is not None and stated != _first_number(meta, name, None):
            yield f"the pixel header has another {name} than the first slice"
    units = header.Extras.get(UNITS)
    if units is not None and units != header_values(meta).units:
        yield "the pixel header has other units than the first slice"
    if header.OriginalPixelDtype != originals.dtype.name:
        yield "the pixel header states other samples than the files have"
    if volume is None:
        return
    if not header.Extras.get(UNUSED_BITS) and has_unused_bits(volume, meta):
        yield "the pixel header doesn't state that words hold more than their values"
    for name, actual in (("MinVal", volume.min), ("MaxVal", volume.max)):
        if getattr(header, name) is not None and getattr(header, name) != actual():
            yield f"the pixel header has another {name} than the pixels"


def _first_number(meta: DicomMeta, name: str, default: float | None) -> float | None:
    """Return the first number of an element in the first slice; the default if it has none."""
    value = meta.get(name, force_nonshared=True)[0]
    value = value[0] if isinstance(value, list) and value else value
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else default


def _is_placed(space: Space, meta: DicomMeta) -> bool:
    """Return whether a space (zyx) puts slices where their metadata do."""
    told = space_or_reason(meta)[0]
    if told is not None:
        return same_space(told.reverse_axis_order(), space)
    # Another version may have had other rules about which slices form a grid. No version differs in
    # where slices and pixels are.
    grid = grid_of_space(space)
    planes = zip(
        numbers(meta, "ImagePositionPatient", 3),
        numbers(meta, "ImageOrientationPatient", 6),
        numbers(meta, "PixelSpacing", 2),
        strict=True,
    )
    for index, (point, direction, spacing) in enumerate(planes):
        if point is None or direction is None or spacing is None:
            return False
        near = _SAME_STEP * float(grid.spacing[2]) if index else _SAME_PLACE
        axes = np.array(direction).reshape(2, 3)
        if (
            np.linalg.norm(grid.origin + index * grid.steps[2] - point) > near
            or not np.allclose(grid.axes[:2], axes, rtol=0, atol=_SAME_DIRECTION)
            or not np.allclose(grid.spacing[1::-1], spacing, rtol=_SAME_DIRECTION, atol=0)
        ):
            return False
    return True


# ---------------------------------------------------------------------------------------- files


def _of_frames(meta: DicomMeta, files: Sequence[Original]) -> Iterator[str]:
    """Yield the files whose frames the metadata assign to others, or in another order."""
    stated = {tuple(slices) for slices in meta.instances()}
    for file in files:
        slices = tuple(file.all_numbers())
        if slices not in stated or [meta.frames[index].number for index in slices] != list(
            range(1, len(slices) + 1)
        ):
            yield f"{file.label}: its frames are not those that the metadata assign to a file"


def _identity_in(meta: DicomMeta) -> dict[str, set[str]]:
    """Return what the metadata of images identify these by."""
    return stated_identity(lambda keyword: meta.get(keyword, force_nonshared=True))


def _series_in(meta: DicomMeta) -> set[str]:
    return set(map(str, meta.get("SeriesInstanceUID", force_nonshared=True)))


def _parts_of(file: Original, originals: Originals, volume: NDArray[Any]) -> list[Part] | None:
    """Return the bytes of a stored file, with bulk that is read when it is needed."""
    return cast("list[Part] | None", originals.parts_with_bulk(file, volume))


def _fault_of_image(
    file: Original,
    is_copy: bool,
    originals: Originals,
    volume: NDArray[Any] | None,
    meta: DicomMeta | None,
    shown: ComparedElements | None,
    not_compared: list[str],
) -> str:
    """Return what a file with frames contradicts; '' for nothing."""
    samples = volume
    if samples is None:
        samples = np.broadcast_to(np.zeros((), originals.dtype), originals.shape)
    try:
        parts = _parts_of(file, originals, samples)
    except InvalidCubeFileError:  # of an unknown recipe
        return ""
    other_pixels = f"{file.label}: its pixels are not those of the volume"
    if parts is None:
        return other_pixels
    try:
        head = len(parts[0]) + _ELEMENT_HEADER if parts else 0  # most are all up to the pixels
        instance = read_instance(FileInParts(file.name, parts), max(head, _SMALLEST_HEAD))
        if instance is None:
            return f"{file.label} is no DICOM file"
        slices = list(file.all_numbers())
        if not _has_frames(instance, file, originals, slices, parts, volume, not_compared):
            return other_pixels
        if meta is None or shown is None:
            return ""
        apart = _changed_by_decoding(instance, meta, slices[0])
        # Files are copies if their datasets are equal; their group 2 may differ.
        name = shown.difference(instance, slices, apart, with_file_meta=not is_copy)
    except (MetaDataError, DataConsistencyError, CodecError) as error:
        return error.message
    return f"{file.label}: {name} is not that of the metadata" if name else ""


def _has_frames(
    instance: Instance,
    file: Original,
    originals: Originals,
    slices: Sequence[int],
    parts: Sequence[Part],
    volume: NDArray[Any] | None,
    not_compared: list[str],
) -> bool:
    """Return whether the pixels that any reader finds in a file are those of its slices.

    Args:
        instance: the file.
        file, originals: what it is restored from.
        slices: of its frames, in their order.
        parts: its bytes, one for each piece.
        volume: None to decode nothing.
        not_compared: gets a line if nothing here decodes the frames, which are kept as they are.
    """
    layout, place = frame_layout(instance), instance.pixels
    # Versions before 0.4.0's release left out whole frames beyond NumberOfFrames.
    if place is None or len(slices) not in (instance.frame_count, instance.stated_frames):
        return False
    if (layout.shape, layout.dtype) != (originals.shape[1:], originals.dtype):
        return False
    if volume is not None and file.frames and not originals.gives_frames(file, volume):
        return False
    starts = dict(zip(accumulate(map(len, parts), initial=0), file.pieces, strict=False))
    piece = starts.get(place.offset)
    if isinstance(piece, Samples) and piece.form == _plain_form(instance):
        return list(frames_of(piece.runs)) == list(slices)
    if volume is None or (
        place.encapsulated
        and (
            _has_own(instance, file, originals, slices, parts)
            or _has_recipes(instance, slices, volume)
        )
    ):
        return True
    shown, is_kept = volume[list(slices)], place.encapsulated and file.kept_size > 0
    try:
        found = read_volume([instance], [range(len(slices))], 1)[0]
    except CodecError:
        if not is_kept:
            raise
        name = uid_name(instance.transfer_syntax)
        not_compared.append(f"{file.label}: no decoder here can decode its frames in {name}")
        return True
    if found.tobytes() == shown.tobytes():
        return True
    return is_kept and _is_alike(instance, found, shown)


def _plain_form(instance: Instance) -> SampleForm | None:
    """Return the form of samples that mean the same to all readers; None if these must be decoded.

    Of big-endian samples these are grey words of 16 bits: no VR or colour changes their bytes.
    """
    layout, place = frame_layout(instance), instance.pixels
    if layout.direct:
        return IN_MEMORY
    if (
        place is not None
        and (place.vr, place.encapsulated) == ("OW", False)
        and instance.transfer_syntax == BIG_ENDIAN
        and instance.text(_INTERPRETATION).startswith("MONOCHROME")
        and (layout.dtype.itemsize, len(layout.shape)) == (2, 2)
    ):
        return SampleForm(BIG, planar=False, packed=False)
    return None


def _has_own(
    instance: Instance,
    file: Original,
    originals: Originals,
    slices: Sequence[int],
    parts: Sequence[Part],
) -> bool:
    """Return whether the coded frames in a file are, as a whole, those of its slices."""
    syntax, place = coded_syntax_of(instance.transfer_syntax), instance.pixels
    if syntax is None or syntax.codec is None or place is None or len(originals.coded) == 0:
        return False
    value = instance.read(place.offset, place.length)
    check_order(instance, value, len(slices))
    found = coded_frames(value, len(slices))
    pieces = [(p, part) for p, part in zip(file.pieces, parts, strict=True) if isinstance(p, Coded)]
    jpeg = any(piece.jpeg for piece, _ in pieces)
    if found is None or syntax.codec.name != originals.codec or syntax.is_jpeg != jpeg:
        return False
    own: dict[int, list[bytes | memoryview]] = {index: [] for index in slices}
    ends = dict.fromkeys(slices, 0)
    for piece, part in pieces:
        if piece.jpeg != jpeg or ends.get(piece.frame) != piece.start:
            return False  # a gap: something was added to the JPEG, so its colours are in question
        own[piece.frame].append(part[:])
        ends[piece.frame] += len(part)
    for frame, index in zip(found, slices, strict=True):
        whole = b"".join(own[index])  # copies nothing if there is one piece
        if whole != originals.coded_frame(Coded(index, 0, len(whole), jpeg)):
            return False
        if not frame.startswith(whole) or frame[len(whole) :].strip(b"\0"):
            return False
    return True


def _has_recipes(instance: Instance, slices: Sequence[int], volume: NDArray[Any]) -> bool:
    """Return whether the coded frames in a file are what recipes code the slices to.

    They then decode to these, which needs no decoder to be known. Those of JPEG Lossless don't say
    which samples they decode to if a point transform drops bits, but need no plugin to be decoded.
    """
    kind, place = RECIPE_KINDS.get(instance.transfer_syntax), instance.pixels
    if kind is None or kind == JPEG_LOSSLESS or place is None:
        return False
    value = instance.read(place.offset, place.length)
    check_order(instance, value, len(slices))
    found = coded_frames(value, len(slices))
    if found is None:
        return False
    for coded, index in zip(found, slices, strict=True):
        declared = declared_by(coded)
        if declared is not None and not _is_extended(volume[index], declared.bits):
            return False
        recipe = find_recipe(kind, volume[index], coded)
        if recipe is None or coded[recipe.coded_size :].strip(b"\0"):
            return False
    return True


def _is_extended(frame: NDArray[Any], bits: int) -> bool:
    """Return whether bits above those of a codestream are zeros, or repeat the sign."""
    unused = max(0, 8 * frame.dtype.itemsize - bits)
    return np.array_equal(frame << unused >> unused, frame)


def _is_alike(instance: Instance, found: NDArray[Any], shown: NDArray[Any]) -> bool:
    """Return whether decoded frames differ from the volume no more than lossy decoders do.

    Decoders of lossy frames round differently: by up to 6 of 256 in JPEG 2000 (ISO/IEC 15444-4,
    class 1) and 8 in HTJ2K, and by 7 in colour JPEG (2 for each component by IEEE 1180, which the
    conversion of colours magnifies). More bits of a sample scale that.
    """
    if instance.transfer_syntax in REVERSIBLE or found.dtype.kind not in "iu":
        return False
    bits = min(max(instance.number(_STORED, 8), 8), 8 * found.dtype.itemsize)
    most = _MOST_DIFFERENCE << bits - 8
    difference = np.maximum(found, shown) - np.minimum(found, shown)  # may exceed a signed dtype
    return int(difference.view(f"u{found.dtype.itemsize}").max(initial=0)) <= most


def _changed_by_decoding(instance: Instance, meta: DicomMeta, index: int) -> tuple[int, ...]:
    """Return the tags of the elements that the metadata state as they are after decoding."""
    layout, original = frame_layout(instance), instance.text(_INTERPRETATION)
    if layout.direct or not original.startswith(("YBR", "XYB")):
        return ()
    stated = meta.get("PhotometricInterpretation", force_nonshared=True)[index]
    return (_INTERPRETATION,) if stated in ("RGB", "YBR_FULL") else ()


def _fault_of_other(
    file: Original,
    originals: Originals,
    index: int,
    stated: Mapping[str, Collection[str]] | None,
    shown: ComparedElements | None,
) -> str:
    """Return what a file without frames contradicts; '' for nothing.

    Args:
        file: the file.
        originals: all files.
        index: of the file among those without frames.
        stated: what the metadata identify the images by; None if there are no images.
        shown: the metadata, which are those of these files if there are no images; None if there
            are none.
    """
    parts = _parts_of(file, originals, np.zeros((0,), originals.dtype))
    try:
        instance = read_instance(FileInParts(file.name, parts or ()))
        if instance is None or instance.is_directory:
            return f"{file.label} is no DICOM file of a series"
        if shown is None:
            return ""
        if stated is not None:
            name = contradicted(instance, stated)
        else:
            name = shown.difference(instance, [index], may_lack_large=True)
    except (MetaDataError, DataConsistencyError, CodecError) as error:
        return error.message
    return f"{file.label}: {name} is not that of the metadata" if name else ""
