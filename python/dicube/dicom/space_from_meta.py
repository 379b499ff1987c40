"""get_space_from_DicomMeta, where the published package has it."""

from dicube.dicom.series.geometry import get_space_from_DicomMeta

__all__ = ["get_space_from_DicomMeta"]
