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

    def of_slices(self, slices: Sequence[int]) -> Damage:
        """Return the damage of an image of some of the slices."""
        frames = {new: self.frames[old] for new, old in enumerate(slices) if old in self.frames}
        return Damage(frames, self.sections)

    def check_whole(self) -> None:
        """Raise DataConsistencyError if anything is missing."""
        if self:
            raise DataConsistencyError(
                f"the image was read from a damaged file, and lacks {self}",
                suggestion="accept_damage() lets it be written as it is",
            )

    def check_values(self) -> None:
        """Raise DataConsistencyError unless it is known what stored values mean."""
        for name in _SECTIONS_OF_VALUES:
            if name in self.sections:
                raise DataConsistencyError(
                    f"real values can't be told: the file's section {name} is damaged",
                    suggestion="set pixel_header and dicom_meta, then accept_damage()",
                )
