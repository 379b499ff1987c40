"""sources: series are read from folders, archives and datasets in memory."""

from __future__ import annotations

import os
import socket
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from inputs.dicom_frames import several_frames
from inputs.dicom_series import (
    item,
    make_series,
    make_slice,
    pixels_of,
    write_series,
)
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from dicube import DicomCubeImage
from dicube.dicom import read_dicom_dir
from dicube.dicom.dicom_io import read_series
from dicube.dicom.dicom_tree import find_series
from dicube.dicom.files.sources import FileOnDisk, files_of, is_dicube
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    InvalidCubeFileError,
    MetaDataError,
)


def zipped(folder: Path, archive: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Pack a folder."""
    with zipfile.ZipFile(archive, "w", method) as target:
        for path in sorted(folder.rglob("*")):
            target.write(path, path.relative_to(folder))
    return archive


def check_series(source: Any, count: int = 4) -> None:
    """Check that a source holds the slices of `make_series`."""
    meta, volume, _, _ = read_series(source)
    assert meta.get("InstanceNumber", force_nonshared=True) == list(range(1, count + 1))
    for index in range(count):
        np.testing.assert_array_equal(volume[index], pixels_of(index, (6, 5), "uint16"))
    assert read_dicom_dir(source) == meta


class TestArchives:
    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    @pytest.mark.parametrize("name", ["a.zip", "A.ZIP", "study"])
    def test_an_archive_is_read_like_its_folder(
        self, tmp_path: Path, method: int, name: str
    ) -> None:
        names = ["a/1.dcm", "a/b/2", "3.IMA", "4"]
        write_series(tmp_path / "in", make_series(4), names)
        (tmp_path / "in" / "notes.txt").write_text("not an image")
        for hidden in (".DS_Store", "__MACOSX/._4", "a/.x/1"):
            path = tmp_path / "in" / hidden
            path.parent.mkdir(parents=True, exist_ok=True)
            make_slice(7).save_as(path, enforce_file_format=True)
        archive = zipped(tmp_path / "in", tmp_path / name, method)
        check_series(archive)
        check_series([archive])
        meta = read_dicom_dir(archive)
        assert meta.filenames == [str(archive / name) for name in names]
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in", name])

    @pytest.mark.parametrize(
        "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
    )
    def test_other_transfer_syntaxes(self, tmp_path: Path, syntax: str) -> None:
        series = make_series(4)
        for index, dataset in enumerate(series):
            dataset.file_meta.TransferSyntaxUID = syntax
            if syntax == ExplicitVRBigEndian:
                dataset.PixelData = pixels_of(index, (6, 5), ">u2").tobytes()
                dataset.PixelData = pixels_of(index, (6, 5), "u2").astype(">u2").tobytes()
            dataset.DataSetTrailingPadding = b"\0\0"
        write_series(tmp_path / "in", series)
        check_series(zipped(tmp_path / "in", tmp_path / "a.zip"))

    def test_compressed_frames(self, tmp_path: Path) -> None:
        series = make_series(4)
        for dataset in series:
            dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        write_series(tmp_path / "in", series)
        check_series(zipped(tmp_path / "in", tmp_path / "a.zip"))

    def test_an_image_from_an_archive(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", make_series(4))
        image = DicomCubeImage.from_dicom_folder(zipped(tmp_path / "in", tmp_path / "a.zip"))
        assert image.shape == (4, 6, 5)
        assert image.space is not None

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_members_read_in_turns(self, tmp_path: Path, method: int) -> None:
        """What one reader does in the archive does not move another's place."""
        contents = [np.random.default_rng(seed).bytes(3_000_000) for seed in range(2)]
        with zipfile.ZipFile(tmp_path / "a.zip", "w", method, compresslevel=1) as archive:
            for number, content in enumerate(contents):
                archive.writestr(f"{number}", content)
        members = files_of(tmp_path / "a.zip")
        with members[0].open() as one, members[1].open() as other:
            readers = list(zip((one, other), contents, strict=True))
            for reader, content in readers:
                assert reader.read(10) == content[:10]
            for place in (2_000_000, 100, 2_999_990, 2_990_000, 0):
                for reader, content in readers:
                    assert reader.seek(place) == reader.tell() == place
                    assert reader.read(100) == content[place : place + 100]
            for reader, content in readers:
                assert reader.seek(-100, os.SEEK_END) == len(content) - 100
                reader.seek(-50, os.SEEK_CUR)
                assert reader.read() == content[-150:]

    def test_a_bomb_is_refused(self, tmp_path: Path) -> None:
        """Sizes are judged before anything is unpacked."""
        path = tmp_path / "bomb.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", bytes(1 << 20))
        data = bytearray(path.read_bytes())
        entry = data.index(b"PK\x01\x02")
        struct.pack_into("<L", data, entry + 24, 0xFFFFFFF0)
        path.write_bytes(data)
        with pytest.raises(DataConsistencyError, match="4294967280 bytes"):
            read_dicom_dir(path)

    def test_damage_is_named(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", make_series(4, shape=(90, 90)))
        path = zipped(tmp_path / "in", tmp_path / "a.zip", zipfile.ZIP_STORED)
        data = bytearray(path.read_bytes())
        data[data.index(pixels_of(1, (90, 90), "uint16").tobytes()) + 9000] ^= 1
        path.write_bytes(data)
        with pytest.raises((DataConsistencyError, MetaDataError), match="I2"):
            read_series(path)
        path.write_bytes(data[:5000])
        with pytest.raises(DataConsistencyError, match=r"a\.zip is a damaged zip archive"):
            read_series(path)
        path.write_bytes(b"no archive")
        with pytest.raises(DataConsistencyError, match=r"a\.zip is a damaged zip archive"):
            read_series(path)

    def test_a_member_of_a_size_that_is_a_lie(self, tmp_path: Path) -> None:
        write_series(tmp_path / "in", make_series(1, shape=(90, 90)))
        path = zipped(tmp_path / "in", tmp_path / "a.zip")
        data = bytearray(path.read_bytes())
        entry = data.index(b"PK\x01\x02")
        struct.pack_into("<L", data, entry + 24, 9000)
        path.write_bytes(data)
        with pytest.raises((DataConsistencyError, MetaDataError), match="I1"):
            read_series(path)

    def test_nothing_in_it(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("notes.txt", "x")
        with pytest.raises((MetaDataError, InvalidCubeFileError), match=r"a\.zip"):
            read_dicom_dir(tmp_path / "a.zip")

    def test_a_dicom_file_with_an_archive_for_preamble(self, tmp_path: Path) -> None:
        write_series(tmp_path, make_series(1))
        data = bytearray((tmp_path / "I1").read_bytes())
        data[:4] = b"PK\x03\x04"
        (tmp_path / "I1").write_bytes(data)
        check_series(tmp_path / "I1", 1)

    def test_real_folders(self, shared_data: Path, tmp_path: Path) -> None:
        """As the scanner wrote it, with its DICOMDIR; and as an archive of it."""
        meta, volume, _, _ = read_series(shared_data / "ct_philips_thin")
        assert volume.shape == (140, 512, 512)
        archive = zipped(shared_data / "ct_philips_thin", tmp_path / "x.zip", zipfile.ZIP_STORED)
        again, same, _, _ = read_series(archive)
        assert again == meta
        np.testing.assert_array_equal(same, volume)
        with pytest.raises(DataConsistencyError, match="741 x 650 x 3"):
            read_series(shared_data / "ct_philips_tilt")


class TestNames:
    @pytest.mark.parametrize("name", ["3²", "٣", "1" * 5000, "d/" * 60_000 + "x", "é", "0", "00"])
    def test_any_name_in_an_archive(self, name: str, tmp_path: Path) -> None:
        write_series(tmp_path / "in", make_series(4))
        archive = zipped(tmp_path / "in", tmp_path / "a.zip")
        with zipfile.ZipFile(archive, "a") as target:
            target.writestr(name[:65_000], b"no image")
        check_series(archive)

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
    @pytest.mark.parametrize("name", ["3²", "٣", "1" * 250, os.fsdecode(b"\xff\xfe")])
    def test_any_name_in_a_folder(self, name: str, tmp_path: Path) -> None:
        write_series(tmp_path, make_series(4))
        (tmp_path / name).write_bytes(b"no image")
        check_series(tmp_path)

    def test_natural_order(self, tmp_path: Path) -> None:
        names = ["I", "I0", "I00", "I01", "I2", "I2a", "I9", "I10", f"I1{'0' * 5000}", "I1000²"]
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name in reversed(names):
                archive.writestr(name, b"")
        found = [file.name.rpartition(os.sep)[2] for file in files_of(tmp_path / "a.zip")]
        assert found == [*names[:8], names[9], names[8]]


@pytest.mark.skipif(sys.platform == "win32", reason="it has other kinds of files")
class TestOtherThanRegularFiles:
    @pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
    def test_as_a_source(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "x.dcm"
        with socket.socket(socket.AF_UNIX) as listener:
            if kind == "pipe":
                os.mkfifo(path)
            elif kind == "device":
                path.symlink_to("/dev/zero")
            else:
                listener.bind(str(path))
            with pytest.raises(CubeFileAccessError, match=r"can't read .*x\.dcm"):
                read_dicom_dir(path)
            write_series(tmp_path, make_series(4))
            check_series(tmp_path)  # in a folder it is passed over
            with pytest.raises(CubeFileAccessError, match=r"can't read .*x\.dcm"):
                is_dicube(FileOnDisk(str(path)))  # as if it replaced a file after the listing

    def test_folders_as_deep_as_paths_can_be(self, tmp_path: Path) -> None:
        write_series(tmp_path, make_series(4))
        deepest = os.open(tmp_path, os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("d", dir_fd=deepest)
            below = os.open("d", os.O_RDONLY, dir_fd=deepest)
            os.close(deepest)
            deepest = below
        try:
            check_series(tmp_path)
        finally:  # pytest's own removal is recursive
            os.close(deepest)
            for depth in range(1500, 0, -1):
                os.rmdir(tmp_path / "/".join("d" * depth))

    def test_a_folder_that_cant_be_listed_stops_reading_but_no_listing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Even root can't list a folder whose path is too long."""
        write_series(tmp_path, make_series(4))
        monkeypatch.chdir(tmp_path)
        for _ in range(25):
            os.mkdir("f" * 200)
            os.chdir("f" * 200)
        write_series(Path(), make_series(5)[4:])
        with pytest.raises(CubeFileAccessError, match="ffff"):
            read_series(tmp_path)
        tree = find_series(tmp_path)
        assert [len(series.files) for series in tree.series] == [4]
        assert ["ffff" in one.reason for one in tree.unreadable] == [True]


class TestDeflated:
    def test_a_bomb_is_refused(self, tmp_path: Path) -> None:
        """70 MB in one private element; a dataset of 60 MB is read."""
        for size, is_refused in ((60 << 20, False), (70 << 20, True)):
            dataset = make_slice()
            dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
            dataset.add_new(0x00091001, "UN", bytes(size))
            write_series(tmp_path / str(size), [dataset])
            if is_refused:
                with pytest.raises(DataConsistencyError, match="I1: expected a deflated dataset"):
                    read_dicom_dir(tmp_path / str(size))
                (one,) = find_series(tmp_path / str(size)).unreadable
                assert "deflated dataset" in one.reason
            else:
                assert read_dicom_dir(tmp_path / str(size)).slice_count == 1


class TestDatasets:
    def test_made_by_hand(self) -> None:
        check_series(make_series(4)[::-1])
        check_series(make_slice(0), 1)

    def test_read_from_files(self, tmp_path: Path) -> None:
        write_series(tmp_path, make_series(4))
        datasets = [pydicom.dcmread(tmp_path / f"I{n}") for n in (3, 1, 4, 2)]
        check_series(datasets)
        from_files = read_dicom_dir(tmp_path)
        assert read_dicom_dir(datasets) == from_files
        assert read_dicom_dir(datasets).filenames == from_files.filenames

    def test_mixed_with_paths(self, tmp_path: Path) -> None:
        series = make_series(4)
        write_series(tmp_path / "a", series[:1])
        write_series(tmp_path / "b", series[1:2])
        write_series(tmp_path / "c", series[2:3])
        archive = zipped(tmp_path / "b", tmp_path / "b.zip")
        check_series([tmp_path / "a" / "I1", archive, str(tmp_path / "c"), series[3]])

    @pytest.mark.parametrize("without", ["file_meta", "syntax"])
    def test_without_file_meta(self, without: str) -> None:
        series = make_series(4)
        for dataset in series:
            if without == "file_meta":
                del dataset.file_meta
            else:
                del dataset.file_meta.TransferSyntaxUID
        check_series(series)

    def test_big_endian(self, tmp_path: Path) -> None:
        series = make_series(4)
        for index, dataset in enumerate(series):
            dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
            dataset.PixelData = pixels_of(index, (6, 5), "u2").astype(">u2").tobytes()
        write_series(tmp_path, series)
        check_series([pydicom.dcmread(tmp_path / f"I{n + 1}") for n in range(4)])

    def test_compressed_and_of_several_frames(self, tmp_path: Path) -> None:
        source = several_frames(3)
        source.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        write_series(tmp_path, [source])
        for dataset in (source, pydicom.dcmread(tmp_path / "I1")):
            volume = read_series([dataset]).volume
            np.testing.assert_array_equal(volume, read_series(tmp_path).volume)

    def test_later_changes_do_not_show(self) -> None:
        dataset = make_slice()
        meta = read_dicom_dir([dataset])
        dataset.PatientName = "OTHER"
        assert meta.get("PatientName") == "DOE^JOHN"

    def test_without_pixels(self) -> None:
        series = make_series(2)
        del series[1].PixelData
        with pytest.raises(DataConsistencyError, match="dataset 1 has no pixel data"):
            read_series(series)
        assert read_dicom_dir(series).slice_count == 2

    def test_too_few_pixels(self) -> None:
        series = make_series(2)
        series[1].PixelData = series[1].PixelData[:-4]
        with pytest.raises(DataConsistencyError, match="dataset 1 is truncated"):
            read_series(series)

    def test_values_that_pydicom_left_in_the_file(self, tmp_path: Path) -> None:
        series = make_series(2)
        for dataset in series:
            dataset.ReferencedImageSequence = [item(ReferencedSOPInstanceUID="1.2.3")]
        paths = sorted(write_series(tmp_path, series).iterdir())
        meta, volume, _, _ = read_series([pydicom.dcmread(path, defer_size=2) for path in paths])
        whole, pixels, _, _ = read_series(tmp_path)
        assert meta == whole
        np.testing.assert_array_equal(volume, pixels)

    def test_no_dataset(self) -> None:
        with pytest.raises(MetaDataError, match="0 files"):
            read_dicom_dir([])
        with pytest.raises(CubeFileNotFoundError):
            read_dicom_dir([make_slice(), "missing"])
