"""Whether a dicube file is whole and means what it says: `verify_file`.

Every section and frame is read and decoded, and the parts are held against each other. What the
file restores is compared with originals in `original_comparison`. Must not know how a report is
shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise

from dicube.core.cube_parts import CubeParts, read_parts_and_provenance
from dicube.core.provenance import Provenance
from dicube.dicom.metadata.slice_order import numbers
from dicube.dicom.series.geometry import Space, same_space, space_or_reason
from dicube.exceptions import CodecError, DicomCubeError
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.intact_frames import failure_of, failures_of, ranges_of
from dicube.storage.progress import Progress
from dicube.threads import thread_count
from dicube.verify.original_comparison import compare_with_originals
from dicube.verify.report import Check, VerificationReport, judged, unknown

_BATCH = 32  # frames decoded at a time, into memory that is used again


def verify_file(
    path: str | os.PathLike[str],
    against: str | os.PathLike[str] | None = None,
    *,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> VerificationReport:
    """Check a dicube file: structure, checksums, frames, metadata, counts, geometry, originals.

    Files of published writers have no checksums; all else is checked of them too.

    Args:
        path: the file.
        against: a folder or zip archive with the DICOM files that it was made from. Each is
            compared with what the file restores: byte by byte if the file keeps its originals
            exactly, and else element by element and sample by sample.
        num_threads: threads for decoding; None or 0 for one for each processor.
        progress: called as `progress(done, total)`, in frames.

    Returns:
        A report, true if all holds. That a file is damaged is a finding and not an exception.

    Raises:
        CubeFileNotFoundError: the file or the folder does not exist.
        CubeFileAccessError: the operating system refuses to read.
    """
    try:
        reader = DcbReader(path, num_threads=num_threads)
    except OSError:
        raise
    except DicomCubeError as error:
        checks = [judged("structure", "the file can't be opened", [error.message])]
    else:
        with reader:
            checks = list(_checks_of(reader, thread_count(num_threads), progress))
    report = VerificationReport(os.fspath(path), tuple(checks))
    if against is None:
        return report
    if not report.ok:
        compared = [unknown("originals", "not compared, as the file is damaged")]
    else:
        compared = compare_with_originals(path, against, num_threads)
    return VerificationReport(report.path, (*checks, *compared))


def _checks_of(reader: DcbReader, num_threads: int, progress: Progress | None) -> Iterator[Check]:
    """Yield the checks of an open file."""
    yield _structure(reader)
    damaged_sections = _damaged_sections(reader)
    damaged_frames, undecodable = _damaged_frames(reader, progress)
    frames, sections = reader.shape[0], len(reader.sections)
    message = f"of {sections} sections and {frames} frames{_listed(damaged_frames)}"
    decoded = f"{frames} decoded, by {reader.codec}"
    if reader.has_checksums:
        yield judged("checksums", message, [*damaged_sections, *damaged_frames.values()])
        problems = list(undecodable.values())
    else:
        yield unknown("checksums", "the file has none: a published writer's")
        undecodable |= damaged_frames
        problems = [*damaged_sections, *undecodable.values()]
    yield judged("frames", decoded + _listed(undecodable), problems)
    try:
        parts, provenance = read_parts_and_provenance(reader)
    except OSError:
        raise
    except DicomCubeError as error:
        yield judged("metadata", "can't be read", [error.message])
        return
    if parts.meta is None:
        yield unknown("metadata", "the file has none")
    else:
        yield judged(
            "metadata", f"{len(parts.meta)} elements of {parts.meta.slice_count} slices", []
        )
    yield _counts(reader, parts)
    yield _geometry(reader, parts)
    yield _originals(reader, parts, provenance, num_threads)


def _listed(failed: Mapping[int, str]) -> str:
    """Return the numbers of all frames that fail: of problems only the first are kept."""
    return f"; damaged: {ranges_of(sorted(failed))}" if failed else ""


def _structure(reader: DcbReader) -> Check:
    """Check that no two frames share bytes; opening the file has checked the rest."""
    ranges = sorted((*reader.coded_range(index), index) for index in range(reader.shape[0]))
    shared = [
        f"frames {one[2]} and {other[2]} share bytes: {one[1]} from {one[0]}, {other[1]} from "
        f"{other[0]}"
        for one, other in pairwise(ranges)
        if one[0] + one[1] > other[0]
    ]
    if not ranges:
        shared.append("the file holds no frames")
    shape = " x ".join(map(str, reader.shape))
    message = f"{shape} {reader.dtype.name}, {reader.file_size:,} bytes"
    return judged("structure", message, shared)


def _damaged_sections(reader: DcbReader) -> list[str]:
    found = (failure_of(partial(reader.sections.__getitem__, name)) for name in reader.sections)
    return [error.message for error in found if error is not None]


def _damaged_frames(
    reader: DcbReader, progress: Progress | None
) -> tuple[dict[int, str], dict[int, str]]:
    """Decode all frames; return what is wrong with their bytes, and what with decoding them."""
    damaged: dict[int, str] = {}
    undecodable: dict[int, str] = {}
    count = reader.shape[0]
    buffer = reader.new_array((min(_BATCH, count), *reader.shape[1:]), reader.dtype)

    def decode(first: int, last: int) -> None:
        reader.read_frames(first, last, out=buffer[: last - first])

    for first in range(0, count, _BATCH):
        last = min(first + _BATCH, count)
        for index, error in failures_of(decode, first, last):
            kind = undecodable if isinstance(error, CodecError) else damaged
            kind[index] = error.message
        if progress is not None:
            progress(last, count)
    return damaged, undecodable


def _counts(reader: DcbReader, parts: CubeParts) -> Check:
    """Check that frames, metadata and geometry are of the same volume."""
    problems = []
    if parts.meta is not None and parts.meta.slice_count != reader.shape[0]:
        problems.append(f"{reader.shape[0]} frames, metadata of {parts.meta.slice_count} slices")
    if parts.space is not None and tuple(parts.space.shape) != reader.shape[:3]:
        problems.append(f"frames of {reader.shape[:3]}, geometry of {tuple(parts.space.shape)}")
    if parts.meta is not None:
        for keyword, size in (("Rows", reader.shape[1]), ("Columns", reader.shape[2])):
            told = {found[0] for found in numbers(parts.meta, keyword, 1) if found is not None}
            if told - {size}:
                problems.append(f"{keyword} is {max(told - {size}):g}, frames have {size}")
    return judged("counts", "frames, metadata and geometry are of one volume", problems)


def _geometry(reader: DcbReader, parts: CubeParts) -> Check:
    """Check that metadata and geometry put the voxels at the same place."""
    if parts.space is None:
        return unknown("geometry", "the file has none")
    told, reason = (
        (None, "there are no metadata") if parts.meta is None else space_or_reason(parts.meta)
    )
    if told is None:
        return unknown("geometry", f"the metadata don't tell it: {reason}")
    if same_space(told.reverse_axis_order(), parts.space):
        return judged("geometry", "is where the metadata tell", [])
    message = "the metadata tell another geometry than the file's"
    if not reader.has_checksums:  # published writers had other rules
        return unknown("geometry", message)
    return judged("geometry", message, _differing_fields(told.reverse_axis_order(), parts.space))


def _originals(
    reader: DcbReader, parts: CubeParts, provenance: Provenance, num_threads: int
) -> Check:
    """Check that each original file that is kept comes back with its SHA-256."""
    name = "original files"
    reason = provenance.objection(parts.meta, parts.header, parts.space)
    if reason:
        return unknown(name, reason)
    found: list[str] = []

    def restore() -> None:
        changed = provenance.originals.changed(reader.read_frames(), num_threads)
        found.extend(file.name for file in changed)

    error = failure_of(restore)
    if error is not None:
        return judged(name, "can't be restored", [error.message])
    count = len(provenance.originals.all_files)
    problems = [f"{file} is not what its SHA-256 says" for file in found]
    return judged(name, f"{count} restored, as their SHA-256 says", problems)


def _differing_fields(told: Space, stored: Space) -> list[str]:
    """Return what two spaces differ in, the metadata's first."""
    problems = []
    for name in ("shape", "origin", "spacing", "z_orientation", "y_orientation", "x_orientation"):
        one, other = (tuple(float(n) for n in getattr(space, name)) for space in (told, stored))
        if one != other:
            problems.append(f"{name} {one} against {other}")
    return problems
