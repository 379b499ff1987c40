"""A virtual environment for each library that dicube is compared with, kept in the user's cache.

dicube itself, and stores that need only numpy, run in the environment of the bench. The published
dicube has the same import name and needs an environment of its own. Must not know what is measured.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = "here"

REQUIREMENTS = {
    "published": ["dicube==0.3.0"],
    "pydicom": ["pydicom>=3.0", "numpy"],
    "SimpleITK": ["SimpleITK>=2.4", "numpy"],
    "nibabel": ["nibabel>=5.2"],
    "imagecodecs": ["imagecodecs>=2025.3"],
    "blosc2": ["blosc2>=3.0"],
    "nnU-Net": ["blosc2>=3.0", "batchgenerators>=0.25"],
    "zarr": ["zarr>=3.0", "numcodecs>=0.15"],
    "plot": ["matplotlib>=3.8"],
}
# nnU-Net's storage does without its dependencies, which take gigabytes.
WITHOUT_DEPENDENCIES = {"nnU-Net": ["nnunetv2>=2.8"]}


class NotInstalled(Exception):
    """An environment could not be made; the message says why."""


def cache_folder() -> Path:
    """Return the folder in the user's cache that holds the environments."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "dicube" / "bench"


def python_for(environment: str) -> str:
    """Return the Python of an environment, which the first call creates.

    Raises:
        NotInstalled: pip could not install its packages.
    """
    if environment == HERE:
        return sys.executable
    wanted, alone = REQUIREMENTS[environment], WITHOUT_DEPENDENCIES.get(environment, [])
    key = hashlib.sha256(repr((wanted, alone, sys.version_info[:2])).encode()).hexdigest()[:12]
    folder = cache_folder() / f"{environment}-{key}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = folder / "complete"
    if not complete.exists():
        print(f"installing {' '.join(wanted + alone)} into {folder}", file=sys.stderr)
        # With this environment's pip: some systems' Python can't install pip into a new
        # environment.
        venv.create(folder, with_pip=False, clear=True)
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        install = [*pip, "--python", str(python), "install"]
        for arguments in (wanted, ["--no-deps", *alone] if alone else []):
            if arguments:
                _run([*install, *arguments])
        complete.touch()
    return str(python)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise NotInstalled((errors or ["pip failed"])[-1])


def variables_for(environment: str) -> dict[str, str] | None:
    """Return the variables for a process in an environment; None to inherit them."""
    if environment == HERE:
        return None
    # PYTHONPATH is meant for the bench only.
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
