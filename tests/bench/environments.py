"""A virtual environment for each peer, made once and kept in the user's cache.

dicube itself runs in the environment that runs the bench; the published dicube has the same import
name and needs one of its own. Must not know what is measured.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = {
    "published": ["dicube==0.3.0"],
    "pydicom": ["pydicom==3.0.2", "numpy"],
}


def cache_folder() -> Path:
    """Return the folder in the user's cache that holds the environments."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "dicube" / "bench"


def python_for(peer: str) -> str:
    """Return the Python that has `peer` installed, installing it on the first call.

    Raises:
        subprocess.CalledProcessError: pip could not install it.
    """
    if peer not in REQUIREMENTS:
        return sys.executable
    wanted = REQUIREMENTS[peer]
    key = hashlib.sha256(repr((wanted, sys.version_info[:2])).encode()).hexdigest()[:12]
    folder = cache_folder() / f"{peer}-{key}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = folder / "complete"
    if not complete.exists():
        print(f"installing {' '.join(wanted)} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *wanted]
        subprocess.run(install, check=True, stdout=sys.stderr)
        complete.touch()
    return str(python)
