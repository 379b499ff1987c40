"""Make small good dicube files of every kind, for the fuzz target `files`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from inputs.dicom_frames import enhanced
from inputs.dicom_series import each, item, make_series, raw_data, set_pixels, write_series
from inputs.mapped_series import MAPPED
from inputs.nifti_files import nifti_bytes, samples
from json_mutations import SLICES
from mutations import as_published
from pydicom.dataset import Dataset

import dicube
from dicube import DicomCubeImage

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "0.4.0"


def file_seeds(work: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file.

    Args:
        work: an empty folder, which is filled.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from _from_dicom(work)
        yield from _others(work)
    for path in sorted(GOLDEN.glob("*.dcb?")):
        if path.stat().st_size < 8000:
            yield path.name, path.read_bytes()


def _saved(image: DicomCubeImage, path: Path, **options: Any) -> tuple[str, bytes]:
    image.to_file(path, num_threads=1, **options)
    return path.name, path.read_bytes()


def rich_series() -> list[Dataset]:
    """Return a series with values and sequences that differ between slices, binary and kanji."""
    several = make_series(SLICES)
    each(several, "AcquisitionNumber", [1, 2, 3])
    for dataset in several:
        dataset.ReferencedImageSequence = [item(ReferencedSOPInstanceUID="1.2")]
        dataset.add_new(0x00091001, "OB", b"\1\2\3\4")
        dataset.OtherPatientNames = ["A^B", "C^D=山田^太郎"]
        dataset.SpecificCharacterSet = "ISO_IR 192"
    several[1].ReferencedImageSequence = []
    return several


def _from_dicom(work: Path) -> Iterator[tuple[str, bytes]]:
    """Yield files of DICOM series."""
    repeated = make_series(2 * SLICES)
    each(repeated, "ImagePositionPatient", [[0, 0, n // 2] for n in range(2 * SLICES)])
    each(repeated, "EchoTime", [1 + n % 2 for n in range(2 * SLICES)])
    large = make_series(1, shape=(512, 512), dtype="uint8")
    set_pixels(large[0], np.zeros((512, 512), np.uint8))  # few bytes in the file
    sources = {
        "several": rich_series(),
        "frames": [enhanced(SLICES)],
        "colour": make_series(SLICES, shape=(6, 5, 3), dtype="uint8"),
        "echoes": repeated,
        "large": large,
        "others": [*make_series(SLICES), raw_data(1), raw_data(2, bytes(70_000))],
        **{f"mapped-{name}": MAPPED[name]().datasets for name in ("dose", "lut", "two_ranges")},
    }
    for name, datasets in sources.items():
        folder = write_series(work / name, datasets)
        image = DicomCubeImage.from_dicom_folder(folder, num_threads=1)
        yield _saved(image, work / f"{name}.dcbs")
        if name == "several":
            yield "published.dcbs", as_published((work / "several.dcbs").read_bytes())
            yield _saved(image, work / "bounded.dcba", max_error=3)
            yield _saved(image, work / "distance.dcbl", distance=1)
            mask = np.indices(image.shape).sum(axis=0) % 3 < 1
            yield _saved(image, work / "mask.dcbr", roi=mask)
            for syntax, extension in (("htj2k", ".dcbs"), ("jpegxl", ".dcba")):
                image.to_dicom_folder(work / syntax, transfer_syntax=syntax, num_threads=1)
                coded = DicomCubeImage.from_dicom_folder(work / syntax, num_threads=1)
                yield _saved(coded, work / f"coded{extension}")
        if name == "colour":
            yield _saved(image, work / "colour.dcba")
    write_series(work / "copies", large)
    write_series(work / "copies" / "again", large)
    image = DicomCubeImage.from_dicom_folder(work / "copies", num_threads=1)
    yield _saved(image, work / "copies.dcbs")


def _others(work: Path) -> Iterator[tuple[str, bytes]]:
    """Yield files without frames, and those of NIfTI and of arrays."""
    write_series(work / "objects", [raw_data(1), raw_data(2, bytes(70_000))])
    dicube.store_files(work / "objects", work / "objects.dcba")
    yield "objects.dcba", (work / "objects.dcba").read_bytes()
    for name, shape, version in (("volume", (5, 6, SLICES), 1), ("volumes", (5, 6, 2, 2), 2)):
        source = work / f"{name}.nii"
        source.write_bytes(nifti_bytes(samples(shape, "int16"), version) + b"end" * (version - 1))
        yield _saved(DicomCubeImage.from_nifti(source), work / f"nifti-{name}.dcbs")
    yield _saved(DicomCubeImage(np.ones((2, 4, 4), np.float32)), work / "array.dcba")
