"""Mosaics: images that hold all slices of a volume as tiles, of Siemens and UIH.

The images are stored as they are. This gives the number, the arrangement and the geometry of the
slices in them, by dcm2niix (console/nii_dicom.cpp, nii_demosaic and set_nii_header_x). Must not
know pixels or files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dicube.dicom.dicom_tags import get_tag_key
from dicube.dicom.metadata.lookup import converted
from dicube.dicom.metadata.slice_order import normal_of, numbers, orientations, positions
from dicube.dicom.series.csa import CsaValues, csa_numbers, csa_values
from dicube.dicom.series.geometry import Grid
from dicube.dicom.series.vendors import (
    CSA_IMAGE_HEADER,
    FRAMES_IN_MOSAIC,
    image_counts,
    private_values,
)
from dicube.exceptions import DataConsistencyError

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta

_POSITION = get_tag_key("ImagePositionPatient")
# Largest distance of a slice from an even grid, in steps.
_EVEN = 0.1
_REMEDY = "raw_image has the images as they are, with the slices as tiles"

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Mosaic:
    """The slices in an image.

    Attributes:
        count: of slices.
        tiles: rows and columns of tiles, filled row by row.
        grid: geometry of the slices.
    """

    count: int
    tiles: tuple[int, int]
    grid: Grid


def mosaics_of(meta: DicomMeta) -> list[Mosaic]:
    """Return the slices in each image of a series; [] if its images are single slices.

    Raises:
        DataConsistencyError: some images only are mosaics; or the number, size or position of the
            slices in them is unknown.
    """
    counts = image_counts(meta)
    if not any(counts):
        return []
    if not all(counts):
        raise _refused(f"{sum(map(bool, counts))} of {len(counts)} images are mosaics")
    headers: list[Any] = [None] * meta.slice_count
    frames: list[Any] = [None] * meta.slice_count
    for found, meaning in ((headers, CSA_IMAGE_HEADER), (frames, FRAMES_IN_MOSAIC)):
        for private in private_values(meta, meaning):
            found[:] = [b if a is None else a for a, b in zip(found, private.values, strict=True)]
    headers = converted(headers, lambda data: csa_values(data) if isinstance(data, bytes) else {})
    made = []
    for index, count in enumerate(counts):
        header = headers[index]
        if count < 2:
            count = int(next(iter(csa_numbers(header, "NumberOfImagesInMosaic")), 0))
        if count < 2:
            raise _refused(f"image {index} does not say how many slices it holds")
        items = frames[index] if isinstance(frames[index], list) else []
        made.append(_mosaic(meta, index, count, header, items))
    return made


def _mosaic(
    meta: DicomMeta, index: int, count: int, header: CsaValues, items: list[dict[str, Any]]
) -> Mosaic:
    """Return the slices of one image, by its CSA header (Siemens) or its frames (UIH)."""
    orientation, spacing = (
        orientations(meta)[index],
        numbers(meta, "PixelSpacing", 2)[index],
    )
    sizes = [numbers(meta, tag, 1)[index] for tag in ("Rows", "Columns")]
    normal = None if orientation is None else normal_of(orientation)
    if orientation is None or normal is None or spacing is None or None in sizes:
        raise _refused(f"image {index} has no orientation, pixel spacing or size")
    across = math.ceil(math.sqrt(count))
    tiles = (math.ceil(count / across) if items else across), across
    rows, columns = (int(size[0]) for size in sizes if size is not None)
    if rows % tiles[0] or columns % tiles[1]:
        raise _refused(
            f"image {index} of {rows} x {columns} can't hold {count} slices, "
            f"{tiles[0]} x {tiles[1]} tiles"
        )
    shape = columns // tiles[1], rows // tiles[0], count
    in_plane = np.reshape(orientation, (2, 3)) * np.array(spacing[::-1])[:, None]
    if items:
        origin, step = _by_frames(index, count, items)
    else:
        # The position is that of a single slice as large as the mosaic, about the same centre.
        outside = np.array([columns - shape[0], rows - shape[1]]) / 2
        point, step = positions(meta)[index], _step(meta, index, header, normal)
        if point is None:
            raise _refused(f"image {index} has no position")
        origin = np.array(point) + outside @ in_plane
    return Mosaic(count, tiles, Grid.from_steps(shape, origin, [*in_plane, step]))


def _step(meta: DicomMeta, index: int, header: CsaValues, normal: Vector) -> Vector:
    """Return the step from slice to slice in a mosaic of Siemens."""
    direction = csa_numbers(header, "SliceNormalVector")
    distances = (numbers(meta, tag, 1)[index] for tag in ("SpacingBetweenSlices", "SliceThickness"))
    distance = next((found[0] for found in distances if found and found[0] > 0), None)
    if distance is None or len(direction) != 3:
        raise _refused(
            f"image {index} has no slice spacing, or no CSA header with the direction of its "
            "slices (SliceNormalVector)"
        )
    return normal * distance * (-1.0 if float(normal @ direction) < 0 else 1.0)


def _by_frames(index: int, count: int, items: list[dict[str, Any]]) -> tuple[Vector, Vector]:
    """Return the first slice's position and the step, by the position of each slice (UIH)."""
    try:
        points = np.array([item[_POSITION]["Value"] for item in items], float)
    except (KeyError, TypeError, ValueError):
        points = np.empty((0, 3))
    if points.shape != (count, 3) or not np.isfinite(points).all():
        raise _refused(f"image {index} does not give the position of each of its {count} slices")
    step = (points[-1] - points[0]) / (count - 1)
    off = np.abs(points - points[0] - np.arange(count)[:, None] * step).max()
    if not off <= _EVEN * np.linalg.norm(step):
        raise _refused(f"the slices of image {index} are not at equal distances")
    return points[0], step


def _refused(problem: str) -> DataConsistencyError:
    return DataConsistencyError(f"mosaic: {problem}", suggestion=_REMEDY)
