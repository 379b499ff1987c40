"""Shows in a fresh environment what the optional packages bring: `extras.py [EXTRA]`.

What the environment was installed with must work; what it was installed without must say how to get
it. ci/release runs this with an environment for each extra, and one for none. It is no test by
itself: where the tests run everything may be installed.
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from urllib.request import urlopen

import numpy as np
from pydicom import dcmread
from pydicom.data import get_testdata_file

import dicube
from dicube import DicomCubeImage
from dicube.exceptions import DicomCubeError


def nifti(folder: Path) -> None:
    """A series goes to NIfTI and back."""
    image = series("MR_small.dcm")
    image.to_nifti(folder / "x.nii.gz")
    assert np.array_equal(DicomCubeImage.from_nifti(folder / "x.nii.gz").raw_image, image.raw_image)


def remote(folder: Path) -> None:
    """A file is read over HTTP."""
    image = series("MR_small.dcm")
    image.to_file(folder / "x.dcbs")
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            cube = dicube.open(f"http://127.0.0.1:{server.server_port}/x.dcbs")
            assert np.array_equal(cube[...], image.raw_image)
        finally:
            server.shutdown()


def dicom_codecs(folder: Path) -> None:
    """JPEG 2000, JPEG-LS and JPEG Baseline are decoded."""
    expected = series("MR_small.dcm").raw_image
    for name in ("MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"):
        assert np.array_equal(series(name).raw_image, expected), name
    assert series("SC_rgb_jpeg_dcmtk.dcm").raw_image.any()


def web(folder: Path) -> None:
    """A file is served by DICOMweb."""
    from dicube.web import serve

    series("MR_small.dcm").to_file(folder / "x.dcbs")
    started: Queue[str] = Queue()
    arguments = {"port": 0, "started": started.put}
    Thread(target=serve, args=[[folder / "x.dcbs"]], kwargs=arguments, daemon=True).start()
    with urlopen(f"{started.get(timeout=60)}/dicom-web/studies") as answer:
        assert answer.read().startswith(b'[{"00080020"')


def sitk(folder: Path) -> None:
    """A series goes to SimpleITK, which resamples it."""
    image = series("MR_small.dcm")
    assert image.to_sitk().GetSize() == image.shape[::-1]
    assert image.regrid(spacing=2.0).spacing == (2, 2, 2)


def xarray(folder: Path) -> None:
    """A series goes to xarray and back."""
    image = series("MR_small.dcm")
    again = DicomCubeImage.from_xarray(image.to_xarray(real=False))
    assert np.allclose(again.affine, image.affine)


def series(name: str) -> DicomCubeImage:
    with tempfile.TemporaryDirectory() as folder:
        path = get_testdata_file(name, download=False)
        dcmread(path).save_as(Path(folder) / name)
        image = DicomCubeImage.from_dicom_folder(folder)
        image.raw_image  # noqa: B018 (decoded while the folder is there)
        return image


FEATURES: dict[str, Callable[[Path], None]] = {
    "nifti": nifti,
    "remote": remote,
    "dicom-codecs": dicom_codecs,
    "web": web,
    "sitk": sitk,
    "xarray": xarray,
}


def main(installed: str = "") -> None:
    if "site-packages" not in dicube.__file__:
        sys.exit(f"extras.py: {dicube.__file__} is not an installed dicube")
    for name, use in FEATURES.items():
        with tempfile.TemporaryDirectory() as folder:
            if installed in (name, "all"):
                use(Path(folder))
                print(f"dicube[{installed}]: {use.__doc__}")
                continue
            try:
                use(Path(folder))
            except (DicomCubeError, ImportError) as error:
                assert f"dicube[{name}]" in str(error), error
                print(f"without {name}: {type(error).__name__} names dicube[{name}]")
            else:
                sys.exit(f"extras.py: {name} works without its extra")


if __name__ == "__main__":
    main(*sys.argv[1:])
