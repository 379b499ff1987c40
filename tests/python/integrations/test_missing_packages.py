"""Without the package that an integration is for, importing it says what to install."""

from __future__ import annotations

import pytest
from inputs.training import library
from programs.running import run_python

# The package that is missing, and the extra that has it, by the module.
NEEDS = {
    "monai": ("monai", "monai"),
    "nibabel": ("nibabel", "nifti"),
    "nnunet": ("nnunetv2", "nnunet"),
    "torch": ("torch", "torch"),
    "virtualizarr": ("virtualizarr", "virtualizarr"),
    "xarray": ("xarray", "xarray"),
    "zarr": ("zarr", "zarr"),
}


@pytest.mark.parametrize("module", NEEDS)
def test_the_error_says_what_to_install(module: str) -> None:
    package, extra = NEEDS[module]
    if module == "virtualizarr":
        library("zarr")  # which the parser needs, too
    code = f"import sys; sys.modules[{package!r}] = None; import dicube.integrations.{module}"
    done = run_python("-c", code)
    assert "MissingPackageError" in done.stderr
    assert f"needs the package {package}" in done.stderr
    assert f"pip install 'dicube[{extra}]'" in done.stderr
