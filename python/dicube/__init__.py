"""dicube: a series of medical images in one small file that opens fast.

    import dicube
    from dicube import DicomCubeImage

    image = DicomCubeImage.from_dicom_folder("folder/")
    image.to_file("head.dcbs")      # HTJ2K: fast;  "head.dcba": JPEG XL: small
    image = DicomCubeImage.from_file("head.dcbs")
    image.raw_image                 # stored values, (slice, row, column)
    image.to_dicom_folder("restored/")
    dicube.open("head.dcbs")[40]    # one slice, and nothing else, is decoded

The public interface is the names in `__all__`, and those of `dicube.codecs` and
`dicube.exceptions`. Each is loaded when it is first used, so that `import dicube` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dicube._native import build_info
    from dicube.archive.archive import Archive
    from dicube.core.cube import Cube
    from dicube.core.cube import open as open  # noqa: A004
    from dicube.core.frame_writing import write_frames
    from dicube.core.image import DicomCubeImage
    from dicube.core.instances.late_instances import append_files
    from dicube.core.instances.one_instance import extract_instance, instance_bytes
    from dicube.core.instances.stored_files import restore_files, store_files, stored_names
    from dicube.core.io import (
        DicomCubeImageIO,
        load,
        load_from_dicom_folder,
        load_from_nifti,
        load_meta,
        save,
        save_to_dicom_folder,
        save_to_nifti,
    )
    from dicube.core.num_threads import get_num_threads, set_num_threads
    from dicube.dicom.dicom_io import read_dicom_dir
    from dicube.dicom.dicom_meta import DicomMeta, SortMethod
    from dicube.dicom.dicom_status import DicomStatus, get_dicom_status
    from dicube.dicom.dicom_tags import CommonTags
    from dicube.dicom.series.check import check_dicom
    from dicube.pixel_header import PixelDataHeader
    from dicube.verify.verification import verify_file

    __version__: str

__all__ = [
    "Archive",
    "CommonTags",
    "Cube",
    "DicomCubeImage",
    "DicomCubeImageIO",
    "DicomMeta",
    "DicomStatus",
    "PixelDataHeader",
    "SortMethod",
    "__version__",
    "append_files",
    "build_info",
    "check_dicom",
    "extract_instance",
    "get_dicom_status",
    "get_num_threads",
    "instance_bytes",
    "load",
    "load_from_dicom_folder",
    "load_from_nifti",
    "load_meta",
    "open",
    "read_dicom_dir",
    "restore_files",
    "save",
    "save_to_dicom_folder",
    "save_to_nifti",
    "set_num_threads",
    "store_files",
    "stored_names",
    "verify_file",
    "write_frames",
]

_HOMES = {
    "Archive": "dicube.archive.archive",
    "CommonTags": "dicube.dicom",
    "Cube": "dicube.core.cube",
    "DicomCubeImage": "dicube.core.image",
    "DicomCubeImageIO": "dicube.core.io",
    "DicomMeta": "dicube.dicom",
    "DicomStatus": "dicube.dicom",
    "PixelDataHeader": "dicube.pixel_header",
    "SortMethod": "dicube.dicom",
    "append_files": "dicube.core.instances.late_instances",
    "build_info": "dicube._native",
    "check_dicom": "dicube.dicom",
    "extract_instance": "dicube.core.instances.one_instance",
    "get_dicom_status": "dicube.dicom",
    "get_num_threads": "dicube.core.num_threads",
    "instance_bytes": "dicube.core.instances.one_instance",
    "load": "dicube.core.io",
    "load_from_dicom_folder": "dicube.core.io",
    "load_from_nifti": "dicube.core.io",
    "load_meta": "dicube.core.io",
    "open": "dicube.core.cube",
    "read_dicom_dir": "dicube.dicom",
    "restore_files": "dicube.core.instances.stored_files",
    "save": "dicube.core.io",
    "save_to_dicom_folder": "dicube.core.io",
    "save_to_nifti": "dicube.core.io",
    "set_num_threads": "dicube.core.num_threads",
    "store_files": "dicube.core.instances.stored_files",
    "stored_names": "dicube.core.instances.stored_files",
    "verify_file": "dicube.verify.verification",
    "write_frames": "dicube.core.frame_writing",
}


def __getattr__(name: str) -> Any:
    value: Any
    if name == "__version__":
        # dicube.h defines the version number.
        value = import_module("dicube._native").version()
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
