"""What a damaged file could not give to an image that was read from it all the same.

Such an image has holes: what is made of it must not pass for whole. Must not know how damage is
found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dicube.exceptions import DataConsistencyError
from dicube.storage.intact_frames import ranges_of

# Without these it can't be told what stored values mean.
_SECTIONS_OF_VALUES = ("pixel_header", "dicom_meta")
# Without these more is lost than can be told of what is left: that it was coded lossily, say.
_SECTIONS_OF_INTACT = (*_SECTIONS_OF_VALUES, "loss")


class Damage:
    """The frames and sections that an image lacks.

    Attributes:
        frames: why, by number; their stored values are zeros.
        sections: why, by name.
    """

    def __init__(
        self, frames: Mapping[int, str] | None = None, sections: Mapping[str, str] | None = None
    ) -> None:
        """Take what a reader skipped."""
        self.frames = dict(sorted((frames or {}).items()))
        self.sections = dict(sections or {})

    def __bool__(self) -> bool:
        return bool(self.frames or self.sections)

    def __str__(self) -> str:
        parts = [f"frames {ranges_of(list(self.frames))}"] if self.frames else []
        parts += [f"section {name}" for name in self.sections]
        return ", ".join(parts)

    def beyond(self, known: Damage) -> Damage:
        """Return the damage that is not known already."""
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
                f"the image was read from a damaged file, and lacks {self}",
                suggestion="intact_part() gives what can be written, "
                "accept_damage() lets it be written as it is",
            )

    def check_intact(self, slices: int) -> None:
        """Raise DataConsistencyError unless something can stand for itself without the rest."""
        for name in _SECTIONS_OF_INTACT:
            if name in self.sections:
                raise DataConsistencyError(
                    f"what is intact can't stand for itself: the file's section {name} is damaged",
                    suggestion="set what it told, then accept_damage()",
                )
        if len(self.frames) == slices:
            raise DataConsistencyError("none of the file's frames is intact")

    def check_values(self) -> None:
        """Raise DataConsistencyError unless it is known what stored values mean."""
        for name in _SECTIONS_OF_VALUES:
            if name in self.sections:
                raise DataConsistencyError(
                    f"real values can't be told: the file's section {name} is damaged",
                    suggestion="of a DicomCubeImage set pixel_header and dicom_meta, "
                    "then accept_damage()",
                )
