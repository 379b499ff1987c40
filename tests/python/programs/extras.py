"""Shows in a fresh environment what the optional packages bring: `extras.py [EXTRA]`.

What the environment was installed with must work; what it was installed without must say how to get
it. ci/release runs this with an environment for each extra, and one for none. It is no test by
itself: where the tests run everything may be installed.
"""

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
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


def archive(folder: Path) -> None:
    """A series is kept in an archive, and found."""
    from dicube import Archive

    write_series("MR_small.dcm", folder / "series")
    kept = Archive(folder / "archive")
    kept.add(folder / "series")
    (found,) = kept.series(Modality="MR")
    assert found.image().shape == (1, 64, 64)


def dask(folder: Path) -> None:
    """An archive is filled by a dask cluster."""
    from dicube.archive import Archive, dask_cluster

    write_series("MR_small.dcm", folder / "series")
    with dask_scheduler() as address, dask_cluster.dask_executor(address) as (executor, _):
        kept = Archive(folder / "archive")
        kept.add(folder / "series", executor=executor)
        assert len(kept.series()) == 1


@contextmanager
def dask_scheduler() -> Iterator[str]:
    """Give the address of a cluster; of none, where that can't be had."""
    try:
        from distributed import LocalCluster
    except ImportError:
        yield "tcp://127.0.0.1:9"
        return
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def deidentify(folder: Path) -> None:
    """An archive is filled without the names of patients."""
    from dicube import Archive

    write_series("MR_small.dcm", folder / "series")
    kept = Archive(folder / "archive")
    kept.add(folder / "series", deidentify="basic", on_error="stop")
    (found,) = kept.series()
    assert found.image().dicom_meta.get("PatientIdentityRemoved") == "YES"


def notebook(folder: Path) -> None:
    """A series is drawn, and viewed in three planes."""
    image = series("MR_small.dcm")
    assert image.view().volumes
    assert "<img" in image._repr_html_()


def sitk(folder: Path) -> None:
    """A series goes to SimpleITK, which resamples it."""
    image = series("MR_small.dcm")
    assert image.to_sitk().GetSize() == image.shape[::-1]
    assert image.regrid(spacing=2.0).spacing == (2, 2, 2)


def xarray(folder: Path) -> None:
    """A series goes to xarray and back; xarray opens files by dicube's entry point."""
    image = series("MR_small.dcm")
    again = DicomCubeImage.from_xarray(image.to_xarray(real=False))
    assert np.allclose(again.affine, image.affine)
    from xarray import open_dataset

    image.to_file(folder / "x.dcbs")
    with open_dataset(folder / "x.dcbs", engine="dicube") as dataset:
        assert dataset["voxels"].shape == image.shape


def write_series(name: str, folder: Path) -> None:
    folder.mkdir()
    dcmread(get_testdata_file(name, download=False)).save_as(folder / name)


def series(name: str) -> DicomCubeImage:
    with tempfile.TemporaryDirectory() as folder:
        write_series(name, Path(folder) / "series")
        image = DicomCubeImage.from_dicom_folder(folder)
        image.raw_image  # noqa: B018 (decoded while the folder is there)
        return image


# Without those that only `ci/run integrations` tests, as torch is large, and those for development.
FEATURES: dict[str, Callable[[Path], None]] = {
    "archive": archive,
    "dask": dask,
    "deidentify": deidentify,
    "notebook": notebook,
    "nifti": nifti,
    "remote": remote,
    "dicom-codecs": dicom_codecs,
    "web": web,
    "sitk": sitk,
    "xarray": xarray,
}


def included(extra: str) -> set[str]:
    """Return the extras that are installed with an extra: itself, and what it requires."""
    found = {extra}
    for requirement in metadata.requires("dicube") or ():
        if requirement.startswith("dicube[") and f'extra == "{extra}"' in requirement:
            (names,) = re.findall(r"\[(.*?)\]", requirement)
            found.update(*map(included, names.split(",")))
    return found


def main(installed: str = "") -> None:
    if "site-packages" not in dicube.__file__:
        sys.exit(f"extras.py: {dicube.__file__} is not an installed dicube")
    here = included(installed)
    for name, use in FEATURES.items():
        with tempfile.TemporaryDirectory() as folder:
            if name in here:
                use(Path(folder))
                print(f"dicube[{installed}]: {use.__doc__}")
                continue
            try:
                use(Path(folder))
            except (DicomCubeError, ImportError) as error:
                wanted = {f"dicube[{extra}]" for extra in included(name)}
                named = [extra for extra in wanted if extra in str(error)]
                assert named, error
                print(f"without {name}: {type(error).__name__} names {named[0]}")
            else:
                sys.exit(f"extras.py: {name} works without its extra")


if __name__ == "__main__":
    main(*sys.argv[1:])
