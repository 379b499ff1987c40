"""Origin: what an image remembers of where it came from.

One object, so that readers pass on everything at once and an image is complete when it is made.
Must not know the current state of an image.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dicube.core.fidelity.coded_source import CodedSource, VolumeFrames, frames_of_codec
from dicube.core.fidelity.damage import Damage
from dicube.core.fidelity.provenance import Provenance
from dicube.core.lossy.loss import Loss
from dicube.dicom.dicom_meta import DicomMeta
from dicube.exceptions import LeftOutWarning
from dicube.pixel_header import PixelDataHeader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicube.dicom.series.geometry import Space
    from dicube.nifti import NiftiHeader


@dataclass(frozen=True)
class Origin:
    """Where an image came from. The default is an image made from arrays.

    Attributes:
        provenance: the original DICOM files, and the state of the image that they belong to; None
            if the image was not read from files.
        intact_provenance: the same of a damaged file, for the image of its intact slices.
        coded_source: the dicube file read, for exports that reuse its coded frames.
        damage: what is missing because the file read was damaged.
        nifti: the header of the NIfTI file that the image was read from.
        losses: what lossy coding changed in the pixels, the earliest first.
    """

    provenance: Provenance | None = None
    intact_provenance: Provenance | None = None
    coded_source: CodedSource | None = None
    damage: Damage = field(default_factory=Damage)
    nifti: NiftiHeader | None = None
    losses: tuple[Loss, ...] = ()

    def damaged_by(self, damage: Damage, header: PixelDataHeader, space: Space | None) -> Origin:
        """Return the origin of an image that was read from a damaged file.

        Args:
            damage: what is missing.
            header, space: as read.
        """
        reason = f"the file read is damaged: {damage}"
        return replace(
            self,
            provenance=Provenance(reason, None, header, space),
            intact_provenance=self.provenance,
            coded_source=None,
            damage=damage,
        )

    def let_meta_go(self) -> None:
        """Note that a caller gets the metadata of the image, or replaces them."""
        for provenance in (self.provenance, self.intact_provenance):
            if provenance is not None:
                provenance.let_meta_go()

    def objection(
        self, meta: DicomMeta | None, header: PixelDataHeader, space: Space | None
    ) -> str:
        """Return why the original files can't be restored, pixels aside; '' if they can.

        Args:
            meta, header, space: of the image, as they are now.
        """
        if self.provenance is None:
            return "the image was not read from files"
        return self.provenance.objection(meta, header, space)

    def unless_changed(
        self,
        why_changed: Callable[[Provenance], str],
        header: PixelDataHeader,
        space: Space | None,
    ) -> Origin:
        """Return the origin without original files that no longer belong to the image.

        They hold what a caller may have removed from it.

        Args:
            why_changed: returns why the image is not what files are; '' if it is.
            header, space: of the image, as they are now.
        """
        provenance, intact = self.provenance, self.intact_provenance
        reason = "" if provenance is None else why_changed(provenance)
        if reason:
            provenance = Provenance(reason, None, header, space)
        if intact is not None and why_changed(intact):
            intact = None
        return replace(self, provenance=provenance, intact_provenance=intact)

    def warn_of_dropped(self, target: Any, reason: str, chosen: bool = True) -> None:
        """Warn that files kept beside the volume, with the originals, are not in what is written.

        Args:
            target: what is written.
            reason: why the original files are not kept.
            chosen: whether the caller chose something that can't keep them.
        """
        others = () if self.provenance is None else self.provenance.others
        if not others:
            return
        warnings.warn(
            f"{os.fspath(target)}: {len(others)} files beside the volume, which were kept with the "
            f"original files, are left out because {reason}",
            UserWarning if chosen else LeftOutWarning,
            stacklevel=3,
        )

    @contextmanager
    def frames(self, volume: NDArray[Any], seen: bool) -> Iterator[VolumeFrames]:
        """Give the frames of the image, in coded form where they still are what was read.

        Args:
            volume: the pixels as they are now.
            seen: whether callers may have changed them.
        """
        provenance = self.provenance
        if self.coded_source is not None:
            with self.coded_source.frames(volume, seen) as frames:
                yield frames
        elif provenance is not None and provenance.is_fresh:
            originals = provenance.originals
            yield frames_of_codec(volume, originals.codec, originals.coded, seen)
        else:
            yield VolumeFrames(volume)
