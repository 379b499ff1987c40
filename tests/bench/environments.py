"""A virtual environment for each peer, made once and kept in the user's cache.

dicube itself, and what needs numpy alone, run in the environment that runs the bench; the published
dicube has the same import name and needs one of its own. Must not know what is measured.
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
    "zarr": ["zarr>=3.0", "numcodecs>=0.15"],
    "plot": ["matplotlib>=3.8"],
}


class NotInstalled(Exception):
    """An environment could not be made; says why."""


def cache_folder() -> Path:
    """Return the folder in the user's cache that holds the environments."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "dicube" / "bench"


def python_for(environment: str) -> str:
    """Return the Python of an environment, which is made on the first call.

    Raises:
        NotInstalled: pip could not install what it needs.
    """
    if environment == HERE:
        return sys.executable
    wanted = REQUIREMENTS[environment]
    key = hashlib.sha256(repr((wanted, sys.version_info[:2])).encode()).hexdigest()[:12]
    folder = cache_folder() / f"{environment}-{key}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = folder / "complete"
    if not complete.exists():
        print(f"installing {' '.join(wanted)} into {folder}", file=sys.stderr)
        # By the pip that is here: not every system's Python can give an environment one of its own.
        venv.create(folder, with_pip=False, clear=True)
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        install = [*pip, "--python", str(python), "install", *wanted]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise NotInstalled((told or ["pip failed"])[-1])
        complete.touch()
    return str(python)


def variables_for(environment: str) -> dict[str, str] | None:
    """Return the environment variables for a process in an environment; None for those here."""
    if environment == HERE:
        return None
    # What the bench itself was told to import from is not the peers' business.
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
