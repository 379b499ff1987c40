"""What becomes of real DICOM series that go into a dicube file and out again.

The sources: the series beside the project, and all DICOM images in the pydicom and nibabel wheels.
Each either is refused with an error of dicube's own, or comes back without a difference.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from programs.running import ROOT
from pydicom.uid import (
    HTJ2K,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEGBaseline8Bit,
)

from dicube import DicomCubeImage, verify_file
from dicube.dicom.originals.comparison import first_different_byte, instance_differences
from dicube.exceptions import DicomCubeError
from dicube.verify.report import Outcome

SHARED = ROOT.parent / "shared" / "data"
SERIES = (
    "ct_ge_head",
    "ct_philips_thin",
    "ct_philips_tilt",
    "mr_siemens_sag",
    "mr_siemens_dti_mosaic",
)

# Compressed frames that a dicube file takes as they are, so that the DICOM file comes back.
_JPEG_XL = ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112")
_PASSED_THROUGH = {
    ".dcbs": (HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL),
    ".dcba": (*_JPEG_XL, JPEGBaseline8Bit),
}
_TAKES_LONG = 20 << 20  # bytes of DICOM: as .dcba they show nothing that others don't
_PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")  # the tag, in either byte order


@dataclass(frozen=True)
class Source:
    """A DICOM file or a folder with a series.

    Attributes:
        name: what a table calls it.
        path: where it is; may be packed by gzip.
    """

    name: str
    path: Path

    def files(self) -> list[Path]:
        """Return the DICOM images in it, uncompressed ones of the same names."""
        paths = sorted(self.path.rglob("*")) if self.path.is_dir() else [self.path]
        return [path for path in paths if path.is_file() and is_image(path)]


@dataclass
class Result:
    """What became of a source.

    Attributes:
        name: the source's.
        syntax: its transfer syntax.
        slices: of the image.
        refused: the error that it was refused with; '' if it was not.
        identical: whether all files came back to the byte, by extension.
        exact_due: the extensions of files that must give back the bytes.
        differences: of elements and pixels, a line each; there are to be none.
        source_size, plain_size, exact_size: bytes of the DICOM files, and of .dcbs files without
            and with what it takes to restore them exactly.
    """

    name: str
    syntax: str = ""
    slices: int = 0
    refused: str = ""
    identical: dict[str, bool] = field(default_factory=dict)
    exact_due: set[str] = field(default_factory=set)
    differences: list[str] = field(default_factory=list)
    source_size: int = 0
    plain_size: int = 0
    exact_size: int = 0

    def faults(self) -> list[str]:
        """Return what must not be."""
        found = list(self.differences)
        missed = sorted(kind for kind in self.exact_due if not self.identical.get(kind))
        return found + [f"{extension}: not byte for byte the same" for extension in missed]


def sources() -> Iterator[Source]:
    """Yield every source there is on this machine."""
    for name in SERIES:
        if (SHARED / name).is_dir():
            yield Source(name, SHARED / name)
    for package in ("pydicom", "nibabel"):
        root = package_folder(package)
        if root is None:
            continue
        folders: dict[Path, int] = {}
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix not in (".py", ".pyc", ".pyi") and is_image(path):
                yield Source(f"{package}/{path.relative_to(root)}", path)
                folders[path.parent] = folders.get(path.parent, 0) + 1
        for folder, count in folders.items():
            if count > 1:
                yield Source(f"{package}/{folder.relative_to(root)}/", folder)


def package_folder(package: str) -> Path | None:
    """Return where a package is installed."""
    found = importlib.util.find_spec(package)
    places = (found.submodule_search_locations if found else None) or []
    return next((Path(place) for place in places), None)


def is_image(path: Path) -> bool:
    """Return whether pydicom finds pixels in a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with opened(path) as file:
                data = file.read()
            if data[128:132] != b"DICM" and not any(tag in data for tag in _PIXEL_DATA):
                return False  # the quick way, for most files of a package
            dataset = pydicom.dcmread(io.BytesIO(data), force=True)
            return any(name in dataset for name in ("PixelData", "FloatPixelData"))
        except Exception:  # pydicom raises whatever the bytes provoke
            return False


def opened(path: Path) -> Any:
    """Open a file, unpacking it if it is packed."""
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def convert(source: Source) -> Result:
    """Convert a source to each kind of file and back; return what became of it."""
    result = Result(source.name)
    with tempfile.TemporaryDirectory(prefix="dicube-fidelity-") as work, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = source.path
        if path.suffix == ".gz":
            path = Path(work) / "in" / path.stem
            path.parent.mkdir()
            with opened(source.path) as packed, path.open("wb") as file:
                shutil.copyfileobj(packed, file)
        try:
            image = DicomCubeImage.from_dicom_folder(path)
        except DicomCubeError as error:
            result.refused = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return result
        try:
            _convert(result, image, path, Path(work))
        except DicomCubeError as error:
            result.differences.append(f"{type(error).__name__}: {error.message}")
    return result


def _convert(result: Result, image: DicomCubeImage, source: Path, work: Path) -> None:
    meta = image.dicom_meta
    assert meta is not None and meta.filenames is not None
    files = sorted(set(meta.filenames))
    first = pydicom.dcmread(files[0], force=True, stop_before_pixels=True)
    syntax = UID(first.file_meta.get("TransferSyntaxUID", "1.2.840.10008.1.2"))
    result.syntax, result.slices = syntax.name, len(image.raw_image)
    result.source_size = sum(map(os.path.getsize, files))
    root = source if source.is_dir() else source.parent
    for extension, passed_through in _PASSED_THROUGH.items():
        if extension == ".dcba" and result.source_size > _TAKES_LONG:
            continue
        if not syntax.is_compressed or syntax.is_deflated or syntax in passed_through:
            result.exact_due.add(extension)
        path = work / f"exact{extension}"
        image.to_file(path, effort=1 if extension == ".dcba" else None)
        target = work / f"restored{extension}"
        DicomCubeImage.from_file(path).to_dicom_folder(target)
        result.identical[extension] = _identical(files, root, target)
        if not result.identical[extension]:
            _differences(result, files, target, extension)
        report = verify_file(path, root if source.is_dir() else None)
        result.differences += [
            f"verify: {check.name}: {problem}"
            for check in report.checks
            if check.outcome is Outcome.FAILS
            for problem in check.problems
        ]
    result.exact_size = (work / "exact.dcbs").stat().st_size
    plain = work / "plain.dcbs"
    image.to_file(plain, exact=False)
    result.plain_size = plain.stat().st_size
    DicomCubeImage.from_file(plain).to_dicom_folder(work / "rebuilt")
    _differences(result, files, work / "rebuilt", "rebuilt")


def _identical(files: list[str], root: Path, target: Path) -> bool:
    """Return whether a folder holds the files, under their names and with their bytes, alone."""
    names = {os.path.relpath(path, root) for path in files}
    found = {os.path.relpath(path, target) for path in target.rglob("*") if path.is_file()}
    return names == found and all(
        first_different_byte(path, target / os.path.relpath(path, root)) is None for path in files
    )


def _differences(result: Result, files: list[str], target: Path, kind: str) -> None:
    """Compare restored files with their originals, element by element."""
    restored = {}
    for path in target.rglob("*"):
        if path.is_file():
            dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            restored[str(dataset.get("SOPInstanceUID", ""))] = path
    for path in files:
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        uid = str(dataset.get("SOPInstanceUID", ""))
        if len(files) == len(restored) == 1:
            other: Path | None = next(iter(restored.values()))
        else:
            other = restored.get(uid)
        name = os.path.basename(path)
        if other is None:
            result.differences.append(f"{kind}: {name}: not restored")
        else:
            result.differences += [
                f"{kind}: {name}: {text}" for text in instance_differences(path, other, 3)
            ]
