"""`dicube demo`: compresses a series, restores it, and shows that nothing was lost.

Uses the public interface only, as any other program would.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dicube import DicomCubeImage, DicomMeta
from dicube.exceptions import MetaDataError
from dicube.storage.formats import kind_of_path
from dicube.whole_files import temporary_folder

# A functional MR of a head, which comes with nibabel, and the largest series of slices in pydicom.
_EXAMPLE_OF_NIBABEL = Path("tests", "data", "example4d.nii.gz")
_SERIES_OF_PYDICOM = Path("data", "test_files", "dicomdirtests", "98892001", "CT5N")

_EXTENSIONS = (".dcbs", ".dcba")


def run_demo(folder: Path | None, num_threads: int | None) -> bool:
    """Convert a series to each format and back to DICOM, compare, and print a table.

    Args:
        folder: DICOM files; None for a volume that comes with nibabel, written as DICOM, or without
            nibabel for a small series that comes with pydicom.
        num_threads: None or 0 for one per available processor.

    Returns:
        Whether everything came back unchanged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the output shows the status
        with temporary_folder("dicube-demo-") as work:
            source, title = (folder, str(folder)) if folder else _example(Path(work))
            is_equal = _compare(source, title, Path(work), num_threads)
    print(
        "\nNext:\n"
        f"  dicube convert {folder or 'FOLDER'} head.dcbs  # stores a series of your own\n"
        "  dicube view head.dcbs  # shows it in the browser: pip install 'dicube[web]'\n"
        "  python -c \"import dicube; print(dicube.open('head.dcbs')[0])\"  # decodes one slice"
    )
    return is_equal


def _example(work: Path) -> tuple[Path, str]:
    """Return a folder of DICOM files, of real voxels, and what they are."""
    path = _file_of("nibabel", _EXAMPLE_OF_NIBABEL)
    if path is None:
        return series_of_pydicom(), "a series that comes with pydicom"
    volume = DicomCubeImage.from_nifti(path).volumes()[0]
    volume.init_meta("MR", "EXAMPLE^NIBABEL", "example4d")
    volume.to_dicom_folder(work / "example4d")
    return work / "example4d", f"a volume of nibabel's {path.name}, written as DICOM"


def _compare(source: Path, title: str, work: Path, num_threads: int | None) -> bool:
    """Convert, compare and print; see `run_demo`."""
    watch = _Watch()
    image = DicomCubeImage.from_dicom_folder(source, num_threads=num_threads)
    read_time = watch.lap()
    meta = image.dicom_meta
    assert meta is not None
    shape = " x ".join(map(str, image.shape))
    print(
        f"{title}\n{meta.get('Modality', '')} {shape} {image.dtype.name}, "
        f"{len(meta)} elements per slice, status {image.dicom_status.value}\n"
    )
    print(f"{'':20}{'bytes':>14}{'ratio':>9}{'write':>11}{'read':>11}")
    source_size = sum(os.path.getsize(path) for path in meta.filenames or [])
    _print_row("DICOM files", source_size, source_size, None, read_time)
    findings: dict[str, list[str]] = {}
    for extension in _EXTENSIONS:
        findings |= _round_trip(image, source_size, work / f"series{extension}", num_threads)

    print("\nratio: size of the DICOM files / size.  Compared with the source:")
    for what, differences in findings.items():
        if differences:
            print(f"  {what:18}DIFFERS: {'; '.join(differences)}")
        else:
            print(
                f"  {what:18}equal: {image.raw_image.size:,} stored values, {len(meta)} elements "
                f"in {meta.slice_count} slices, geometry, status"
            )
    digests = _digests(meta.filenames or [])
    for extension in _EXTENSIONS:
        same = digests & _digests(_restored(work / f"series{extension}").iterdir())
        print(f"  files from {extension:7}{same.total()} of {digests.total()} equal, byte for byte")
    return not any(findings.values())


def _round_trip(
    image: DicomCubeImage, source_size: int, path: Path, num_threads: int | None
) -> dict[str, list[str]]:
    """Write and read a file, and export DICOM from it; return the differences of both."""
    extension = path.suffix
    watch = _Watch()
    image.to_file(path, num_threads)
    write_time = watch.lap()
    loaded = DicomCubeImage.from_file(path, num_threads)
    read_time = watch.lap()
    name = f"{extension} ({kind_of_path(path).codec.label})"
    _print_row(name, path.stat().st_size, source_size, write_time, read_time)

    folder = _restored(path)
    watch.lap()
    loaded.to_dicom_folder(folder)
    write_time = watch.lap()
    restored = DicomCubeImage.from_dicom_folder(folder, num_threads=num_threads)
    read_time = watch.lap()
    size = sum(file.stat().st_size for file in folder.iterdir())
    _print_row(f"DICOM from {extension}", size, source_size, write_time, read_time)
    return {
        extension: _differences(image, loaded),
        f"DICOM from {extension}": _differences(image, restored),
    }


def _restored(path: Path) -> Path:
    """Return the folder for the DICOM files that are restored from a file."""
    return path.with_name(f"{path.name} to DICOM")


def _digests(paths: Iterable[str | Path]) -> Counter[bytes]:
    """Return how often each content occurs, by its SHA-256."""
    return Counter(hashlib.sha256(Path(path).read_bytes()).digest() for path in paths)


class _Watch:
    """A stopwatch."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last lap, and start another."""
        start, self._start = self._start, time.perf_counter()
        return self._start - start


def series_of_pydicom() -> Path:
    """Return the folder of the series that comes with pydicom."""
    folder = _file_of("pydicom", _SERIES_OF_PYDICOM)
    if folder is None:
        raise MetaDataError(
            "the installed pydicom has no test data",
            suggestion="give a folder of DICOM files: dicube demo FOLDER",
        )
    return folder


def _file_of(package: str, name: Path) -> Path | None:
    """Return a file or folder that an installed package has, without importing the package."""
    found = importlib.util.find_spec(package)
    places = (found.submodule_search_locations if found else None) or []
    return next((Path(place) / name for place in places if (Path(place) / name).exists()), None)


def _print_row(
    name: str, size: int, source_size: int, write_time: float | None, read_time: float
) -> None:
    """Print one row of the table."""
    written = "" if write_time is None else f"{write_time:.3f} s"
    print(f"{name:20}{size:14,}{source_size / size:9.2f}{written:>11}{read_time:9.3f} s")


def _differences(image: DicomCubeImage, other: DicomCubeImage) -> list[str]:
    """Return how two images differ, one text for each kind of difference."""
    found = []
    if image.dtype != other.dtype or image.shape != other.shape:
        found.append(f"{image.shape} {image.dtype.name} became {other.shape} {other.dtype.name}")
    else:
        wrong = int(np.count_nonzero(image.raw_image != other.raw_image))
        if wrong:
            found.append(f"{wrong:,} stored values")
    if (image.space is None) != (other.space is None) or (
        image.space is not None and image.space != other.space
    ):
        found.append(f"geometry: {image.space} became {other.space}")
    if image.dicom_status is not other.dicom_status:
        found.append(f"status {image.dicom_status.value} became {other.dicom_status.value}")
    if image.dicom_meta is not None and other.dicom_meta is not None:
        found += _element_differences(image.dicom_meta, other.dicom_meta)
    return found


def _element_differences(meta: DicomMeta, other: DicomMeta) -> list[str]:
    """Return the tags of the elements that differ, with the number of slices where they do."""
    slices: dict[str, int] = {}
    for index in range(min(meta.slice_count, other.slice_count)):
        one, two = meta.index(index), other.index(index)
        for tag in {*one, *two}:
            if one.get(tag) != two.get(tag):
                slices[tag] = slices.get(tag, 0) + 1
    return [f"{tag} in {count} slices" for tag, count in sorted(slices.items())]
