"""DicomBuilder: makes a pydicom Dataset of one image, with the interface of the published package.

The elements that describe pixels are adapted to them as in an export. Exports don't use this
module, because pydicom rewrites values. Must not know dicube files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite, write_dataset, write_file_meta_info
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    NuclearMedicineImageStorage,
    UltrasoundImageStorage,
)

from dicube.dicom.dicom_meta import DicomMeta
from dicube.dicom.dicom_tags import uid_name
from dicube.dicom.export.folder import pixel_element_of
from dicube.dicom.export.new_series import sop_class_of
from dicube.dicom.export.pixel_attributes import pixel_attributes
from dicube.dicom.export.uids import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    new_uid,
)
from dicube.dicom.files.coded_frames import coded_pixels
from dicube.dicom.series.precedence import RESCALE, pixel_header_of, settled
from dicube.dicom.transfer_syntaxes import coded_syntax_of
from dicube.exceptions import CodecError, DataConsistencyError
from dicube.pixel_header import PixelDataHeader
from dicube.whole_files import write_whole

_ITEM = b"\xfe\xff\x00\xe0"  # coded frames begin with it: PS3.5 A.4
# Which 0.3.0 assumed for these modalities. New series are never made of these classes.
_SOP_CLASSES = {
    "US": UltrasoundImageStorage,
    "CR": ComputedRadiographyImageStorage,
    "DX": DigitalXRayImageStorageForPresentation,
    "NM": NuclearMedicineImageStorage,
}


class DicomBuilder:
    """Makes pydicom Datasets from elements and pixels."""

    @staticmethod
    def build(
        meta_dict: Mapping[str, Any],
        pixel_header: PixelDataHeader | None,
        pixel_data: NDArray[Any] | bytes | None = None,
        transfer_syntax_uid: str | None = None,
        force_uncompressed: bool = False,
        is_compressed_data: bool = False,
    ) -> Dataset:
        """Return the dataset of one image, with file meta, ready to be saved.

        Args:
            meta_dict: the elements in the DICOM JSON model (see `DicomMeta.index`), or values by
                keyword.
            pixel_header: rescale and `PixelDtype`; None to take both from samples and elements.
            pixel_data: samples (rows, columns[, 3]), which become `PixelDtype`; or their bytes, or
                one coded frame.
            transfer_syntax_uid: of the dataset; '' or None for Explicit VR Little Endian. A dataset
                of uncompressed pixels with the transfer syntax of a codec can't be saved.
            force_uncompressed: decode a coded frame; the dataset is Explicit VR Little Endian.
            is_compressed_data: whether `pixel_data` is a coded frame.

        Raises:
            DataConsistencyError: DICOM can't store such samples, `PixelDtype` can't hold their
                values, or a coded frame has no transfer syntax of a codec.
            CodecError: a coded frame can't be decoded.

        Example:
            >>> from dicube.dicom.dicom_builder import DicomBuilder, save_dicom
            >>> image = dicube.load("head.dcbs")
            >>> dataset = DicomBuilder.build(
            ...     image.dicom_meta.index(0), image.pixel_header, image.raw_image[0]
            ... )
            >>> save_dicom(dataset, "slice.dcm")
        """
        dataset = _dataset_of(meta_dict)
        dataset.file_meta = create_file_meta(dataset)
        ensure_required_tags(dataset)
        samples = pixel_data
        syntax = UID(transfer_syntax_uid or ExplicitVRLittleEndian)
        is_coded = syntax.is_encapsulated if syntax.is_transfer_syntax else True  # JPEG XL, say
        dataset.file_meta.TransferSyntaxUID = syntax
        if is_compressed_data and pixel_data is not None:
            if not is_coded:
                raise DataConsistencyError("a coded frame needs transfer_syntax_uid")
            set_pixel_data_attributes(dataset, pixel_header)
            dataset.PixelData = encapsulate([bytes(pixel_data)])
            dataset["PixelData"].VR = "OB"
            dataset["PixelData"].is_undefined_length = True
            if not force_uncompressed:
                return dataset
            samples, syntax = _decoded(dataset), ExplicitVRLittleEndian
            dataset.file_meta.TransferSyntaxUID = syntax
        if isinstance(samples, np.ndarray):
            samples = _cast(samples, pixel_header)
            _describe(dataset, samples, pixel_header)
            key, vr = pixel_element_of(samples.dtype, pixel_header or PixelDataHeader())
            if dataset.BitsAllocated == 1:  # eight samples per byte, the first in the lowest bit
                samples = np.packbits(samples.reshape(-1), bitorder="little")
            elif samples.ndim == 3:
                dataset.PlanarConfiguration = 0
            dtype = samples.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")
            data = np.ascontiguousarray(samples, dtype).tobytes()
            dataset.pop("PixelData", None)
            dataset.add_new(int(key, 16), vr, data + b"\0" * (len(data) % 2))
        else:
            set_pixel_data_attributes(dataset, pixel_header)
            if samples is not None:
                dataset.PixelData = samples
        return dataset

    @staticmethod
    def to_bytes(ds: Dataset) -> bytes:
        """Return a dataset as the bytes of a DICOM file.

        Raises:
            DataConsistencyError: its transfer syntax is that of a codec, or unknown, and its pixels
                are not coded.
        """
        buffer = DicomBytesIO()
        syntax = UID(ds.file_meta.TransferSyntaxUID)
        is_native = syntax.is_transfer_syntax and not syntax.is_encapsulated
        if not (is_native or ds.get("PixelData", _ITEM).startswith(_ITEM)):
            raise DataConsistencyError(
                f"pixels that are not coded can't be saved in the transfer syntax {syntax}",
                suggestion=f"use {ExplicitVRLittleEndian}, {ExplicitVRLittleEndian.name}",
            )
        if syntax.is_transfer_syntax:
            dcmwrite(buffer, ds, enforce_file_format=True)
        else:  # unknown to pydicom, such as JPEG XL; all new ones use this encoding
            buffer.is_implicit_VR, buffer.is_little_endian = False, True
            buffer.write(b"\0" * 128 + b"DICM")
            write_file_meta_info(buffer, ds.file_meta)
            write_dataset(buffer, ds)
        return bytes(buffer.getvalue())


def create_file_meta(ds: Dataset) -> FileMetaDataset:
    """Return file meta with the SOP class and instance of a dataset, Explicit VR Little Endian.

    Without SOPClassUID, the Modality selects the class: CT, MR, PT, US, CR, DX, NM; for others it
    is Secondary Capture.
    """
    file_meta = FileMetaDataset()
    modality = ds.get("Modality")
    file_meta.MediaStorageSOPClassUID = UID(
        ds.get("SOPClassUID") or _SOP_CLASSES.get(modality) or sop_class_of(modality)
    )
    file_meta.MediaStorageSOPInstanceUID = UID(ds.get("SOPInstanceUID") or new_uid())
    file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return file_meta


def ensure_required_tags(ds: Dataset) -> None:
    """Set the SOP class and instance of a dataset to those of its file meta, if missing."""
    ds.SOPClassUID = ds.get("SOPClassUID") or ds.file_meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = ds.get("SOPInstanceUID") or ds.file_meta.MediaStorageSOPInstanceUID


def set_pixel_data_attributes(ds: Dataset, pixel_header: PixelDataHeader | None) -> None:
    """Adapt the elements that describe samples to the `PixelDtype` and rescale of a header.

    Elements that agree already, such as BitsStored and HighBit within the dtype, are kept.
    """
    if pixel_header is None:
        return
    shape = (int(ds.get("Rows") or 1), int(ds.get("Columns") or 1))
    if ds.get("SamplesPerPixel") == 3:
        shape = (*shape, 3)  # type: ignore[assignment]
    _describe(ds, np.broadcast_to(np.zeros((), pixel_header.PixelDtype), shape), pixel_header)


def save_dicom(ds: Dataset, output_path: str | os.PathLike[str] | BinaryIO) -> None:
    """Write a dataset as a DICOM file.

    Args:
        ds: the dataset, with file meta.
        output_path: a path, or a binary file object.

    Raises:
        CubeFileNotFoundError: the folder of the path does not exist.
        CubeFileAccessError: the operating system refuses to write.
    """
    data = DicomBuilder.to_bytes(ds)
    if isinstance(output_path, (str, os.PathLike)):
        write_whole(os.fspath(output_path), [data])
    else:
        output_path.write(data)


def _dataset_of(elements: Mapping[str, Any]) -> Dataset:
    """Return a dataset made from elements in the JSON model, or from values by keyword."""
    if any(isinstance(element, dict) and "vr" in element for element in elements.values()):
        return Dataset.from_json(dict(elements))
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def _describe(
    dataset: Dataset, samples: NDArray[Any], pixel_header: PixelDataHeader | None
) -> None:
    """Adapt the elements that describe the pixels to these samples."""
    before = DicomMeta.from_datasets([dataset])
    header = pixel_header or pixel_header_of(before, samples.dtype.name)
    meta = settled(before, header, None, [RESCALE])
    if meta is not before:
        for name in RESCALE:
            setattr(dataset, name, meta.get(name))
    (replaced,) = pixel_attributes(meta, samples[np.newaxis], header)
    for key, element in replaced.items():
        if element is None:
            dataset.pop(int(key, 16), None)
        else:
            dataset.update(Dataset.from_json({key: element}))


def _cast(samples: NDArray[Any], pixel_header: PixelDataHeader | None) -> NDArray[Any]:
    """Return samples in the `PixelDtype` of a header, if it is a numpy type of numbers.

    Raises:
        DataConsistencyError: values would change.
    """
    try:
        dtype = np.dtype(samples.dtype if pixel_header is None else pixel_header.PixelDtype)
    except TypeError:
        return samples
    if dtype.kind not in "iuf" or dtype == samples.dtype.newbyteorder("="):
        return samples
    with np.errstate(all="ignore"):
        cast = samples.astype(dtype)
    if not np.array_equal(cast, samples, equal_nan=dtype.kind == "f"):
        raise DataConsistencyError(
            f"samples of {samples.dtype.name} have values that {dtype.name}, the header's "
            "PixelDtype, can't hold",
            suggestion="give a header whose PixelDtype is that of the samples",
        )
    return cast


def _decoded(dataset: Dataset) -> NDArray[Any]:
    """Return the decoded samples of a dataset with one coded frame."""
    uid, coded = str(dataset.file_meta.TransferSyntaxUID), None
    syntax = coded_syntax_of(uid)
    if syntax is not None:
        interpretation = str(dataset.get("PhotometricInterpretation", ""))
        coded = coded_pixels(syntax, dataset.PixelData, 1, interpretation)
    if coded is not None:
        return coded.decode(0)
    try:
        dataset.decompress()
        samples: NDArray[Any] = dataset.pixel_array
    except Exception as error:  # pydicom and its plugins raise many types for damaged data
        raise CodecError(
            f"can't decode a frame in {uid_name(uid)} ({type(error).__name__})"
        ) from None
    return samples
