"""Writes DICOM files anew with datasets that a function of the caller has changed.

Must not know what is changed, or why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicube.dicom.elements.quiet import pydicom_quiet
from dicube.dicom.files.instance_reading import read_instance
from dicube.dicom.files.sources import File
from dicube.exceptions import MetaDataError

Transform: TypeAlias = "Callable[[Dataset], Dataset | None]"
"""Changes a pydicom dataset in place, or returns another; `dataset.file_meta` has group 2."""


def write_changed(file: File, transform: Transform, path: str) -> None:
    """Write a DICOM file with the dataset that a function makes of another file's.

    Pixels keep their transfer syntax, and the file gets an empty preamble.

    Args:
        file: the DICOM file.
        transform: see `Transform`.
        path: of the new file.

    Raises:
        MetaDataError: the file is damaged, or its dataset can't be written.
    """
    instance = read_instance(file)
    if instance is None:
        raise MetaDataError(f"{file.name} is not a DICOM file")
    dataset = instance.dataset()
    encoding = dataset.original_encoding
    with pydicom_quiet():  # its warnings quote values
        made = transform(dataset)
    dataset = dataset if made is None else made
    meta = dataset.file_meta = getattr(dataset, "file_meta", None) or FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        explicit = ExplicitVRLittleEndian if encoding[1] is not False else ExplicitVRBigEndian
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if encoding[0] else explicit
    try:
        with pydicom_quiet():
            for of_file, of_dataset in (
                ("MediaStorageSOPClassUID", "SOPClassUID"),
                ("MediaStorageSOPInstanceUID", "SOPInstanceUID"),
            ):
                if of_dataset in dataset:
                    setattr(meta, of_file, dataset[of_dataset].value)
            dataset.save_as(path, enforce_file_format=True)
    except OSError:
        raise
    except Exception as error:  # pydicom raises all kinds of exceptions for values it can't write
        raise MetaDataError(
            f"{file.name}: its changed dataset can't be written ({type(error).__name__})"
        ) from error
