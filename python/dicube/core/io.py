"""The functions of the published package, implemented with DicomCubeImage.

Knows the letters of file types and the global number of threads. Must not know what is in a file.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

from dicube.core.cube_parts import read_meta
from dicube.core.dcb_files import DcbAFile, DcbFile, DcbLFile, DcbSFile
from dicube.core.fidelity.exactness import Exact
from dicube.core.image import DicomCubeImage
from dicube.core.num_threads import get_num_threads
from dicube.dicom.dicom_meta import DicomMeta, SortMethod
from dicube.exceptions import InvalidCubeFileError
from dicube.storage.dcb_reader import DcbReader
from dicube.validation import validate_not_none, validate_parameter_type

Path_ = str | os.PathLike[str]

_FILE_TYPES: dict[str, type[DcbFile]] = {"s": DcbSFile, "a": DcbAFile, "l": DcbLFile}


def save(
    image: DicomCubeImage, file_path: Path_, file_type: str = "s", *, exact: Exact = True
) -> None:
    """Write a file; see `DicomCubeImage.to_file`.

    Args:
        image: the image.
        file_path: the path; the extension of the file type is appended if it is missing.
        file_type: 's' for `.dcbs` (HTJ2K), 'a' for `.dcba` (JPEG XL), 'l' for `.dcbl` (lossy).
        exact: see `DicomCubeImage.to_file`.

    Raises:
        InvalidCubeFileError: an unknown file type.

    Example:
        >>> image = dicube.load_from_dicom_folder("series")
        >>> dicube.save(image, "head.dcba", file_type="a")
        >>> dicube.load("head.dcba").shape
        (5, 48, 40)
    """
    validate_parameter_type(image, DicomCubeImage, "image", "save")
    validate_not_none(file_path, "file_path", "save", InvalidCubeFileError)
    if file_type not in _FILE_TYPES:
        raise InvalidCubeFileError(
            f"expected file_type of {', '.join(_FILE_TYPES)}, found {file_type!r}", context="save"
        )
    target = _FILE_TYPES[file_type](file_path, "w").filename
    image.to_file(target, num_threads=get_num_threads(), exact=exact)


def load(
    file_path: Path_,
    skip_meta: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    *,
    on_error: str = "raise",
    verify: bool = True,
    max_memory: int | None = None,
) -> DicomCubeImage:
    """Read a file; see `DicomCubeImage.from_file`.

    Args:
        file_path: the file, or a URL that fsspec opens.
        skip_meta: leave out the metadata, unless real values need them.
        storage_options: for the file system of a URL, as in fsspec.
        on_error: 'raise', or 'skip' to read what is intact in a damaged file.
        verify, max_memory: see `DicomCubeImage.from_file`.

    Example:
        >>> image = dicube.load("head.dcbs")
        >>> image.raw_image.shape, image.raw_image.dtype
        ((5, 48, 40), dtype('int16'))
    """
    validate_not_none(file_path, "file_path", "load", InvalidCubeFileError)
    return DicomCubeImage.from_file(
        file_path,
        num_threads=get_num_threads(),
        skip_meta=skip_meta,
        storage_options=storage_options,
        on_error=on_error,
        verify=verify,
        max_memory=max_memory,
    )


def load_meta(
    file_path: Path_,
    storage_options: Mapping[str, Any] | None = None,
    *,
    verify: bool = True,
    max_memory: int | None = None,
) -> DicomMeta | None:
    """Read only the metadata of a file; None if it has none.

    Args:
        file_path: the file, or a URL that fsspec opens.
        storage_options: for the file system of a URL, as in fsspec.
        verify, max_memory: see `DicomCubeImage.from_file`.

    Raises:
        FileNotFoundError: (an InvalidCubeFileError too) the file does not exist.
        InvalidCubeFileError: not a dicube file, or a damaged or newer one.
        MetaDataError: the metadata can't be parsed; `Cube.dicom_meta` describes long elements.
        DataConsistencyError: `storage_options` with a path.
        MissingPackageError: (an ImportError too) a URL needs a package that is not installed.

    Example:
        >>> dicube.load_meta("head.dcbs").get("PatientName")
        'DOE^JOHN'
    """
    validate_not_none(file_path, "file_path", "load_meta", InvalidCubeFileError)
    with DcbReader(
        file_path, storage_options=storage_options, verify=verify, max_memory=max_memory
    ) as reader:
        return read_meta(reader)


def load_from_dicom_folder(
    folder_path: Path_,
    sort_method: SortMethod = SortMethod.INSTANCE_NUMBER_ASC,
    *,
    keep_all: bool = False,
) -> DicomCubeImage:
    """Read a series of DICOM files; see `DicomCubeImage.from_dicom_folder`.

    Args:
        folder_path: the folder.
        sort_method: the order of the slices.
        keep_all: keep files that can't be part of the volume whole, with the original files.

    Example:
        >>> dicube.load_from_dicom_folder("series")
        <DicomCubeImage shape=(5, 48, 40) dtype=int16 status=consistent>
    """
    validate_not_none(folder_path, "folder_path", "load_from_dicom_folder", InvalidCubeFileError)
    return DicomCubeImage.from_dicom_folder(
        folder_path, sort_method, num_threads=get_num_threads(), keep_all=keep_all
    )


def load_from_nifti(file_path: Path_) -> DicomCubeImage:
    """Read a NIfTI file; see `DicomCubeImage.from_nifti`.

    Example:
        >>> dicube.load_from_nifti("brain.nii.gz").shape  # (slices, rows, columns)
        (10, 9, 8)
    """
    validate_not_none(file_path, "file_path", "load_from_nifti", InvalidCubeFileError)
    return DicomCubeImage.from_nifti(file_path)


def save_to_dicom_folder(image: DicomCubeImage, folder_path: Path_) -> None:
    """Write slice_0000.dcm, slice_0001.dcm and so on, from metadata and pixels.

    In Explicit VR Little Endian. `DicomCubeImage.to_dicom_folder` can restore the original files.

    Args:
        image: the image. If it has no metadata, `init_meta` makes some, which stay in the image.
        folder_path: created if it is missing. Files with these names are replaced, others kept.

    Warns:
        UserWarning: the image had no metadata.

    Example:
        >>> import os
        >>> dicube.save_to_dicom_folder(dicube.load("head.dcbs"), "restored")
        >>> sorted(os.listdir("restored"))[:2]
        ['slice_0000.dcm', 'slice_0001.dcm']
    """
    validate_parameter_type(image, DicomCubeImage, "image", "save_to_dicom_folder")
    validate_not_none(folder_path, "folder_path", "save_to_dicom_folder", InvalidCubeFileError)
    if image.dicom_meta is None:
        warnings.warn("the image has no metadata, so init_meta() makes some", stacklevel=2)
        image.init_meta()
    image.to_dicom_folder(folder_path, overwrite=True, exact=False)


def save_to_nifti(image: DicomCubeImage, file_path: Path_) -> None:
    """Write a NIfTI file; see `DicomCubeImage.to_nifti`.

    Example:
        >>> dicube.save_to_nifti(dicube.load("head.dcbs"), "head.nii.gz")
    """
    validate_parameter_type(image, DicomCubeImage, "image", "save_to_nifti")
    validate_not_none(file_path, "file_path", "save_to_nifti", InvalidCubeFileError)
    image.to_nifti(file_path)


class DicomCubeImageIO:
    """The functions of this module as static methods."""

    save = staticmethod(save)
    load = staticmethod(load)
    load_meta = staticmethod(load_meta)
    load_from_dicom_folder = staticmethod(load_from_dicom_folder)
    load_from_nifti = staticmethod(load_from_nifti)
    save_to_dicom_folder = staticmethod(save_to_dicom_folder)
    save_to_nifti = staticmethod(save_to_nifti)
