"""What is timed: one function an operation, for dicube and for each peer.

Runs inside a peer's own environment, so each function imports what it needs, and every import is
done before the clock starts (`prepare`). Must not know how often or against what it is run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Operation = Callable[[], Any]


def dicube_from_folder(folder: str, file: str) -> Operation:
    """DICOM folder to image."""
    from dicube import DicomCubeImage

    return lambda: DicomCubeImage.from_dicom_folder(folder)


def dicube_save(folder: str, file: str) -> Operation:
    """Image to file, without decoding and comparing what was encoded, as the peer does."""
    from dicube import DicomCubeImage

    image = DicomCubeImage.from_dicom_folder(folder)
    return lambda: image.to_file(file, verify=False)


def dicube_save_verified(folder: str, file: str) -> Operation:
    """Image to file, each frame decoded and compared after it was encoded (the default)."""
    from dicube import DicomCubeImage

    image = DicomCubeImage.from_dicom_folder(folder)
    return lambda: image.to_file(file)


def dicube_load(folder: str, file: str) -> Operation:
    """File to image."""
    from dicube import DicomCubeImage

    if not Path(file).exists():
        DicomCubeImage.from_dicom_folder(folder).to_file(file)
    return lambda: DicomCubeImage.from_file(file)


def dicube_load_one_thread(folder: str, file: str) -> Operation:
    """File to image, on one thread."""
    from dicube import DicomCubeImage

    if not Path(file).exists():
        DicomCubeImage.from_dicom_folder(folder).to_file(file)
    return lambda: DicomCubeImage.from_file(file, num_threads=1)


def dicube_save_one_thread(folder: str, file: str) -> Operation:
    """Image to file, on one thread, without checking."""
    from dicube import DicomCubeImage

    image = DicomCubeImage.from_dicom_folder(folder)
    return lambda: image.to_file(file, verify=False, num_threads=1)


def pydicom_from_folder(folder: str, file: str) -> Operation:
    """Each file of the folder read by pydicom, and its pixel array."""
    import pydicom

    paths = sorted(path for path in Path(folder).iterdir() if path.is_file())

    def read() -> list[Any]:
        datasets = [pydicom.dcmread(path) for path in paths]
        return [(dataset, dataset.pixel_array) for dataset in datasets if "PixelData" in dataset]

    return read


def published_from_folder(folder: str, file: str) -> Operation:
    """DICOM folder to image, by the published dicube."""
    import dicube

    return lambda: dicube.load_from_dicom_folder(folder)


def published_save(folder: str, file: str) -> Operation:
    """Image to file, by the published dicube, on all cores."""
    import os

    import dicube

    dicube.set_num_threads(os.cpu_count() or 1)
    image = dicube.load_from_dicom_folder(folder)
    return lambda: dicube.save(image, file)


def published_load(folder: str, file: str) -> Operation:
    """File to image, by the published dicube, on all cores."""
    import os

    import dicube

    dicube.set_num_threads(os.cpu_count() or 1)
    if not Path(file).exists():
        dicube.save(dicube.load_from_dicom_folder(folder), file)
    return lambda: dicube.load(file)


OPERATIONS = {
    name: function
    for name, function in globals().items()
    if name.split("_")[0] in ("dicube", "pydicom", "published")
}
