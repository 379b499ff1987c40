"""one_instance: one original file by its SOPInstanceUID, to the byte, and little else is read."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_frames import several_frames
from inputs.dicom_series import (
    SERIES_UID,
    make_series,
    make_slice,
    raw_data,
    without_pixels,
    write_series,
)
from inputs.http_server import FileServer
from inputs.original_files import SYNTAXES, contents, packed
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, JPEG2000Lossless, RLELossless

import dicube
from dicube import DicomCubeImage
from dicube.cli import main
from dicube.exceptions import (
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    TargetExistsError,
)
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import unpack_bytes

pytestmark = pytest.mark.filterwarnings("ignore:.*space is None", "ignore:.*DICOM files")

NOISE = np.random.default_rng(5).bytes(300_000)
EXTENSIONS = (".dcbs", ".dcba")


def stored(source: Path, path: Path, **how: Any) -> Path:
    """Write the dicube file of a folder."""
    DicomCubeImage.from_dicom_folder(source, keep_all=True).to_file(path, exact="always", **how)
    return path


def expect_each(path: Path, source: Path) -> None:
    """Each instance in a folder comes out of a dicube file to the byte, with and without checks."""
    for name, data in contents(source).items():
        uid = dcmread(source / name, specific_tags=["SOPInstanceUID"]).SOPInstanceUID
        assert dicube.instance_bytes(path, uid) == data, name
        assert dicube.instance_bytes(path, uid, compare=True) == data, name


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_each_slice(extension: str, syntax: str, tmp_path: Path) -> None:
    series = make_series(4)
    for dataset in series:
        dataset.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
        if syntax == "big":
            dataset["PixelData"].value = (
                np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
            )
    write_series(tmp_path / "in", series)
    expect_each(stored(tmp_path / "in", tmp_path / f"x{extension}"), tmp_path / "in")


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_coded_again_or_kept_as_coded(extension: str, syntax: str, tmp_path: Path) -> None:
    series = make_series(3, shape=(64, 48))
    for dataset in series:
        dataset.compress(syntax, generate_instance_uid=False)
    write_series(tmp_path / "in", series)
    expect_each(stored(tmp_path / "in", tmp_path / f"x{extension}"), tmp_path / "in")


@pytest.mark.parametrize("transfer_syntax", ["htj2k", "jpegxl"])
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_coded_frames(extension: str, transfer_syntax: str, tmp_path: Path) -> None:
    write_series(tmp_path / "plain", make_series(3, shape=(64, 48)))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "plain")
    image.to_dicom_folder(tmp_path / "in", transfer_syntax=transfer_syntax)
    expect_each(stored(tmp_path / "in", tmp_path / f"x{extension}"), tmp_path / "in")


def test_files_that_name_each_other(tmp_path: Path) -> None:
    series = make_series(4)
    for dataset in series:
        dataset.ReferencedImageSequence = [Dataset() for _ in series]
        for other, reference in zip(series, dataset.ReferencedImageSequence, strict=True):
            reference.ReferencedSOPInstanceUID = other.SOPInstanceUID
    write_series(tmp_path / "in", [*series, raw_data(1)])
    expect_each(stored(tmp_path / "in", tmp_path / "x.dcbs"), tmp_path / "in")


def test_several_frames_in_one_file_and_beside_others(tmp_path: Path) -> None:
    several = several_frames(5)
    several.SOPInstanceUID, several.SeriesInstanceUID = f"{SERIES_UID}.77", SERIES_UID
    several.StudyInstanceUID, several.PatientID = f"{SERIES_UID}.9.1", "4711"
    write_series(tmp_path / "in", [several])
    path = stored(tmp_path / "in", tmp_path / "x.dcbs")
    expect_each(path, tmp_path / "in")
    shape = (several.Rows, several.Columns)
    more = make_series(2, shape=shape, dtype=f"uint{several.BitsAllocated}")
    write_series(tmp_path / "in", more, ["a", "z"])
    expect_each(stored(tmp_path / "in", tmp_path / "y.dcbs"), tmp_path / "in")


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_files_beside_the_volume(extension: str, tmp_path: Path) -> None:
    objects = [raw_data(1), raw_data(2, NOISE), make_slice(8, shape=(9, 4))]
    write_series(tmp_path / "in", [*make_series(3), *objects])
    expect_each(stored(tmp_path / "in", tmp_path / f"x{extension}"), tmp_path / "in")


def test_files_without_frames(tmp_path: Path) -> None:
    report = without_pixels(BasicTextSRStorage, 3)
    write_series(tmp_path / "in", [raw_data(1), raw_data(2, NOISE), report])
    dicube.store_files(tmp_path / "in", tmp_path / "x.dcba")
    expect_each(tmp_path / "x.dcba", tmp_path / "in")
    with pytest.raises(DataConsistencyError, match="no original file with this SOPInstanceUID"):
        dicube.instance_bytes(tmp_path / "x.dcba", "1.2.3")


def test_a_copy_counts_as_the_instance(tmp_path: Path) -> None:
    series = make_series(3)
    write_series(tmp_path / "in", series)
    series[1].file_meta.ImplementationVersionName = "OTHER"
    write_series(tmp_path / "in", [series[1]], ["copy"])
    path = stored(tmp_path / "in", tmp_path / "x.dcbs")
    found = dicube.instance_bytes(path, f"{SERIES_UID}.2")
    assert found in (contents(tmp_path / "in")["I2"], contents(tmp_path / "in")["copy"])


def test_files_that_differ_under_one_uid_are_ambiguous(tmp_path: Path) -> None:
    write_series(tmp_path / "in", [raw_data(1), raw_data(1, b"otherwise"), raw_data(2)])
    dicube.store_files(tmp_path / "in", tmp_path / "x.dcba")
    with pytest.raises(DataConsistencyError, match=r"2 original files with this .* which differ"):
        dicube.instance_bytes(tmp_path / "x.dcba", f"{SERIES_UID}.7.1")


class TestWhatIsRead:
    """Over HTTP an instance takes at most four requests, of little more than it needs."""

    @pytest.fixture
    def server(self) -> Any:
        pytest.importorskip("fsspec")
        pytest.importorskip("aiohttp")
        server = FileServer()
        yield server
        server.close()

    @pytest.mark.parametrize("kind", ["plain", "JPEG 2000", "HTJ2K"])
    @pytest.mark.parametrize("extension", EXTENSIONS)
    def test_few_requests(self, kind: str, extension: str, server: Any, tmp_path: Path) -> None:
        series = make_series(12, shape=(256, 200))
        write_series(tmp_path / "in", series)
        if kind == "JPEG 2000":
            for dataset in series:
                dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
            write_series(tmp_path / "in", series)
        if kind == "HTJ2K":
            image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
            image.to_dicom_folder(tmp_path / "coded", transfer_syntax="htj2k")
        source = tmp_path / ("coded" if kind == "HTJ2K" else "in")
        path = stored(source, tmp_path / f"x{extension}")
        url = server.add("x", path.read_bytes())
        uid = dicube.load_meta(path).get_of_slice("SOPInstanceUID", 7)  # type: ignore[union-attr]
        assert len(server.files["x"]) > 1_000_000
        assert dicube.instance_bytes(url, uid) == dicube.instance_bytes(path, uid)
        assert 2 <= len(server.requests) <= 4
        assert server.sent < len(server.files["x"])
        server.requests.clear()
        assert dicube.instance_bytes(url, uid, compare=True) in contents(source).values()
        assert len(server.requests) <= 4

    def test_few_requests_for_files_kept_whole(self, server: Any, tmp_path: Path) -> None:
        noise = np.random.default_rng(6).bytes(900_000)
        write_series(tmp_path / "in", [raw_data(1, noise), raw_data(2, noise[::-1])])
        dicube.store_files(tmp_path / "in", tmp_path / "whole.dcba")
        write_series(tmp_path / "in", [raw_data(1, noise), *make_series(2)])
        stored(tmp_path / "in", tmp_path / "beside.dcba")
        for name in ("whole.dcba", "beside.dcba"):
            url = server.add(name, (tmp_path / name).read_bytes())
            server.requests.clear()
            found = dicube.instance_bytes(url, f"{SERIES_UID}.7.1")
            assert found == contents(tmp_path / "in")["I1"]
            assert len(server.requests) == 3


class TestFaults:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        write_series(tmp_path / "in", make_series(3))
        return stored(tmp_path / "in", tmp_path / "x.dcbs")

    def test_unknown_uid(self, path: Path) -> None:
        for uid in ("1.2.3", "", SERIES_UID, f"{SERIES_UID}.", "é", "\udc80"):
            with pytest.raises(DataConsistencyError, match=r"x.dcbs holds no original file with"):
                dicube.instance_bytes(path, uid)

    def test_no_originals(self, path: Path, tmp_path: Path) -> None:
        DicomCubeImage.from_file(path).to_file(tmp_path / "y.dcbs", exact=False)
        with pytest.raises(DataConsistencyError, match=r"y.dcbs holds no original files"):
            dicube.extract_instance(tmp_path / "y.dcbs", f"{SERIES_UID}.1", tmp_path / "one")
        assert not (tmp_path / "one").exists()

    def test_an_existing_file_stays(self, path: Path, tmp_path: Path) -> None:
        (tmp_path / "one").write_text("mine")
        with pytest.raises(TargetExistsError):
            dicube.extract_instance(path, f"{SERIES_UID}.1", tmp_path / "one")
        assert (tmp_path / "one").read_text() == "mine"
        dicube.extract_instance(path, f"{SERIES_UID}.1", tmp_path / "one", overwrite=True)
        assert (tmp_path / "one").read_bytes() == contents(tmp_path / "in")["I1"]

    @pytest.mark.parametrize(
        ("found", "forged"),
        [(b"2.5 ", b"2.6 "), (f"{SERIES_UID}.2".encode(), f"{SERIES_UID}.7".encode())],
    )
    def test_other_bytes_have_another_digest(
        self, path: Path, found: bytes, forged: bytes, tmp_path: Path
    ) -> None:
        with DcbReader(path) as reader:
            data = unpack_bytes(reader.sections["originals"])
            rewrite(reader, tmp_path / "y.dcbs", data.replace(found, forged))
        (tmp_path / "one").write_text("mine")
        with pytest.raises(DicomCubeError):
            dicube.extract_instance(
                tmp_path / "y.dcbs", f"{SERIES_UID}.2", tmp_path / "one", overwrite=True
            )
        with pytest.raises(DicomCubeError):
            dicube.instance_bytes(tmp_path / "y.dcbs", forged.decode())
        assert (tmp_path / "one").read_text() == "mine"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "one", "x.dcbs", "y.dcbs"]

    @pytest.mark.parametrize(
        ("pieces", "message"),
        [
            ([[0, 0, 1]], "its SHA-256 differs"),
            ([[0, *[1, 1] * 1000]], "expected files with 3 frames, found a further one"),
            ([[0, 1, 3]], "expected files with 3 frames, found a further one"),
            ([[0, 2, 1 << 40]], "expected files with 3 frames, found a further one"),
            ([{"coded": [0, 0, 1]}], "has bytes of frames that it does not hold"),
            ([{}], "expected a piece of a file"),
            ([-1], "expected a piece of a file"),
        ],
    )
    def test_pieces_that_no_writer_makes(
        self, pieces: list[Any], message: str, path: Path, tmp_path: Path
    ) -> None:
        with DcbReader(path) as reader:
            data = unpack_bytes(reader.sections["originals"])
            (length,) = struct.unpack_from("<L", data)
            index = json.loads(data[4 : 4 + length])
            head = index["files"][1]["pieces"][0]
            index["files"][1]["pieces"] = [head, *pieces]
            text = json.dumps(index).encode()
            forged = struct.pack("<L", len(text)) + text + data[4 + length :]
            rewrite(reader, tmp_path / "y.dcbs", forged)
        with pytest.raises(InvalidCubeFileError, match=message):
            dicube.instance_bytes(tmp_path / "y.dcbs", f"{SERIES_UID}.2")

    def test_other_frames_have_another_digest(self, path: Path, tmp_path: Path) -> None:
        with DcbReader(path) as reader:
            frames = reader.read_frames()
            frames[1, 2, 2] ^= 1
            rewrite(reader, tmp_path / "y.dcbs", frames=frames)
        assert dicube.instance_bytes(tmp_path / "y.dcbs", f"{SERIES_UID}.1")
        with pytest.raises(InvalidCubeFileError, match="its SHA-256 differs"):
            dicube.instance_bytes(tmp_path / "y.dcbs", f"{SERIES_UID}.2")

    def test_originals_of_another_patient_are_refused_if_compared(
        self, path: Path, tmp_path: Path
    ) -> None:
        others = make_series(3)
        for dataset in others:
            dataset.PatientID = "4712"
        write_series(tmp_path / "others", others)
        other = stored(tmp_path / "others", tmp_path / "other.dcbs")
        with DcbReader(other) as one, DcbReader(path) as reader:
            rewrite(reader, tmp_path / "y.dcbs", unpack_bytes(one.sections["originals"]))
        assert dicube.instance_bytes(tmp_path / "y.dcbs", f"{SERIES_UID}.1")
        with pytest.raises(InvalidCubeFileError, match=r"contradicts itself.*PatientID"):
            dicube.instance_bytes(tmp_path / "y.dcbs", f"{SERIES_UID}.1", compare=True)


def rewrite(
    reader: DcbReader, path: Path, originals: bytes | None = None, frames: Any = None
) -> None:
    """Write a file again, with other original files or frames."""
    with DcbWriter(path, reader.shape, reader.dtype) as writer:
        for name in reader.sections:
            if name[0].islower() and not name.startswith("frame_") and name != "originals":
                writer.write_section(name, reader.sections[name])
        writer.write_frames(reader.read_frames() if frames is None else frames)
        data = reader.sections["originals"] if originals is None else packed(originals)
        writer.write_section("originals", data)


class TestTheCommand:
    def test_it_writes_one_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        write_series(tmp_path / "in", make_series(3))
        stored(tmp_path / "in", tmp_path / "x.dcbs")
        command = ["extract", "x.dcbs", "--instance", f"{SERIES_UID}.3", "-o", "one.dcm"]
        assert main(command) == 0
        assert Path("one.dcm").read_bytes() == contents(tmp_path / "in")["I3"]
        assert capsys.readouterr().out == f"one.dcm: {Path('one.dcm').stat().st_size:,} bytes\n"
        assert main(command) == 1
        assert "one.dcm already exists (--overwrite)" in capsys.readouterr().err
        assert main([*command, "--overwrite"]) == 0
        assert main(["extract", "x.dcbs", "--instance", "1.2", "-o", "two.dcm"]) == 1
        assert "no original file with this SOPInstanceUID" in capsys.readouterr().err
        assert not Path("two.dcm").exists()
