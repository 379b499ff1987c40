"""DICOM: series of files, their metadata, and where their voxels are. The only user of pydicom."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    "CommonTags": "dicube.dicom.dicom_tags",
    "DcbStreamingReader": "dicube.dicom.dcb_streaming",
    "DicomMeta": "dicube.dicom.dicom_meta",
    "DicomStatus": "dicube.dicom.dicom_status",
    "Finding": "dicube.dicom.dicom_status",
    "SortMethod": "dicube.dicom.dicom_meta",
    "check_dicom": "dicube.dicom.series.check",
    "get_dicom_status": "dicube.dicom.dicom_status",
    "get_space_from_DicomMeta": "dicube.dicom.series.geometry",
    "read_dicom_dir": "dicube.dicom.dicom_io",
}

# Modules that callers of the published package use without importing them.
_MODULES = ("dcb_streaming", "dicom_io", "dicom_meta", "dicom_status", "dicom_tags", "merge_utils")


def __getattr__(name: str) -> Any:
    # Reading DICOM files takes pydicom, which reading dicube files must not wait for.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
