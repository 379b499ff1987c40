"""url_files: files are written to URLs when they are complete, and read from there as a whole."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import SERIES_UID, make_series, raw_data, write_series
from inputs.http_server import FileServer
from inputs.object_stores import s3_with_a_bucket
from inputs.original_files import contents

import dicube
from dicube import DicomCubeImage
from dicube.cli import main
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    MissingPackageError,
    TargetExistsError,
)
from dicube.storage.url_files import local_copy, written_to

fsspec = pytest.importorskip("fsspec")

SECRET = "zzsecret"


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture
def server() -> Iterator[FileServer]:
    pytest.importorskip("aiohttp")
    server = FileServer()
    yield server
    server.close()


@pytest.fixture
def series(tmp_path: Path) -> Path:
    return write_series(tmp_path / "in", make_series(3))


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with s3_with_a_bucket(monkeypatch, SECRET) as system:
        yield system


class TestAStore:
    """An object appears when it is complete, and equals the file at a path."""

    @pytest.mark.parametrize("name", ["x.dcbs", "x.dcba"])
    def test_memory(self, name: str, memory: Any, series: Path, tmp_path: Path) -> None:
        image = DicomCubeImage.from_dicom_folder(series)
        image.to_file(tmp_path / name)
        seen: list[bool] = []
        url = f"memory://a/b/{name}"
        image.to_file(url, progress=lambda *_: seen.append(memory.exists(url)))
        assert seen and not any(seen)
        assert memory.cat_file(url) == (tmp_path / name).read_bytes()
        again = DicomCubeImage.from_file(url)
        again.to_file(url, exact="always")  # over the object that it was read from
        assert dicube.verify_file(url, series, require_originals=True).ok

    def test_s3(
        self, s3: Any, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        image = DicomCubeImage.from_dicom_folder(series)
        image.to_file(tmp_path / "x.dcba")
        options = {"client_kwargs": {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}}
        image.to_file("s3://bucket/a/x.dcba", storage_options=options)
        assert s3.cat_file("bucket/a/x.dcba") == (tmp_path / "x.dcba").read_bytes()
        report = dicube.verify_file("s3://bucket/a/x.dcba", series, storage_options=options)
        assert report.ok and report.path == "s3://bucket/a/x.dcba"
        assert main(["convert", str(series), "s3://bucket/y.dcbs"]) == 0
        assert "s3://bucket/y.dcbs: 3 slices, " in capsys.readouterr().out
        assert main(["convert", str(series), "s3://bucket/y.dcbs"]) == 1
        assert "s3://bucket/y.dcbs already exists; --overwrite" in capsys.readouterr().err
        assert main(["convert", "s3://bucket/y.dcbs", "s3://bucket/z.dcba", "--overwrite"]) == 0
        assert main(["convert", "s3://bucket/z.dcba", f"{tmp_path / 'out'}/"]) == 0
        assert contents(tmp_path / "out") == contents(series)
        assert main(["verify", "s3://bucket/z.dcba", "--against", str(series)]) == 0
        capsys.readouterr()
        assert main(["info", "s3://bucket/z.dcba", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["path"] == "s3://bucket/z.dcba"
        uid = f"{SERIES_UID}.2"
        assert (
            main(["extract", "s3://bucket/z.dcba", "--instance", uid, "-o", "s3://bucket/1"]) == 0
        )
        assert s3.cat_file("bucket/1") == contents(series)["I2"]
        assert sorted(s3.ls("bucket")) == [f"bucket/{n}" for n in ("1", "a", "y.dcbs", "z.dcba")]

    def test_s3_errors(self, s3: Any, series: Path, capsys: pytest.CaptureFixture[str]) -> None:
        image = DicomCubeImage.from_dicom_folder(series)
        with pytest.raises(DicomCubeError, match=r"s3://none/x.dcba: "):
            image.to_file("s3://none/x.dcba")
        with pytest.raises(CubeFileNotFoundError, match=r"s3://bucket/none.dcba: no such file"):
            DicomCubeImage.from_file("s3://bucket/none.dcba")
        assert main(["convert", str(series), "s3://none/x.dcba"]) == 1
        assert main(["verify", "s3://bucket/none.dcba"]) == 1
        output = capsys.readouterr()
        assert SECRET not in output.err + output.out
        assert output.err.startswith("dicube: error: s3://none/x.dcba: cannot write: ")

    def test_a_failure_leaves_the_old_object(
        self, memory: Any, series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
        monkeypatch.setattr("tempfile.tempdir", None)
        (tmp_path / "tmp").mkdir()
        image = DicomCubeImage.from_dicom_folder(series)
        memory.pipe_file("/x.dcbs", b"old")

        def fail(*_progress: int) -> None:
            assert [*(tmp_path / "tmp").iterdir()]
            raise KeyError("stop")

        with pytest.raises(KeyError):
            image.to_file("memory://x.dcbs", progress=fail)
        monkeypatch.setattr(type(memory), "put_file", lambda *_: None)
        with pytest.raises(CubeFileAccessError, match=r"cannot write: sent .* the store has 3"):
            image.to_file("memory://x.dcbs")

        def refuse(*_arguments: Any) -> None:
            raise OSError(f"no room for https://me:{SECRET}@example.org")

        monkeypatch.setattr(type(memory), "put_file", refuse)
        with pytest.raises(CubeFileAccessError, match=r"x.dcbs: cannot write: no room") as caught:
            image.to_file("memory://x.dcbs")
        assert SECRET not in str(caught.value)
        assert memory.cat_file("/x.dcbs") == b"old"
        assert not [*(tmp_path / "tmp").iterdir()]

    def test_all_that_writes_a_file(
        self, memory: Any, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        raw = write_series(tmp_path / "raw", [raw_data(1)])
        dicube.store_files(raw, "memory://raw.dcba")
        assert dicube.stored_names("memory://raw.dcba") == ("I1",)
        frames = (np.full((4, 5), number, np.uint16) for number in range(3))
        dicube.write_frames("memory://frames.dcbs", frames, (3, 4, 5), "uint16")
        assert int(dicube.open("memory://frames.dcbs")[2].max()) == 2
        image = DicomCubeImage.from_dicom_folder(series)
        image.to_dicom_file("memory://one.dcm")
        assert memory.cat_file("/one.dcm")[128:132] == b"DICM"
        with pytest.raises(TargetExistsError, match=r"memory://one.dcm already exists"):
            image.to_dicom_file("memory://one.dcm")
        for name in ("a.nii.gz", "b.dcm", "c.dcbs", "raw.dcbs"):
            source = raw if name == "raw.dcbs" else series
            if name.endswith(".gz"):
                pytest.importorskip("nibabel")
            assert main(["convert", str(source), f"memory://to/{name}"]) == 0
            size = memory.size(f"/to/{name}")
            out = capsys.readouterr().out
            assert out.startswith(f"memory://to/{name}: ")
            assert f"{size:,} bytes" in out or name == "b.dcm"

    def test_a_file_of_this_machine_is_written_in_place(self, series: Path, tmp_path: Path) -> None:
        image = DicomCubeImage.from_dicom_folder(series)
        (tmp_path / "x.dcbs").write_bytes(b"old")
        (tmp_path / "x.dcbs").chmod(0o600)
        os.link(tmp_path / "x.dcbs", tmp_path / "linked")
        url = (tmp_path / "x.dcbs").as_uri()
        image.to_file(url)
        assert DicomCubeImage.from_file(url).shape == image.shape
        assert stat.S_IMODE((tmp_path / "x.dcbs").stat().st_mode) == 0o600
        assert (tmp_path / "linked").read_bytes() == b"old"  # replaced at once, not overwritten


class TestRefusals:
    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("{origin}/x.dcbs", "x.dcbs: can't write to http"),
            ("simplecache::{origin}/x.dcbs", "expected one URL to write to, found a chain"),
            ("reference://x.dcbs", "expected a URL that names all addresses"),
            ("nonsense://x.dcbs", "nonsense"),
            ("memory://x.txt", "expected a name ending in"),
        ],
    )
    def test_targets(
        self, target: str, message: str, server: FileServer, series: Path, memory: Any
    ) -> None:
        image = DicomCubeImage.from_dicom_folder(series)
        with pytest.raises(DataConsistencyError, match=message):
            image.to_file(target.format(origin=server.origin))
        assert server.requests == []
        assert memory.store == {}

    def test_options_are_for_urls(self, series: Path, tmp_path: Path) -> None:
        with pytest.raises(DataConsistencyError, match="for URLs only"):
            DicomCubeImage.from_dicom_folder(series).to_file(
                tmp_path / "x.dcbs", storage_options={"anon": True}
            )
        assert not (tmp_path / "x.dcbs").exists()

    def test_without_fsspec(self, series: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
        with pytest.raises(MissingPackageError, match="needs the package fsspec"):
            DicomCubeImage.from_dicom_folder(series).to_file("memory://x.dcbs")

    def test_of_the_command(
        self, server: FileServer, series: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        chain = f"simplecache::{server.url('x.dcbs')}?key={SECRET}"
        for arguments in (
            ["convert", chain, "x.dcba"],
            ["convert", str(series), chain],
            ["verify", chain],
            ["verify", str(series), "--against", chain],
            ["extract", chain, "--instance", "1", "-o", "x"],
            ["append", chain, str(series)],
        ):
            assert main(arguments) == 1
            error = capsys.readouterr().err
            assert "found a chain" in error and SECRET not in error
        assert main(["convert", str(series), "memory://folder/", "--transfer-syntax", "htj2k"]) == 1
        assert "memory://folder/: a folder is written to a path" in capsys.readouterr().err
        assert main(["convert", str(series), "memory://f/", "--all-series", "--to", "dcba"]) == 1
        assert main(["append", server.url("x.dcbs"), str(series)]) == 1
        assert "expected a file on this machine, found a URL" in capsys.readouterr().err
        assert server.requests == []


class TestSources:
    """The command reads single files of all kinds from URLs."""

    def test_dicube_files(
        self, server: FileServer, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        DicomCubeImage.from_dicom_folder(series).to_file(tmp_path / "x.dcbs")
        url = server.add("x.dcbs", (tmp_path / "x.dcbs").read_bytes()) + f"?key={SECRET}"
        assert main(["verify", url, "--against", str(series), "--require-originals"]) == 0
        assert main(["convert", url, str(tmp_path / "y.dcba")]) == 0
        assert main(["convert", url, f"{tmp_path / 'out'}/"]) == 0
        assert main(["info", url]) == 0
        assert contents(tmp_path / "out") == contents(series)
        output = capsys.readouterr()
        assert f"{server.url('x.dcbs')}: OK" in output.out
        assert SECRET not in output.out + output.err
        assert main(["verify", server.url("none.dcbs")]) == 1
        assert main(["convert", server.url("none.dcbs"), str(tmp_path / "z.dcba")]) == 1
        output = capsys.readouterr()
        assert output.err.count(f"{server.url('none.dcbs')}: no such file") == 2

    def test_archives_and_dicom_files(
        self, server: FileServer, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            for path in sorted(series.iterdir()):
                archive.write(path, path.name)
        archived = server.add("in.zip", (tmp_path / "in.zip").read_bytes())
        single = server.add("one.dcm", (series / "I1").read_bytes())
        assert main(["convert", archived, str(tmp_path / "x.dcbs")]) == 0
        assert main(["verify", str(tmp_path / "x.dcbs"), "--against", archived]) == 0
        assert main(["convert", single, str(tmp_path / "y.dcbs")]) == 0
        assert dicube.open(tmp_path / "y.dcbs").shape[0] == 1
        assert (
            main(["convert", archived, f"{tmp_path / 'all'}/", "--all-series", "--to", "dcbs"]) == 0
        )
        assert (tmp_path / "all" / f"{SERIES_UID}.dcbs").exists()
        capsys.readouterr()
        assert main(["info", archived, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["series"][0]["files"] == 3
        broken = server.add("broken.zip", b"PK\3\4" + bytes(40))
        assert main(["convert", broken, str(tmp_path / "z.dcbs")]) == 1
        assert f"dicube: error: {broken}" in capsys.readouterr().err

    @pytest.mark.filterwarnings("ignore:.*has no voxel positions", "ignore:.*space is None")
    def test_nifti_files(self, server: FileServer, tmp_path: Path) -> None:
        pytest.importorskip("nibabel")
        image = DicomCubeImage(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
        image.to_nifti(tmp_path / "x.nii.gz")
        url = server.add("x.nii.gz", (tmp_path / "x.nii.gz").read_bytes())
        assert main(["convert", url, str(tmp_path / "x.dcbs")]) == 0
        assert np.array_equal(dicube.open(tmp_path / "x.dcbs")[...], image.raw_image)
        assert main(["verify", str(tmp_path / "x.dcbs"), "--against", url]) == 0

    def test_a_copy_has_all_bytes_and_goes(
        self, server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for size in (0, 5, 1 << 18, (1 << 18) + 1, 3 << 18):
            data = os.urandom(size)
            monkeypatch.setattr("dicube.storage.url_files._CHUNK", 1 << 18)
            with local_copy(server.add("x.bin", data)) as path:
                assert Path(path).read_bytes() == data
                assert Path(path).name == "x.bin"
                assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
            assert not Path(path).parent.exists()
        server.lost = 10
        server.ranges = False
        with local_copy(tmp_path) as path:
            assert path == tmp_path

    @pytest.mark.usefixtures("memory")
    def test_names_of_copies(self) -> None:
        for url, name in (
            ("memory://a/b.dcba", "b.dcba"),
            ("memory://a/b.dcba?x=/y", "b.dcba"),
            ("memory://c", "c"),
        ):
            with written_to(url) as path:
                assert Path(path).name == name
                Path(path).write_bytes(b"x")
