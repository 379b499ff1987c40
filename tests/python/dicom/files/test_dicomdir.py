"""dicomdir: a DICOMDIR stands for the files that it names, below its folder."""

from __future__ import annotations

import errno
import os
import re
import shutil
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from inputs.dicom_series import SERIES_UID, item, make_series, pixels_of, write_series
from inputs.original_files import PYDICOM_FILES, contents
from programs.running import run_python
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from dicube import DicomCubeImage, verify_file
from dicube.cli import main
from dicube.dicom.files.sources import files_of
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    MetaDataError,
)


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """A folder with a DICOMDIR that names the slices of a series."""
    names = [["PT0", "SE0", f"IM{index}"] for index in range(4)]
    medium = write_series(tmp_path / "medium", make_series(4), ["/".join(name) for name in names])
    patient = item(DirectoryRecordType="PATIENT", RecordInUseFlag=0xFFFF)
    directory = item(FileSetID="TEST", DirectoryRecordSequence=[patient])
    for name in names:
        record = item(DirectoryRecordType="IMAGE", RecordInUseFlag=0xFFFF, ReferencedFileID=name)
        directory.DirectoryRecordSequence.append(record)
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.save_as(medium / "DICOMDIR", enforce_file_format=True)
    return medium


def images_of(medium: Path) -> list[Path]:
    return sorted(path for path in medium.rglob("*") if path.is_file() and path.name != "DICOMDIR")


def test_it_is_read_as_its_folder(medium: Path, tmp_path: Path) -> None:
    image = DicomCubeImage.from_dicom_folder(medium / "DICOMDIR")
    for index in range(4):
        assert np.array_equal(image.raw_image[index], pixels_of(index, (6, 5), "uint16"))
    image.to_file(tmp_path / "x.dcbs")
    assert verify_file(tmp_path / "x.dcbs", medium / "DICOMDIR").ok
    DicomCubeImage.from_file(tmp_path / "x.dcbs").to_dicom_folder(tmp_path / "out", exact=True)
    expected = {name: data for name, data in contents(medium).items() if name != "DICOMDIR"}
    assert contents(tmp_path / "out") == expected


def test_the_command_reads_it(medium: Path, tmp_path: Path) -> None:
    assert main(["convert", str(medium / "DICOMDIR"), str(tmp_path / "x.dcbs")]) == 0
    assert DicomCubeImage.from_file(tmp_path / "x.dcbs").shape == (4, 6, 5)


def test_files_that_it_does_not_name_are_left_out(medium: Path) -> None:
    shutil.copy(images_of(medium)[0], medium / "another")
    assert len(files_of(medium / "DICOMDIR")) == 4


def test_missing_files_are_named(medium: Path) -> None:
    missing = images_of(medium)[1]
    missing.unlink()
    with pytest.warns(UserWarning, match="DICOMDIR: 1 of 4 files are missing$"):
        assert len(files_of(medium / "DICOMDIR")) == 3
    for path in images_of(medium):
        path.unlink()
    with pytest.raises(CubeFileNotFoundError, match=r"DICOMDIR: 4 of 4 files .*missing$"):
        files_of(medium / "DICOMDIR")


def test_names_in_another_case(medium: Path) -> None:
    """Some systems show the names of media in lower case, or with the versions of ISO 9660."""
    first, *_ = images_of(medium)
    top = medium / first.relative_to(medium).parts[0]
    for path in images_of(medium):
        path.rename(path.with_name(path.name.lower() + ";1"))
    top.rename(top.with_name(top.name.lower()))
    assert len(files_of(medium / "DICOMDIR")) == 4


def change_names(medium: Path, name: str | list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of such names
        dataset = pydicom.dcmread(medium / "DICOMDIR")
        for record in dataset.DirectoryRecordSequence:
            if "ReferencedFileID" in record:
                record.ReferencedFileID = name
        dataset.save_as(medium / "DICOMDIR")


@pytest.mark.parametrize("name", [["..", "x"], "..", [".", "x"], "/etc/passwd", ["a", "", "b"]])
def test_names_elsewhere_are_refused(medium: Path, name: str | list[str]) -> None:
    change_names(medium, name)
    with pytest.raises(DataConsistencyError, match="DICOMDIR: expected names of files in its"):
        files_of(medium / "DICOMDIR")


def test_without_names(medium: Path) -> None:
    change_names(medium, "")
    with pytest.raises(DataConsistencyError, match="DICOMDIR names no files"):
        files_of(medium / "DICOMDIR")


def test_records_not_in_use_are_left_out(medium: Path) -> None:
    dataset = pydicom.dcmread(medium / "DICOMDIR")
    image = next(r for r in dataset.DirectoryRecordSequence if "ReferencedFileID" in r)
    image.RecordInUseFlag = 0
    dataset.save_as(medium / "DICOMDIR")
    assert len(files_of(medium / "DICOMDIR")) == 3


def test_a_damaged_one(medium: Path) -> None:
    data = (medium / "DICOMDIR").read_bytes()
    at = data.index(b"\x04\x00\x20\x12SQ")
    (medium / "DICOMDIR").write_bytes(data[: at + 12] + b"\xff" * (len(data) - at - 12))
    with pytest.raises((MetaDataError, DataConsistencyError), match="DICOMDIR"):
        files_of(medium / "DICOMDIR")


@pytest.mark.parametrize("name", ["X" * 60_000, ["X"] * 20_000, "\udcff", "\u00b2", "1" * 5000])
def test_names_of_no_file(medium: Path, name: str | list[str]) -> None:
    """Some of them can't be stored in an element, but in bytes of one."""
    change_names(medium, ["NAME"])
    data = (medium / "DICOMDIR").read_bytes()
    parts = name if isinstance(name, list) else [name]
    value = b"\\".join(part.encode("utf-8", "surrogateescape") for part in parts)
    value += b" " * (len(value) % 2)
    old = struct.pack("<HH2sH", 0x0004, 0x1500, b"CS", 4) + b"NAME"
    new = struct.pack("<HH2sH", 0x0004, 0x1500, b"CS", len(value)) + value
    data = data.replace(old, new)
    for tag in (b"\x04\0\x20\x12SQ\0\0", b"\xfe\xff\0\xe0"):  # of undefined length
        data = re.sub(re.escape(tag) + b"....", tag + b"\xff" * 4, data, flags=re.DOTALL)
    (medium / "DICOMDIR").write_bytes(data)
    with pytest.raises(DicomCubeError, match="DICOMDIR"):
        files_of(medium / "DICOMDIR")


def test_a_folder_that_cant_be_listed(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_names(medium, ["PT0", "other"])

    def refuse(folder: str) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", folder)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(CubeFileAccessError, match=r"can't read .*PT0: Permission denied"):
        files_of(medium / "DICOMDIR")


@pytest.mark.skipif(sys.platform != "linux", reason="the limit has no effect")
def test_a_deflated_one_takes_no_memory(medium: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(medium / "DICOMDIR")
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dataset.save_as(medium / "DICOMDIR")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(300)), packer.flush()])
    with (medium / "DICOMDIR").open("r+b") as file:
        at = 144 + struct.unpack_from("<L", file.read(144), 140)[0]
        file.truncate(at)
        file.seek(at)
        file.write(bomb)
    script = """
import pydicom, resource, sys
from dicube.dicom.files.sources import files_of
from dicube.exceptions import DicomCubeError
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (64 << 20),) * 2)
try:
    files_of(sys.argv[1])
except DicomCubeError as error:
    print("refused:", error.message)
"""
    found = run_python("-c", script, medium / "DICOMDIR").stdout
    assert "refused:" in found
    assert "MemoryError" not in found


@pytest.mark.parametrize(
    "path", sorted((PYDICOM_FILES / "dicomdirtests").glob("DICOMDIR*")), ids=lambda path: path.name
)
def test_those_of_pydicom(path: Path) -> None:
    """They name files of several patients, some of which the wheel lacks."""
    try:
        files = files_of(path)
    except (CubeFileNotFoundError, DataConsistencyError) as error:
        assert path.name in str(error)
    else:
        assert len(files) > 10
        assert all(Path(file.name).is_file() for file in files)


def test_as_one_of_several_sources(medium: Path, tmp_path: Path) -> None:
    other = make_series(5)[4:]
    assert other[0].SeriesInstanceUID == SERIES_UID
    write_series(tmp_path / "more", other)
    image = DicomCubeImage.from_dicom_folder([medium / "DICOMDIR", tmp_path / "more"])
    assert image.shape == (5, 6, 5)
