"""The frames and sections that are missing in an image because the file read was damaged.

Such an image can't be saved, so that zero-filled slices are never mistaken for data. Must not know
how damage is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dicube.exceptions import DataConsistencyError
from dicube.storage.intact_frames import ranges_of

# Without these the meaning of stored values is unknown.
_SECTIONS_OF_VALUES = ("pixel_header", "dicom_meta")
# Without these the intact slices would be described wrongly: as lossless, for example.
_SECTIONS_OF_INTACT = (*_SECTIONS_OF_VALUES, "loss")


class Damage:
    """The frames and sections that are missing in an image.

    Attributes:
        frames: the reason by frame number; their stored values are zeros.
        sections: the reason by section name.
    """

    def __init__(
        self, frames: Mapping[int, str] | None = None, sections: Mapping[str, str] | None = None
    ) -> None:
        """Take what a reader skipped: reasons by frame number and by section name."""
        self.frames = dict(sorted((frames or {}).items()))
        self.sections = dict(sections or {})

    def __bool__(self) -> bool:
        return bool(self.frames or self.sections)

    def __str__(self) -> str:
        parts = [f"frames {ranges_of(list(self.frames))}"] if self.frames else []
        parts += [f"section {name}" for name in self.sections]
        return ", ".join(parts)

    def beyond(self, known: Damage) -> Damage:
        """Return the damage that is not in `known`."""
        return Damage(
            {number: why for number, why in self.frames.items() if number not in known.frames},
            {name: why for name, why in self.sections.items() if name not in known.sections},
        )

    def of_slices(self, slices: Sequence[int]) -> Damage:
        """Return the damage of an image of some of the slices."""
        frames = {new: self.frames[old] for new, old in enumerate(slices) if old in self.frames}
        return Damage(frames, self.sections)

    def check_whole(self) -> None:
        """Raise DataConsistencyError if anything is missing."""
        if self:
            raise DataConsistencyError(
                f"the image was read from a damaged file and lacks {self}",
                suggestion="use intact_part(), or call accept_damage() to keep the gaps",
            )

    def check_intact(self, slices: int) -> None:
        """Raise DataConsistencyError unless the intact slices of so many make an image."""
        for name in _SECTIONS_OF_INTACT:
            if name in self.sections:
                raise DataConsistencyError(
                    f"there is no intact part: section {name} of the file is damaged",
                    suggestion="set what the section defined, then call accept_damage()",
                )
        if len(self.frames) == slices:
            raise DataConsistencyError("no frame of the file is intact")

    def check_values(self) -> None:
        """Raise DataConsistencyError unless real values can be computed."""
        for name in _SECTIONS_OF_VALUES:
            if name in self.sections:
                raise DataConsistencyError(
                    f"real values are unknown: section {name} of the file is damaged",
                    suggestion="set pixel_header and dicom_meta of a DicomCubeImage, "
                    "then call accept_damage()",
                )
