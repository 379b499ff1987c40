"""DICOM: series of files, their metadata, and where their voxels are. The only user of pydicom."""

from typing import Any

from dicube.dicom import dcb_streaming
from dicube.dicom.dicom_io import read_dicom_dir
from dicube.dicom.dicom_meta import DicomMeta, SortMethod
from dicube.dicom.dicom_status import DicomStatus, Finding, get_dicom_status
from dicube.dicom.dicom_tags import CommonTags
from dicube.dicom.series.check import check_dicom
from dicube.dicom.series.geometry import get_space_from_DicomMeta

__all__ = [
    "CommonTags",
    "DcbStreamingReader",
    "DicomMeta",
    "DicomStatus",
    "Finding",
    "SortMethod",
    "check_dicom",
    "get_dicom_status",
    "get_space_from_DicomMeta",
    "read_dicom_dir",
]


def __getattr__(name: str) -> Any:
    if name == "DcbStreamingReader":
        return dcb_streaming.DcbStreamingReader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
