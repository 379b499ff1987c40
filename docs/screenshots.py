"""Make the pictures of the viewer page and of OHIF in docs/images, from public data.

usage: python docs/screenshots.py [--ohif DIR]

The data is an MR volume in nibabel's wheel. Needs the page that `ci/run js` builds, Chromium and
Node.js; OHIF is the folder `dist` of the npm package @ohif/app, whose picture is left out without.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel

import dicube

HERE = Path(__file__).resolve().parent
IMAGES = HERE / "images"


def main() -> int:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ohif", metavar="DIR")
    arguments = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "archive")
        make_archive(Path(folder), archive)
        (series,) = dicube.Archive(archive).series()
        with served("view", series.path, "--no-browser") as url:
            picture("page", url)
        if arguments.ohif:
            with served("serve", str(archive), "--ohif", arguments.ohif) as url:
                picture("ohif", f"{url}/viewer?StudyInstanceUIDs={series['StudyInstanceUID']}")
    return 0


def make_archive(folder: Path, archive: Path) -> None:
    """Make DICOM files of the first volume of nibabel's example, and an archive of these."""
    path = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the file's two volumes
        volume = dicube.DicomCubeImage.from_nifti(path).volumes()[0]
    meta = volume.init_meta("MR", "EXAMPLE^NIBABEL", "example4d")
    meta.set_shared_item("SeriesDescription", "first volume")
    meta.set_shared_item("StudyDescription", "Example of nibabel")
    volume.to_dicom_folder(folder / "series")
    assert dicube.Archive(archive).add(folder / "series", format=".dcbs").ok


@contextmanager
def served(*command: str) -> Iterator[str]:
    """Run a command of dicube that serves at a free port; give its URL."""
    started = [sys.executable, "-m", "dicube", *command, "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        started, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def picture(name: str, url: str) -> None:
    """Let Chromium open a page, and keep what it shows."""
    chromium, node = shutil.which("chromium"), shutil.which("node")
    if chromium is None or node is None:
        sys.exit("docs/screenshots.py: needs chromium and node")
    script = HERE / "screenshot.mjs"
    path = IMAGES / f"{name}.png"
    subprocess.run([node, script, name, url, path, chromium], check=True)
    print(f"{path.relative_to(HERE.parent)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
