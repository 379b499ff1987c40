"""Pixels and volumes as other programs read them, and files as these code them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.filereader import read_file_meta_info
from pydicom.uid import HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL

HTJ2K_SYNTAXES = (HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)


def pixels_by_gdcm(path: Path) -> NDArray[Any]:
    """The stored values of a DICOM file as gdcm decodes them.

    Skips where it isn't installed, or is too old for HTJ2K, which it reads from 3.2 on.
    """
    gdcm = pytest.importorskip("gdcm")
    version = gdcm.Version.GetVersion()
    syntax = str(read_file_meta_info(path).TransferSyntaxUID)
    if syntax in HTJ2K_SYNTAXES and tuple(map(int, version.split(".")))[:2] < (3, 2):
        pytest.skip(f"needs gdcm 3.2, found {version}")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    image = reader.GetImage()
    dtype = image.GetPixelFormat().GetScalarTypeAsString().lower()
    data = image.GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(data, dtype).reshape(image.GetDimensions()[::-1])


def coded_by_gdcm(source: Path, target: Path, syntax: str) -> None:
    """Code a DICOM file by gdcm in a transfer syntax of its names; skips without it."""
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(target))
    assert writer.Write()


def coded_by_dcmcjpeg(source: Path, target: Path, predictor: int) -> None:
    """Code a DICOM file in JPEG Lossless by DCMTK; predictor 0 for SV1. Skips without it."""
    program = shutil.which("dcmcjpeg")
    if program is None:
        pytest.skip("needs dcmcjpeg")
    form = ["+el", "+sv", str(predictor)] if predictor else ["+e1"]
    subprocess.run([program, *form, source, target], check=True, capture_output=True)


def dcm2niix(folder: Path, target: Path) -> list[Any]:
    """Convert a folder of DICOM by dcm2niix, of Debian's package or PyPI's; skips without it."""
    program = shutil.which("dcm2niix")
    if program is None and find_spec("dcm2niix"):
        import dcm2niix as package

        program = package.bin
    if program is None:
        pytest.skip("needs dcm2niix")
    target.mkdir()
    command = [program, "-b", "n", "-z", "n", "-f", "v", "-o", target, folder]
    subprocess.run(command, check=True, capture_output=True)
    nib = pytest.importorskip("nibabel")
    return [nib.load(path) for path in sorted(target.glob("*.nii"))]


def by_simpleitk(folder: Path) -> Any:
    """Read a folder of DICOM by SimpleITK; a nibabel image. Skips without it."""
    simpleitk = pytest.importorskip("SimpleITK")
    reader = simpleitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    voxels = simpleitk.GetArrayFromImage(image).T.astype(np.float64)
    nib = pytest.importorskip("nibabel")
    return nib.Nifti1Image(voxels, np.diag([-1, -1, 1, 1]) @ affine)


def points_by_simpleitk(folder: Path) -> list[Callable[[int, int], NDArray[Any]]]:
    """Return for each file, by name, what computes the LPS of a pixel (row, column) of it.

    SimpleITK reads each file alone, so that it assumes nothing of how slices are stacked.
    """
    simpleitk = pytest.importorskip("SimpleITK")
    images = [simpleitk.ReadImage(str(path)) for path in sorted(folder.iterdir())]

    def point_of(image: Any, row: int, column: int) -> NDArray[Any]:
        return np.array(image.TransformIndexToPhysicalPoint((column, row, 0)))

    return [partial(point_of, image) for image in images]


def assert_same_but_for_flips(one: Any, other: Any) -> None:
    """Two images have the same real values at the same places; axes may run the other way."""
    nib = pytest.importorskip("nibabel")
    ways = nib.orientations.ornt_transform(
        nib.io_orientation(one.affine), nib.io_orientation(other.affine)
    )
    assert ways[:, 0].tolist() == [0, 1, 2]
    turned = one.as_reoriented(ways)
    assert np.allclose(turned.affine, other.affine, rtol=0, atol=1e-3)
    assert np.array_equal(turned.get_fdata(), other.get_fdata())
