"""Chooses the files of a series that form its volume, and says why the others can't be part of it.

Reads no pixels. Must not know metadata, or what becomes of the other files.
"""

from __future__ import annotations

from typing import Any

from dicube.dicom.files.instance import Instance
from dicube.dicom.files.series import ChosenSeries, fitting
from dicube.dicom.files.volume import (
    check_decoders,
    frame_layout,
    growth_fault,
    has_coded_frames,
)
from dicube.exceptions import CodecError, DataConsistencyError, DicomCubeError, MetaDataError


def with_one_volume(chosen: ChosenSeries) -> ChosenSeries:
    """Return the choice of a series with only those images that form its volume.

    Frames of a volume have one shape and sample type: those of most files, then of most frames,
    then of the first file.

    Args:
        chosen: the files; those with a reason are not part of the volume.

    Returns:
        The choice, in which `others` and `contradicting` have the further files, each copy too.
        `images` is empty if no file can be part of a volume.
    """
    reasons = dict(chosen.reasons)
    while True:
        kinds: dict[Any, list[Instance]] = {}
        for image in chosen.images:
            reasons[image.path] = reasons.get(image.path) or _why_unusable(image)
            if not reasons[image.path]:
                layout = frame_layout(image)
                kinds.setdefault((layout.shape, layout.dtype), []).append(image)
        images = max(kinds.values(), key=_weight, default=[])
        excess = growth_fault(images)  # of all together; none has it alone
        if not excess:
            break
        reasons |= {image.path: excess for image in images if has_coded_frames(image)}
    for members in kinds.values():
        if members is not images:
            why = f"frames of {_kind_of(members[0])}, not of {_kind_of(images[0])} as in the volume"
            reasons |= {image.path: why for image in members}
    apart = [image for image in chosen.images if reasons[image.path]]
    reasons |= {copy.path: reasons[image.path] for image in apart for copy in image.copies}
    files = [file for image in apart for file in (image, *image.copies)]
    others, contradicting = fitting([*chosen.others, *chosen.contradicting, *files], images)
    return ChosenSeries(images, others, chosen.left_out, contradicting, reasons)


def reason_of(error: DicomCubeError, path: str) -> str:
    """Return the message of an error without the path that it begins with.

    The path may name a patient, and the file is stored under its own name.
    """
    return " ".join(error.message.removeprefix(path).split()).removeprefix(": ")


def _why_unusable(instance: Instance) -> str:
    """Return why a file can't be part of any volume, as far as its elements show; '' if it can."""
    try:
        frame_layout(instance)
        check_decoders([instance])
    except (CodecError, DataConsistencyError, MetaDataError) as error:
        return reason_of(error, instance.path)
    return growth_fault([instance])


def _weight(images: list[Instance]) -> tuple[int, int]:
    return len(images), sum(image.frame_count for image in images)


def _kind_of(instance: Instance) -> str:
    layout = frame_layout(instance)
    return f"{' x '.join(map(str, layout.shape))} {layout.dtype.name}"
