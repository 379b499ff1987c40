"""The parts of a cube besides its pixels, each read when it is first needed.

Must not know how pixels are read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dicube.core.fidelity.damage import Damage
from dicube.pixel_header import PixelDataHeader
from dicube.storage.dcb_reader import DcbReader

if TYPE_CHECKING:
    from dicube.core.cube_parts import CubeParts
    from dicube.core.lossy.loss import Loss
    from dicube.dicom.dicom_meta import DicomMeta
    from dicube.dicom.dicom_status import DicomStatus
    from dicube.dicom.series.geometry import Grid, Space


class LazyParts:
    """The parts of an image besides its pixels, each read when it is first needed.

    The modules for DICOM are imported then: that takes longer than opening a thousand files.
    """

    def __init__(self, reader: DcbReader) -> None:
        self._reader = reader
        self._read: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_reader": self._reader, "_read": {}}

    def damage(self) -> Damage:
        """Return what was skipped so far."""
        reader = self._reader
        return Damage(reader.damaged_frames.copy(), reader.damaged_sections.copy())

    @contextmanager
    def warning(self) -> Iterator[None]:
        """Warn of damage that is first found within this context."""
        known = self.damage()
        yield
        found = self.damage().beyond(known)
        if found:
            warnings.warn(f"the file read is damaged: {found}", stacklevel=5)

    @property
    def header(self) -> PixelDataHeader:
        """The pixel header."""
        if "header" not in self._read:
            from dicube.core.cube_parts import read_header

            with self.warning():
                self._read["header"] = read_header(self._reader)
        header: PixelDataHeader = self._read["header"]
        return header

    @property
    def meta(self) -> DicomMeta | None:
        """The metadata."""
        if "meta" not in self._read:
            from dicube.core.cube_parts import read_meta
            from dicube.core.fidelity.consistency import checked_meta

            with self.warning():
                meta = read_meta(self._reader)
            self._read["meta"] = checked_meta(meta, self._reader.shape[0])
        found: DicomMeta | None = self._read["meta"]
        return found

    @property
    def space(self) -> Space | None:
        """The geometry of the full resolution."""
        if "space" not in self._read:
            from dicube.core.cube_parts import read_space
            from dicube.core.fidelity.consistency import checked_space

            with self.warning():
                space = read_space(self._reader)
            self._read["space"] = checked_space(space, self._reader.shape)
        found: Space | None = self._read["space"]
        return found

    @property
    def all(self) -> CubeParts:
        """All of them, without the original files."""
        if "all" not in self._read:
            from dicube.core.cube_parts import CubeParts, read_nifti_header
            from dicube.core.fidelity.origin import Origin

            with self.warning():
                nifti = read_nifti_header(self._reader)
            origin = Origin(nifti=nifti, losses=self.losses)
            parts = CubeParts(self.header, self.meta, self.space, self.status, origin)
            self._read["all"] = parts
        found: CubeParts = self._read["all"]
        return found

    @property
    def placement(self) -> tuple[Grid | None, str]:
        """The grid of the full resolution; or None and the reason."""
        if "placement" not in self._read:
            from dicube.core.geometry.placement import placement
            from dicube.dicom.series.geometry import grid_of_space

            if self.space is not None:  # the metadata are not needed
                self._read["placement"] = grid_of_space(self.space), ""
            else:
                self._read["placement"] = placement(self.all, self._reader.shape)
        found: tuple[Grid | None, str] = self._read["placement"]
        return found

    @property
    def status(self) -> DicomStatus:
        """The status of the series."""
        if "status" not in self._read:
            from dicube.core.cube_parts import read_status

            with self.warning():
                self._read["status"] = read_status(self._reader)
        status: DicomStatus = self._read["status"]
        return status

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What lossy coding changed."""
        if "losses" not in self._read:
            from dicube.core.lossy.loss import read_losses

            with self.warning():
                self._read["losses"] = read_losses(self._reader)
        losses: tuple[Loss, ...] = self._read["losses"]
        return losses
