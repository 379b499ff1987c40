"""One series of an archive: its row in the catalogue, and its file.

Must not know the catalogue, or other series.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dicube.archive.places import Place
from dicube.core.cube import Cube
from dicube.core.cube import open as open_cube
from dicube.core.image import DicomCubeImage
from dicube.core.instances.one_instance import extract_instance
from dicube.core.instances.stored_files import restore_files
from dicube.exceptions import InvalidCubeFileError

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class StoredSeries:
    """A series of an archive.

    Attributes:
        values: its row in the catalogue: values by DICOM keyword, and `file`, `size`, `shape`,
            `dtype`, `spacing`, `status` and others.
        place: where the archive lies.
    """

    values: Mapping[str, Any] = field(repr=False)  # which name patients
    place: Place

    def __getitem__(self, keyword: str) -> Any:
        """Return a value of the row."""
        return self.values[keyword]

    @property
    def path(self) -> str:
        """The path or URL of the file."""
        return self.place.locator(self.values["file"])

    def open(self, **options: Any) -> Cube:
        """Open the file; see `dicube.open` for the options.

        Raises:
            InvalidCubeFileError: the file has no frames, or is damaged.
        """
        return open_cube(self.path, **self._options(), **options)

    def image(self, **options: Any) -> DicomCubeImage:
        """Read the file; see `DicomCubeImage.from_file` for the options."""
        return DicomCubeImage.from_file(self.path, **self._options(), **options)

    def extract(self, instance: str, path: Path, *, overwrite: bool = False) -> None:
        """Restore the original DICOM file of one instance; see `dicube.extract_instance`.

        Args:
            instance: its SOPInstanceUID.
            path: of the file to write.
            overwrite: replace an existing file.
        """
        with self._named():
            extract_instance(self.path, instance, path, overwrite, **self._options())

    def restore(self, folder: Path, *, overwrite: bool = False) -> list[str]:
        """Restore the original DICOM files, to the byte; new ones if they weren't kept.

        Args:
            folder: created if it is missing.
            overwrite: allow a folder that is not empty.

        Returns:
            The paths written.

        Raises:
            InvalidCubeFileError: the file is damaged.
            TargetExistsError: (a FileExistsError too) the folder is not empty.
        """
        with self._named(), self.place.local_file(self.values["file"]) as path:
            if self.values["has_originals"]:
                return restore_files(path, folder, overwrite=overwrite)
            return DicomCubeImage.from_file(path).to_dicom_folder(folder, overwrite)

    def _options(self) -> dict[str, Any]:
        options = dict(self.place.storage_options)
        return {"storage_options": options} if options else {}

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the file in an error about what is in it."""
        try:
            yield
        except InvalidCubeFileError as error:
            error.name_source(self.values["file"])
            raise
