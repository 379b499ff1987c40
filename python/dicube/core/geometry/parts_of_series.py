"""The parts of an image: of some of its slices, and of the volumes that its series holds.

Must not know pixels or files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dicube.core.cube_parts import CubeParts
from dicube.core.geometry.placement import fitting_nifti, space_of_nifti
from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_status import DicomStatus, get_dicom_status
from dicube.dicom.series.geometry import get_space_from_DicomMeta, space_of_slices
from dicube.dicom.series.precedence import header_of_chosen
from dicube.dicom.series.volumes import series_volumes
from dicube.nifti import NiftiHeader


def volumes_of(parts: CubeParts, shape: tuple[int, ...]) -> list[tuple[list[int], CubeParts]]:
    """Return the slices of each volume in a series, and its parts; [] for a single volume.

    Args:
        parts: of the whole series.
        shape: of its pixels.
    """
    nifti = fitting_nifti(parts, shape)
    if nifti is not None and nifti.volume_count > 1:
        blocks: list[list[int]] = np.arange(shape[0]).reshape(nifti.volume_count, -1).tolist()
        return parts_of_slices(parts, shape, blocks, nifti.single())
    split = None if parts.meta is None else series_volumes(parts.meta)
    return [] if split is None else parts_of_slices(parts, shape, split.slices)


def parts_of_slices(
    parts: CubeParts,
    shape: tuple[int, ...],
    groups: Sequence[Sequence[int]],
    nifti: NiftiHeader | None = None,
) -> list[tuple[list[int], CubeParts]]:
    """Return groups of slices, and the parts of the image of each group.

    Such an image remembers its losses and its damage, but no original files.

    Args:
        parts: of the whole image.
        shape: of its pixels.
        groups: numbers of slices.
        nifti: the header of each group; None for none.
    """
    metas = [None] * len(groups) if parts.meta is None else parts.meta.split(groups)
    return [
        (list(slices), _parts_of(parts, shape, slices, meta, nifti))
        for slices, meta in zip(groups, metas, strict=True)
    ]


def _parts_of(
    parts: CubeParts,
    shape: tuple[int, ...],
    slices: Sequence[int],
    meta: DicomMeta | None,
    nifti: NiftiHeader | None,
) -> CubeParts:
    """Return the parts of some slices, given their metadata."""
    header = dataclasses.replace(parts.header, Extras=dict(parts.header.Extras))
    if meta is not None:
        header = header_of_chosen(header, meta)
    if nifti is not None:
        space = space_of_nifti(nifti)[0]
    elif parts.space is not None:
        space = space_of_slices(parts.space, slices)
    else:
        space = None if meta is None else get_space_from_DicomMeta(meta, "zyx")
        if space is not None and tuple(space.shape[1:]) != shape[1:3]:
            space = None  # the pixels were cropped, and nobody said where
    origin = dataclasses.replace(
        parts.origin,
        provenance=None,
        intact_provenance=None,
        coded_source=None,
        damage=parts.origin.damage.of_slices(slices),
        nifti=nifti,
    )
    status = DicomStatus.CONSISTENT if meta is None else get_dicom_status(meta)
    return CubeParts(header, meta, space, status, origin)
