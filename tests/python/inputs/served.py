"""An archive with a series of each kind, and clients of a DICOMweb service of it, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from inputs.dicom_frames import enhanced
from inputs.dicom_series import make_slice, set_pixels, write_series
from inputs.series_trees import STUDY, add, objects_of, series_of
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicube import Archive
from dicube.web.application import application
from dicube.web.security import Rules
from dicube.web.stored import Stored, stored_at

ANY = "*"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
HTJ2K, HTJ2K_RPCL, JPEG_XL = (f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 110))
SHAPE = (40, 36)

GREY, SIGNED, COLOURS, ENHANCED, WITH_SCOUT = 1, 2, 3, 4, 5  # series of study 1
IMPLICIT_SERIES, NEW = 1, 2  # series of study 2, the latter without original files


def write_archive(folder: Path) -> Path:
    """Write `tree`, and an archive of it; return the archive."""
    tree, archive = folder / "tree", Archive(folder / "archive")
    grey = series_of(GREY, 3, shape=SHAPE)
    for index, dataset in enumerate(grey):
        smooth(dataset, index)
        dataset.WindowCenter, dataset.WindowWidth = -700 + index, 500
        dataset.add_new(0x00091001, "OB", bytes(range(256)) * 8)
        dataset.add_new(0x00090010, "LO", "BIG")
    colours = series_of(COLOURS, 2, shape=(*SHAPE, 3), dtype="uint8")
    for dataset in colours:
        dataset.Modality = "US"
    frames = enhanced(4)
    frames.StudyInstanceUID, frames.StudyDate = f"{STUDY}.1", "20240101"
    frames.SeriesInstanceUID = f"{STUDY}.1.{ENHANCED}"
    frames.SOPInstanceUID = f"{STUDY}.1.{ENHANCED}.0"
    scout = make_slice(7, (10, 12))
    slices = series_of(WITH_SCOUT, 2, shape=SHAPE)
    for word in ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "StudyDate"):
        setattr(scout, word, slices[0][word].value)
    scout.SOPInstanceUID = f"{STUDY}.1.{WITH_SCOUT}.9"
    signed = series_of(SIGNED, 4, shape=SHAPE, dtype="int16")
    for dataset in (*grey, *colours, frames, *slices, *signed):
        dataset.StudyTime = "101500.25"
        dataset.ReferringPhysicianName = "Who^Doctor"
    write_series(tree / "fast" / "grey", grey)
    write_series(tree / "fast" / "colours", colours)
    write_series(tree / "fast" / "enhanced", [frames])
    write_series(tree / "fast" / "with_scout", [*slices, scout])
    write_series(tree / "small" / "signed", signed)
    implicit = series_of(IMPLICIT_SERIES, 2, patient="0815", study=2, shape=SHAPE)
    for index, dataset in enumerate(implicit):
        smooth(dataset, index)
        dataset.PatientName = "Müller^Änne=山田^太郎"
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    write_series(tree / "small" / "implicit", implicit)
    others = objects_of(7)
    write_series(tree / "small" / "others", list(others.values()), list(others))
    write_series(tree / "new", series_of(NEW, 2, patient="0815", study=2, shape=SHAPE))
    add(archive, tree / "fast", format=".dcbs")
    add(archive, tree / "small", format=".dcba")
    add(archive, tree / "new", format=".dcbs", exact="no")
    return folder / "archive"


def smooth(dataset: Dataset, index: int) -> None:
    """Give a slice 12-bit pixels that a picture of 8 bits shows well."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    set_pixels(dataset, (rows * 13 + columns * 7 + index).astype("uint16"))
    dataset.BitsStored, dataset.HighBit = 12, 11


def originals_of(tree: Path) -> dict[str, Dataset]:
    """Return the DICOM files of a tree as pydicom reads them, by their UIDs."""
    found = {}
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            dataset = dcmread(path)
            found[str(dataset.SOPInstanceUID)] = dataset
    return found


@contextmanager
def client_of(source: Path | Stored, rules: Rules | None = None, **options: Any) -> Iterator[Any]:
    """Give a client of the application in this process."""
    from starlette.testclient import TestClient

    stored = source if isinstance(source, Stored) else stored_at([source])
    with TestClient(application(stored, rules, **options), raise_server_exceptions=False) as client:
        yield client


@contextmanager
def served(*arguments: object) -> Iterator[str]:
    """Run `dicube serve` at a free port in a process of its own; give its URL."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "dicube", "serve", *map(str, arguments), "--port", "0"]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://"), process.stdout.read()
            yield url
        finally:
            process.terminate()


def path_of(study: int, series: int, instance: int | None = None) -> str:
    """Return the path of a series or an instance."""
    series_uid = f"{STUDY}.{study}.{series}"
    path = f"/dicom-web/studies/{STUDY}.{study}/series/{series_uid}"
    return path if instance is None else f"{path}/instances/{series_uid}.{instance}"


def parts_of(response: Any) -> list[tuple[str, bytes]]:
    """Return content type and content of each part of a multipart message.

    Its structure is what the standard library's parser makes of it. That changes the ends of lines
    in binary parts and quotes parameters, so contents are taken from the bytes.
    """
    from email import message_from_bytes
    from email.policy import HTTP

    assert response.status_code == 200, response.text
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + response.content, policy=HTTP)
    boundary = message.get_boundary()
    assert message.is_multipart() and boundary is not None
    found = []
    bodies = response.content.split(f"--{boundary}".encode())[1:-1]
    for part, body in zip(message.iter_parts(), bodies, strict=True):
        lines, _, content = body.partition(b"\r\n\r\n")
        (kind,) = (
            line for line in lines.decode().split("\r\n") if line.startswith("Content-Type: ")
        )
        assert part.get_content_type() in kind
        found.append((kind.removeprefix("Content-Type: "), content.removesuffix(b"\r\n")))
    return found
