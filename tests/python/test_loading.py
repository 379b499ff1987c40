"""What a fresh process loads: heavy modules only if they are needed.

pydicom takes longer to load than the metadata of hundreds of dicube files, and with it come
whatever decoders are installed.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from inputs.dicom_frames import enhanced
from inputs.dicom_series import make_series, write_series
from inputs.mapped_series import at_the_root
from programs.running import run_python

from dicube import DicomCubeImage

HEAVY = {
    *("numpy", "pydicom", "spacetransformer", "nibabel", "fsspec", "aiohttp", "requests"),
    *("numpy.ma", "asyncio", "logging", "zipfile", "multiprocessing"),
}
NUMPY, WITH_SPACE = {"numpy"}, {"numpy", "spacetransformer"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a file of each kind: a series, frames of one file, mapped values."""
    made = tmp_path_factory.mktemp("kinds")
    kinds = {
        "series": make_series(5),
        "frames": [enhanced(5)],
        "mapped": at_the_root().datasets,
    }
    for name, datasets in kinds.items():
        write_series(made / name, datasets)
        DicomCubeImage.from_dicom_folder(made / name).to_file(made / f"{name}.dcbs")
    return made


def test_modules_of_the_published_package_need_no_import_of_their_own() -> None:
    code = "import dicube.dicom as d; print(d.merge_utils, d.dicom_io, d.dcb_streaming)"
    assert run_python("-c", code).stdout.count("<module") == 3


@pytest.mark.parametrize("kind", ["series", "frames", "mapped"])
@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import dicube", set()),
        ("import dicube.dicom, dicube.core", NUMPY),
        ("import dicube; dicube.open(file)[1:3, ::2]", NUMPY),
        ("import dicube; dicube.open(file).dicom_meta.get('PatientName')", NUMPY),
        ("import dicube; dicube.open(file).dicom_meta.get('ImagePositionPatient')", NUMPY),
        ("import dicube; dicube.open(file).get_fdata(1)", NUMPY),
        ("import dicube; dicube.open(file).space", WITH_SPACE),
        ("from dicube.cli import main; main(['info', file])", WITH_SPACE),
        ("from dicube.cli import main; main(['info', file, '--json'])", WITH_SPACE),
    ],
)
def test_nothing_heavy_is_loaded_that_is_not_needed(
    code: str, needed: set[str], kind: str, folder: Path
) -> None:
    loaded = heavy_modules(code, folder / f"{kind}.dcbs")
    if "numpy" in needed:
        needed = needed | heavy_modules("import numpy")  # numpy 1 loads numpy.ma
    assert loaded == needed


def heavy_modules(code: str, *file: Path) -> set[str]:
    """Return the heavy modules that are loaded after a fresh process has run some code."""
    done = run_python("-c", f"import sys; file = sys.argv[-1]; {code}; print(*sys.modules)", *file)
    assert done.returncode == 0, done.stderr
    return {*done.stdout.splitlines()[-1].split()} & HEAVY
