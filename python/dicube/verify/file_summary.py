"""Summary of a dicube file, made without decoding its frames. Must not know how it is shown."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicube.core.cube_parts import CubeParts, names_in_file, read_originals, read_parts
from dicube.core.lossy.loss import Loss
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_status import Finding
from dicube.dicom.identifiers import identifiers
from dicube.dicom.metadata.real_world import values_of_slices
from dicube.dicom.originals.model import Recoded, size_of
from dicube.dicom.series.check import check_dicom
from dicube.dicom.series.precedence import UNITS, mappings_of_slices
from dicube.exceptions import DataConsistencyError
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.urls import name_of_source

if TYPE_CHECKING:
    from dicube.dicom.series.geometry import Space

_SPACE_FIELDS = ("shape", "origin", "spacing", "x_orientation", "y_orientation", "z_orientation")


@dataclass(frozen=True)
class OriginalsSummary:
    """How a file keeps the files that it restores to the byte.

    Attributes:
        files: how many.
        size: their bytes, when they are restored.
        recoded: the number of files whose frames are coded again, by the kind of the recipe.
        kept: the number of files whose coded frames are kept as they are, by the reason.
        kept_size: the bytes of these frames.
        whole: the names of the files that hold no frames of the volume, and why they don't.
    """

    files: int
    size: int
    recoded: dict[str, int]
    kept: dict[str, int]
    kept_size: int
    whole: dict[str, str]


@dataclass(frozen=True)
class FileSummary:
    """The facts that `dicube info` shows of a file.

    Attributes:
        path: the file; a URL without credentials.
        codec: 'jph' (HTJ2K) or 'jxl' (JPEG XL).
        format_version: of the container.
        shape: (slices, rows, columns[, 3]).
        dtype: of the stored values.
        file_size, raw_size: bytes of the file, and of the decoded pixels.
        ratio: raw_size / file_size.
        has_checksums: whether the file has checksums, so that damage is detected when it is read.
        sections: bytes of each section, by name.
        status: of the series, as text.
        findings: the problems of the series; see `dicube.check_dicom`.
        rescale: slope and intercept of the pixel header: those of the first slice.
        real_values: how stored values become real ones, with the units of a mapping.
        mappings: of the first slice, in the order of their numbers for `get_fdata(real_world=)`.
        losses: what lossy coding changed; empty if everything was lossless.
        space: the geometry's fields, in (z, y, x) order; None where it isn't known.
        originals: how the original files are kept; None if they are not.
        original_files: the names of the files stored, of a file without frames.
        tags: what identifies patient, study and series, and their dates and times, by keyword:
            texts and integers, of the first slice if slices differ; only those present.
    """

    path: str
    codec: str
    format_version: int
    shape: tuple[int, ...]
    dtype: str
    file_size: int
    raw_size: int
    ratio: float
    has_checksums: bool
    sections: dict[str, int]
    status: str
    findings: tuple[Finding, ...]
    rescale: tuple[float, float]
    real_values: str
    mappings: tuple[str, ...]
    losses: tuple[Loss, ...]
    space: dict[str, list[float]] | None
    originals: OriginalsSummary | None
    original_files: tuple[str, ...]
    tags: dict[str, Any]


def summarize_file(path: str | os.PathLike[str]) -> FileSummary:
    """Return the summary of the file at a path.

    Raises:
        InvalidCubeFileError: the file does not exist, can't be read, is damaged or too new.
        MetaDataError: its metadata is malformed.
    """
    with DcbReader(path) as reader:
        parts = read_parts(reader)
        raw_size = math.prod(reader.shape) * reader.dtype.itemsize
        is_image = reader.shape[0] > 0
        return FileSummary(
            path=name_of_source(path),
            codec=reader.codec,
            format_version=reader.format_version,
            shape=reader.shape,
            dtype=reader.dtype.name,
            file_size=reader.file_size,
            raw_size=raw_size,
            ratio=raw_size / reader.file_size,
            has_checksums=reader.has_checksums,
            sections={name: reader.sections.size(name) for name in reader.sections},
            status=parts.status.value,
            findings=tuple(check_dicom(parts.meta)) if parts.meta and is_image else (),
            rescale=(parts.header.RescaleSlope, parts.header.RescaleIntercept),
            real_values=_real_values(parts, reader.dtype) if is_image else "",
            mappings=_mappings(parts.meta) if parts.meta and is_image else (),
            losses=parts.origin.losses,
            space=None if parts.space is None else _space_fields(parts.space),
            originals=_originals(reader),
            original_files=() if is_image else names_in_file(reader),
            tags={} if parts.meta is None else _tags_of(parts.meta),
        )


def holds(path: str | os.PathLike[str], section: str) -> bool:
    """Return whether the file at a path has a section of this name that is not empty.

    Raises:
        InvalidCubeFileError: the file does not exist, can't be read, is damaged or too new.
    """
    with DcbReader(path) as reader:
        return section in reader.sections and reader.sections.size(section) > 0


def _originals(reader: DcbReader) -> OriginalsSummary | None:
    stored = read_originals(reader)
    if stored is None:
        return None
    originals = stored()
    frame_size = math.prod(reader.shape[1:]) * reader.dtype.itemsize
    recoded, kept = Counter[str](), Counter[str]()
    for file in originals.all_files:
        kinds = {piece.recipe.kind for piece in file.pieces if isinstance(piece, Recoded)}
        recoded.update(kinds)
        if file.kept_size:
            kept[file.why] += 1
    return OriginalsSummary(
        files=len(originals.all_files),
        size=sum(size_of(p, frame_size) for file in originals.all_files for p in file.pieces),
        recoded=dict(recoded),
        kept=dict(kept),
        kept_size=sum(file.kept_size for file in originals.all_files),
        whole={file.name: file.why for file in originals.others},
    )


def _real_values(parts: CubeParts, dtype: np.dtype[Any]) -> str:
    """Return how the stored values of the first slice become real ones."""
    try:
        mappings = mappings_of_slices(parts.meta, parts.header, dtype)
    except DataConsistencyError as error:
        return error.message
    if mappings is None:
        header = parts.header
        line, units = (header.RescaleSlope, header.RescaleIntercept), header.Extras.get(UNITS, "")
    else:
        first = mappings[0]
        if first.unreadable:
            return f"unknown: {first.unreadable}"
        if not first.is_unlimited or first.line is None:
            return f"by the table or ranges of {first}"
        line, units = first.line, first.units
    return f"stored value * {line[0]:g} + {line[1]:g} {units}".rstrip()


def _mappings(meta: DicomMeta) -> tuple[str, ...]:
    return tuple(map(str, values_of_slices(meta)[0].mappings))


def _space_fields(space: Space) -> dict[str, list[float]]:
    """Return the fields of a space as plain numbers."""
    return {name: [float(number) for number in getattr(space, name)] for name in _SPACE_FIELDS}


def _tags_of(meta: DicomMeta) -> dict[str, Any]:
    return identifiers(lambda keyword: meta.get_of_slice(keyword, 0))
