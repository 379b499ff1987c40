"""`verify_file`: checks that a dicube file is undamaged and consistent.

Reads every section, decodes every frame, and compares the parts with each other.
`original_comparison` compares restored files with the originals. Must not know how a report is
shown.
"""

from __future__ import annotations

import math
import os
from collections.abc import Container, Iterator, Mapping
from functools import partial
from itertools import islice, pairwise
from typing import Any

import numpy as np

from dicube.core.cube_parts import ORIGINALS, ORIGINALS_BULK, CubeParts, read_parts
from dicube.core.fidelity.agreement import contradictions
from dicube.core.geometry.placement import space_of_nifti
from dicube.dicom.dicom_status import DicomStatus, dicom_findings
from dicube.dicom.metadata.slice_order import numbers
from dicube.dicom.series.geometry import Space, same_space, space_or_reason
from dicube.exceptions import (
    CodecError,
    DataConsistencyError,
    DicomCubeError,
    MissingPackageError,
)
from dicube.nifti import is_nifti_name
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.intact_frames import failure_of, failures_of, ranges_of
from dicube.storage.url_files import local_copy
from dicube.storage.urls import name_of_source
from dicube.threads import Progress, thread_count
from dicube.verify.nifti_comparison import compare_with_nifti
from dicube.verify.original_comparison import compare_with_originals
from dicube.verify.report import MOST_PROBLEMS, Check, VerificationReport, judged, unknown

_ORIGINAL_FILES = "original files"  # name of a check
_FRAME_LEVELS = "frame_levels"  # name of a section
# Earlier versions didn't find all of these, and stored what they found instead.
_LATER_STATUSES = frozenset(
    {
        DicomStatus.NON_UNIFORM_RESCALE_FACTOR,
        DicomStatus.UNREADABLE_RESCALE,
        DicomStatus.INCONSISTENT,
    }
)
_LOSSY_KINDS = (".dcbl", ".dcbr")
# Frames decoded at a time, into a buffer that is reused; fewer if they take more bytes than this.
_BATCH = 32
_BATCH_BYTES = 64 << 20


def verify_file(
    path: str | os.PathLike[str],
    against: str | os.PathLike[str] | None = None,
    *,
    num_threads: int | None = None,
    progress: Progress | None = None,
    require_checksums: bool = False,
    require_originals: bool = False,
    whole_source: bool = False,
    show_values: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> VerificationReport:
    """Check a dicube file: structure, checksums, frames, metadata, counts, geometry, originals.

    A check that can't be made is reported as unknown and is no failure. Files of the published
    package 0.3.0, for example, have no checksums; all other checks apply to them too.

    Args:
        path: the file, or its URL.
        against: a folder or zip archive with the DICOM files that the file was made from. Each is
            compared with the file that is restored: byte by byte if the dicube file keeps its
            originals, else element by element and sample by sample. Or the NIfTI file that it was
            made from: .nii, .nii.gz, or either file of a pair of .hdr and .img. A DICOM file of the
            same study and series that is not in the dicube file is a failure. An archive or a NIfTI
            file may be at a URL.
        num_threads: threads for decoding; None or 0 for one per available processor.
        progress: called as `progress(done, total)`, in frames.
        require_checksums: fail if the file has no checksums.
        require_originals: fail unless the original files can be restored to the byte, as checksums
            in the file show, or the comparison with `against`.
        whole_source: DICOM files of other series in `against`, and a DICOMDIR, are failures too;
            otherwise they are counted.
        show_values: show the values of elements, and of fields of a NIfTI header, that differ from
            those of `against`. They may identify a patient; the report names them and their size.
        storage_options: for the file system of a `path` that is a URL, as in fsspec.

    Returns:
        A report, true if no check failed. Damage is reported there, not raised.

    Raises:
        CubeFileNotFoundError: the file or the folder does not exist.
        CubeFileAccessError: the operating system refuses to read.
        MissingPackageError: (an ImportError too) a URL needs a package that is not installed, or
            `against` is a NIfTI file, and nibabel is not installed.
        DataConsistencyError: an argument is invalid: `whole_source` without `against`, a negative
            `num_threads`, a URL that fsspec can't open, or `storage_options` with a path.

    Example:
        >>> report = dicube.verify_file("head.dcbs", against="series")
        >>> report.ok
        True
        >>> [check.name for check in report.checks if check.outcome.value == "failed"]
        []
        >>> report.unchecked
        ()
    """
    if whole_source and against is None:
        raise DataConsistencyError(
            "whole_source needs a folder to compare with", suggestion="against="
        )
    try:
        reader = DcbReader(path, num_threads=num_threads, storage_options=storage_options)
    except (OSError, DataConsistencyError, MissingPackageError):  # not the file's fault
        raise
    except DicomCubeError as error:
        checks = [judged("structure", "can't open the file", [error.message])]
    else:
        with reader:
            checks = list(_checks_of(reader, thread_count(num_threads), progress))
    report = VerificationReport(name_of_source(path), tuple(checks))
    if against is not None:
        if not report.ok:
            compared = [unknown("originals", "not compared, because the file is damaged")]
        else:
            with local_copy(path, storage_options) as file, local_copy(against) as source:
                if is_nifti_name(source) and not os.path.isdir(source):
                    compared = compare_with_nifti(file, source, num_threads, show_values)
                else:
                    compared = compare_with_originals(
                        file, source, num_threads, whole_source, show_values
                    )
        report = VerificationReport(report.path, (*checks, *compared))
    if require_checksums:
        report = report.requiring("checksums")
    if require_originals and not report.passed("original bytes"):
        report = report.requiring(_ORIGINAL_FILES)
    return report


def _checks_of(reader: DcbReader, num_threads: int, progress: Progress | None) -> Iterator[Check]:
    """Yield the checks of an open file."""
    yield _structure(reader)
    damaged_sections = _damaged_sections(reader)
    damaged_frames, undecodable = _damaged_frames(reader, progress)
    frames, sections = reader.shape[0], len(reader.sections)
    message = f"{sections} sections and {frames} frames checked{_listed(damaged_frames)}"
    decoded = f"{frames} decoded, codec {reader.codec}"
    if reader.has_checksums:
        yield judged("checksums", message, [*damaged_sections, *damaged_frames.values()])
        problems = list(undecodable.values())
    else:
        yield unknown("checksums", "the file has none (written by a published version)")
        undecodable |= damaged_frames
        problems = [*damaged_sections, *undecodable.values()]
    yield judged("frames", decoded + _listed(undecodable), problems)
    if _FRAME_LEVELS in reader.sections:
        yield _levels(reader, (damaged_frames | undecodable).keys())
    try:
        parts = read_parts(reader)
    except OSError:
        raise
    except DicomCubeError as error:
        yield judged("metadata", "can't read the metadata", [error.message])
        return
    if parts.meta is None:
        yield unknown("metadata", "the file has none")
    else:
        yield judged(
            "metadata", f"{len(parts.meta)} elements in {parts.meta.slice_count} slices", []
        )
    yield _counts(reader, parts)
    yield _geometry(reader, parts)
    yield _status(reader, parts)
    if parts.origin.losses or reader.extension in _LOSSY_KINDS:
        yield _losses(reader, parts)
    if parts.origin.nifti is not None:
        yield _nifti(reader, parts)
    damage = [*(damaged_frames | undecodable).values()]
    yield from _originals(reader, parts, damage, num_threads)


def _listed(failed: Mapping[int, str]) -> str:
    """Return the numbers of all failed frames; a check keeps only the first problems."""
    return f"; damaged: {ranges_of(sorted(failed))}" if failed else ""


def _structure(reader: DcbReader) -> Check:
    """Check that no two frames overlap; opening the file has checked the rest."""
    ranges = sorted((*reader.coded_range(index), index) for index in range(reader.shape[0]))
    shared = [
        f"frames {one[2]} and {other[2]} overlap: {one[1]} bytes at {one[0]}, {other[1]} bytes "
        f"at {other[0]}"
        for one, other in pairwise(ranges)
        if one[0] + one[1] > other[0]
    ]
    if not ranges and ORIGINALS not in reader.sections:
        shared.append("the file holds neither frames nor original files")
    shape = " x ".join(map(str, reader.shape))
    message = f"{shape} {reader.dtype.name}, {reader.file_size:,} bytes"
    return judged("structure", message, shared)


def _damaged_sections(reader: DcbReader) -> list[str]:
    # Bulk may be too large for memory; restoring the files checks each of its ranges.
    names = (name for name in reader.sections if name != ORIGINALS_BULK)
    found = (failure_of(partial(reader.sections.__getitem__, name)) for name in names)
    return [error.message for error in found if error is not None]


def _damaged_frames(
    reader: DcbReader, progress: Progress | None
) -> tuple[dict[int, str], dict[int, str]]:
    """Decode all frames; return the damaged ones and those that don't decode, with reasons."""
    damaged: dict[int, str] = {}
    undecodable: dict[int, str] = {}
    count = reader.shape[0]
    frame_bytes = math.prod(reader.shape[1:]) * reader.dtype.itemsize
    batch = max(1, min(_BATCH, count, _BATCH_BYTES // max(frame_bytes, 1)))
    try:
        buffer = reader.new_array((batch, *reader.shape[1:]), reader.dtype)
    except DicomCubeError as too_large:
        return damaged, dict.fromkeys(range(count), too_large.message)

    def decode(first: int, last: int) -> None:
        reader.read_frames(first, last, out=buffer[: last - first])

    for first in range(0, count, batch):
        last = min(first + batch, count)
        for index, error in failures_of(decode, first, last):
            kind = undecodable if isinstance(error, CodecError) else damaged
            kind[index] = error.message
        if progress is not None:
            progress(last, count)
    return damaged, undecodable


def _levels(reader: DcbReader, damaged: Container[int]) -> Check:
    """Check that each level decodes from the part of a frame that the file gives for it.

    It then equals that of the whole frame: libdicube reads the same bytes, or fails.
    """
    intact = [frame for frame in range(reader.shape[0]) if frame not in damaged]
    error = failure_of(lambda: reader.levels)
    if error is not None:
        return judged("levels", "can't read them", [error.message])
    problems = []
    for level in range(1, reader.levels + 1):

        def decode(first: int, last: int, level: int = level) -> None:
            reader.read_frame_list(intact[first:last], level=level)

        for first in range(0, len(intact), _BATCH):
            found = failures_of(decode, first, min(first + _BATCH, len(intact)))
            problems += [
                f"level {level}: {failure.message}"
                for _, failure in found
                # A frame of another encoder may have fewer levels than the first one.
                if not isinstance(failure, DataConsistencyError)
            ]
    return judged(
        "levels", f"1 to {reader.levels} decoded, each from its part of a frame", problems
    )


def _counts(reader: DcbReader, parts: CubeParts) -> Check:
    """Check that frames, metadata and geometry describe a volume of one shape."""
    problems: list[str] = []
    if not reader.shape[0]:
        return unknown("counts", "the file holds no frames")
    if parts.meta is not None and parts.meta.slice_count != reader.shape[0]:
        problems.append(
            f"{reader.shape[0]} frames, but metadata of {parts.meta.slice_count} slices"
        )
    if parts.space is not None and tuple(parts.space.shape) != reader.shape[:3]:
        problems.append(
            f"frames of shape {reader.shape[:3]}, but geometry of {tuple(parts.space.shape)}"
        )
    if parts.meta is not None:
        for keyword, size in (("Rows", reader.shape[1]), ("Columns", reader.shape[2])):
            values = {found[0] for found in numbers(parts.meta, keyword, 1) if found is not None}
            if values - {size}:
                problems.append(f"{keyword} is {max(values - {size}):g}, but frames have {size}")
    return judged("counts", "shape of frames, metadata and geometry", problems)


def _geometry(reader: DcbReader, parts: CubeParts) -> Check:
    """Check that the metadata give the voxels the positions of the file's geometry."""
    if parts.space is None:
        return unknown("geometry", "the file has none")
    if parts.meta is None:
        return unknown("geometry", "not compared: the file has no metadata")
    from_meta, reason = space_or_reason(parts.meta)
    if from_meta is None:
        return unknown("geometry", f"the metadata define none: {reason}")
    expected = from_meta.reverse_axis_order()
    if same_space(expected, parts.space):
        return judged("geometry", "agrees with the metadata", [])
    message = "differs from that of the metadata"
    if not reader.has_checksums:  # published versions computed it by other rules
        return unknown("geometry", message)
    return judged("geometry", message, _differing_fields(expected, parts.space))


def _status(reader: DcbReader, parts: CubeParts) -> Check:
    """Check that the status is that of the metadata."""
    if parts.meta is None or not reader.shape[0]:
        return unknown("status", "not compared: the file has no metadata of slices")
    expected = [DicomStatus(finding.kind) for finding in dicom_findings(parts.meta)]
    expected.append(DicomStatus.CONSISTENT)
    before = next(status for status in expected if status not in _LATER_STATUSES)
    if parts.status in (expected[0], before):
        return judged("status", f"{parts.status.value}, as the metadata have it", [])
    message = f"the metadata have {expected[0].value}, the file states {parts.status.value}"
    if parts.origin.objection(parts.meta, parts.header, parts.space):  # it may have been set
        return unknown("status", message)
    return judged("status", "differs from that of the metadata", [message])


def _losses(reader: DcbReader, parts: CubeParts) -> Check:
    """Check that losses are recorded where frames are lossy, and are what was asked for."""
    losses, problems = parts.origin.losses, []
    if not losses:
        message = f"a {reader.extension} file records none"
        return unknown("losses", message)
    for number, loss in enumerate(losses):
        bound = loss.settings.get("max_error")
        if bound is not None and loss.max_error > bound:
            problems.append(f"loss {number}: error {loss.max_error}, at most {bound:g} asked for")
        if loss.rmse > loss.max_error:
            problems.append(f"loss {number}: RMSE {loss.rmse:g} above the error {loss.max_error}")
    return judged("losses", f"{len(losses)} recorded", problems)


def _nifti(reader: DcbReader, parts: CubeParts) -> Check:
    """Compare the NIfTI header with the sections that take precedence over it."""
    name, nifti = "NIfTI header", parts.origin.nifti
    assert nifti is not None
    header, space = parts.header, space_of_nifti(nifti)[0]
    other = [
        what
        for what, differs in (
            ("shape", nifti.voxels_shape != reader.shape),
            ("samples", nifti.sample_dtype.newbyteorder("=") != reader.dtype),
            ("rescale", nifti.rescale != (header.RescaleSlope, header.RescaleIntercept)),
            ("geometry", not _is_same_space(space, parts.space)),
        )
        if differs
    ]
    if not other:
        return judged(name, "agrees with frames, rescale and geometry", [])
    # It is kept as it was read when these are edited, and they count.
    return unknown(name, f"has another {', '.join(other)} than the rest of the file, which counts")


def _is_same_space(one: Space | None, other: Space | None) -> bool:
    return one is other if one is None or other is None else same_space(one, other)


def _originals(
    reader: DcbReader, parts: CubeParts, damage: list[str], num_threads: int
) -> Iterator[Check]:
    """Check that each original file is restored with its SHA-256, and agrees with the rest."""
    name = _ORIGINAL_FILES
    provenance = parts.origin.provenance
    reason = parts.origin.objection(parts.meta, parts.header, parts.space)
    if parts.origin.nifti is not None and reason:
        reason = "the file has no checksum of its NIfTI file, which --against can compare"
    has_originals = ORIGINALS in reader.sections and reader.sections.size(ORIGINALS) > 0
    if provenance is None or (reason and not has_originals):
        yield unknown(name, reason)
        return
    if damage:  # the volume may take any amount of memory, however few frames decode
        yield judged(name, "can't restore them", damage)
        return
    found: list[str] = []
    contradicted: list[str] = []
    not_compared: list[str] = []

    def restore() -> None:
        volume = reader.read_frames() if reader.shape[0] else np.zeros(reader.shape, reader.dtype)
        changed = provenance.originals.changed(volume, num_threads)
        found.extend(file.label for file in changed)
        # Each may take long to find if values of metadata are long.
        found_in_all = contradictions(
            parts, provenance.originals, volume, num_threads, not_compared=not_compared
        )
        contradicted.extend(islice(found_in_all, MOST_PROBLEMS))

    error = failure_of(restore)
    if error is not None:
        yield judged(name, "can't restore them", [error.message])
        return
    count = len(provenance.originals.all_files)
    problems = [f"{file}: the restored file has another SHA-256" for file in found]
    yield judged(name, f"{count} restored and compared with their SHA-256", problems)
    message = "metadata, header, geometry and pixels compared with the original files"
    yield judged("agreement", message, contradicted)
    if not_compared:
        listed = "; ".join(sorted(not_compared)[:MOST_PROBLEMS])
        yield unknown("kept frames", f"those of {len(not_compared)} files not compared: {listed}")


def _differing_fields(expected: Space, stored: Space) -> list[str]:
    """Return the fields in which two spaces differ, with the values of both."""
    problems = []
    for name in ("shape", "origin", "spacing", "z_orientation", "y_orientation", "x_orientation"):
        one, other = (tuple(float(n) for n in getattr(space, name)) for space in (expected, stored))
        if one != other:
            problems.append(f"{name}: expected {one}, found {other}")
    return problems
