"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.arrays import SmoothVolume
from numpy.typing import NDArray
from programs.running import PUBLISHED, ROOT
from pydicom.pixels.decoders import base as decoders


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real series beside the project; skips where it isn't there."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}")
    return folder


@pytest.fixture(scope="session")
def published_python() -> Path:
    """The Python of a virtual environment in the cache folder that has the published package."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dicube"
    home = cache / f"published-{PUBLISHED.partition('==')[2]}-nifti-py{sys.version_info[1]}"
    python = Path("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not home.exists():
        made = home.with_name(f"{home.name}-{os.getpid()}")  # other processes may make it, too
        venv.create(made, with_pip=True)
        result = subprocess.run(
            [
                made / python,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--timeout=15",
                "--retries=1",
                PUBLISHED,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            shutil.rmtree(made)
            pytest.skip(f"PyPI can't be reached for {PUBLISHED}: {result.stderr.strip()[-200:]}")
        try:
            made.rename(home)
        except OSError:  # another process was first
            shutil.rmtree(made)
    return home / python


@pytest.fixture
def no_decoder_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pydicom as it is where nothing else decodes for it, nor `dicube.integrations.pydicom`."""
    for decoder, _ in decoders._PIXEL_DATA_DECODERS.values():
        plugins = {k: v for k, v in decoder._available.items() if k == "pydicom"}
        monkeypatch.setattr(decoder, "_available", plugins)


@pytest.fixture(scope="session")
def full_range() -> SmoothVolume:
    """Make noise over the full range of a dtype, with both ends in it."""

    def make(shape: tuple[int, ...], dtype: Any, bits: int | None = None) -> NDArray[Any]:
        kind = np.dtype(dtype)
        bounds = np.iinfo(kind)
        low, high = int(bounds.min), int(bounds.max)
        if bits is not None:
            low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if low else (0, (1 << bits) - 1)
        seed = sum(shape) * 1000 + kind.itemsize * 10 + (bits or 0)
        values = np.random.default_rng(seed).integers(low, high, shape, np.int64, endpoint=True)
        values.flat[0] = high
        values.flat[-1] = low
        return values.astype(kind)

    return make


@pytest.fixture(scope="session")
def smooth_volume() -> SmoothVolume:
    """Make a volume like an image: smooth, with a little noise, so that it compresses."""

    def make(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        kind = np.dtype(dtype)
        bounds = np.iinfo(kind)
        axes = np.meshgrid(*(np.linspace(0, 3, size) for size in shape), indexing="ij")
        wave = np.sin(sum(axes)) * 0.2 + 0.5
        noise = np.random.default_rng(0).normal(0, 0.002, shape)
        span = min(int(bounds.max) - int(bounds.min), 4000)
        low = max(int(bounds.min), -span // 2)
        return ((wave + noise) * span + low).astype(kind)

    return make


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers of these tests."""
    config.addinivalue_line("markers", "interop: installs other packages from PyPI, once")
