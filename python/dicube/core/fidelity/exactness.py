"""Is an image still what its original files are, and can they be restored?

Whoever restores, saves, exports or copies an image asks this module. `agreement` compares the
original files in a dicube file with the rest of the file. Must not write anything.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from dicube.core.cube_parts import CubeParts
from dicube.core.fidelity.agreement import check_agreement, contradictions
from dicube.core.fidelity.origin import Origin
from dicube.core.fidelity.provenance import Provenance
from dicube.core.pixels import Pixels
from dicube.dicom.originals.model import Original, Originals
from dicube.exceptions import InvalidCubeFileError
from dicube.threads import thread_count

Exact: TypeAlias = "bool | Literal['always']"
"""Whether a file keeps what restores the original files; 'always': even if that takes much."""


class Exactness:
    """The relation between an image, as it is now, and its original files.

    Args:
        parts: the image without its pixels.
        pixels: its pixels.
        num_threads: threads for comparing pixels; None or 0 for one per processor.
    """

    def __init__(self, parts: CubeParts, pixels: Pixels, num_threads: int | None = None) -> None:
        self._parts, self._pixels = parts, pixels
        self._num_threads = thread_count(num_threads)
        provenance = parts.origin.provenance
        self._provenance = provenance
        # What was read from DICOM files has not been stored, so nobody can have forged it.
        self._is_stored = provenance is not None and not provenance.is_fresh

    def changes(self, codec: str | None = None, keep_coded: bool = False) -> str:
        """Return why the image is not what its original files are; '' if it is.

        Pixels that no caller has seen are not compared.

        Args:
            codec: name of the codec of a file that has to keep the original files, or None.
            keep_coded: whether it may keep coded frames as they are, whatever they take.

        Raises:
            InvalidCubeFileError: the original files in the dicube file are malformed.
        """
        header, meta, space, _, origin = self._parts
        reason = origin.objection(meta, header, space)
        if reason or self._provenance is None:
            return reason
        if not keep_coded and (reason := self._why_too_large(self._provenance, codec)):
            return reason
        if self._is_stored and not self._pixels.seen:
            return ""
        return self._changed_pixels(self._provenance)

    def why_not(self, codec: str | None = None) -> str:
        """Return why the original files can't be restored to the byte; '' if they can.

        Args and Raises: see `changes`.
        """
        reason = self.changes(codec)
        if reason or self._provenance is None or not self._is_stored:
            return reason
        originals = self._provenance.originals.remembering()
        if (file := self._first_unlike(originals)) is not None:
            return _of_other_pixels(file)
        found = contradictions(self._parts, originals, self._pixels.stored(), self._num_threads)
        return next((f"the file read contradicts itself: {problem}" for problem in found), "")

    def check_stored(self) -> None:
        """Check the original files in a dicube file, given that the image is unchanged.

        Raises:
            InvalidCubeFileError: they can't be restored, or contradict the rest of the file.
        """
        if self._provenance is None or not self._is_stored:
            return
        originals = self._provenance.originals.remembering()
        check_agreement(self._parts, originals, self._pixels.stored(), self._num_threads)
        if (file := self._first_unlike(originals)) is not None:
            raise InvalidCubeFileError(
                f"{file.label} can't be restored: its SHA-256 differs",
                suggestion="exact=False leaves out the original files",
            )

    def check_exported(self) -> None:
        """Check the file that an image was read from, before new DICOM files are made of it.

        Raises:
            InvalidCubeFileError: see `check_stored`. Pixels that a caller may have changed are not
                compared.
        """
        header, meta, space, _, origin = self._parts
        if self._provenance is None or not self._is_stored:
            return
        if origin.objection(meta, header, space):
            return
        if self._pixels.seen:
            check_agreement(self._parts, self._provenance.originals, None, self._num_threads)
        else:
            self.check_stored()

    def unchanged_origin(self) -> Origin:
        """Return the origin of the image, without original files that it no longer is."""
        header, meta, space, _, origin = self._parts

        def why_changed(provenance: Provenance) -> str:
            reason = provenance.objection(meta, header, space)
            if reason or not self._pixels.seen:
                return reason
            try:
                return self._changed_pixels(provenance)
            except InvalidCubeFileError:
                return "the original files are malformed"

        return origin.unless_changed(why_changed, header, space)

    def _why_too_large(self, provenance: Provenance, codec: str | None) -> str:
        """Return which coded frames a file would have to keep as they are; '' if none.

        Those that the dicube file read keeps already don't count.
        """
        before = provenance.originals
        after = before if codec is None else before.keeping(codec)
        files, old_files = after.files + after.copies, before.files + before.copies
        kept = [
            file
            for file, old in zip(files, old_files, strict=True)
            if file.kept_size > (0 if provenance.is_fresh else old.kept_size)
        ]
        if not kept:
            return ""
        whose = "the" if len(kept) == len(files) else f"{len(kept)} of {len(files)}"
        what = "; ".join(dict.fromkeys(file.why for file in kept))
        size = sum(file.kept_size for file in kept)
        return (
            f"{whose} original files have {what}; keeping these as they are "
            f"(exact 'always') takes {size} bytes"
        )

    def _changed_pixels(self, provenance: Provenance) -> str:
        changed = provenance.changed_file(self._pixels.stored(), self._num_threads)
        return "" if changed is None else _of_other_pixels(changed)

    def _first_unlike(self, originals: Originals) -> Original | None:
        """Return the first file that can't be restored; `changes` has compared pixels if seen."""
        if self._pixels.seen:
            return None
        return originals.first_changed(self._pixels.stored(), self._num_threads)


def _of_other_pixels(file: Original) -> str:
    return f"the pixels of {file.label} were changed"
