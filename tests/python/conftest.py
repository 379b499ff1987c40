"""Fixtures that several test files share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32")

SmoothVolume = Callable[..., NDArray[Any]]


def run_python(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a new process that imports what this one does."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real series beside the project; skips where it isn't there."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}")
    return folder


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
