"""Dicube files by ranges, their list and findings, and `dicube view`, which shows them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("sqlalchemy")
pytest.importorskip("uvicorn")

from inputs.dicom_series import make_series, write_series
from inputs.http_server import FileServer
from inputs.series_trees import STUDY, series_of
from inputs.served import client_of, write_archive

import dicube
from dicube import check_dicom
from dicube.cli import main
from dicube.web import viewer
from dicube.web.security import Rules
from dicube.web.stored import stored_at


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("served"))


def test_files_of_an_archive_are_listed_by_their_names(archive: Path) -> None:
    with client_of(archive) as client:
        listed = client.get("/files").json()
        assert not listed["more"]
        names = {Path(one["url"]).name for one in listed["files"]}
        assert f"{STUDY}.1.1.dcbs" in names
        assert not any(name.startswith(f"{STUDY}.1.7") for name in names)  # a report
        for one in listed["files"]:
            path = archive / one["url"].removeprefix("files/")
            assert client.get(f"/{one['url']}").content == path.read_bytes()
            assert one["PatientID"] in ("4711", "0815")


def test_ranges(archive: Path) -> None:
    name = f"{STUDY}.1/{STUDY}.1.1.dcbs"
    data = (archive / name).read_bytes()
    with client_of(archive) as client:
        answer = client.get(f"/files/{name}", headers={"Range": "bytes=10-29"})
        assert (answer.status_code, answer.content) == (206, data[10:30])
        assert answer.headers["content-range"] == f"bytes 10-29/{len(data)}"
        assert answer.headers["etag"]
        assert client.head(f"/files/{name}").headers["content-length"] == str(len(data))
        beyond = client.get(f"/files/{name}", headers={"Range": f"bytes={len(data)}-"})
        assert beyond.status_code == 416


def test_only_listed_files_are_sent(archive: Path) -> None:
    with client_of(archive) as client:
        for path in ("catalogue.sqlite", "../archive/catalogue.sqlite", "*", "%2e%2e/x", "0/x", ""):
            assert client.get(f"/files/{path}").status_code == 404, path
            assert client.get(f"/findings/{path}").status_code == 404, path


def test_single_files_tell_no_path_of_this_machine(tmp_path: Path) -> None:
    dicube.DicomCubeImage.from_dicom_folder(series_of(1)).to_file(tmp_path / "one.dcbs")
    dicube.DicomCubeImage.from_dicom_folder(series_of(2)).to_file(tmp_path / "two.dcba")
    with client_of(tmp_path) as client:
        text = client.get("/files").text
        assert str(tmp_path) not in text
        urls = [one["url"] for one in client.get("/files").json()["files"]]
        assert urls == ["files/0/one.dcbs", "files/1/two.dcba"]
        for url in urls:
            path = tmp_path / Path(url).name
            assert client.get(f"/{url}").content == path.read_bytes()
        assert client.get("/files/1/one.dcbs").status_code == 404


def test_a_file_at_a_url_is_sent_by_ranges(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    dicube.DicomCubeImage.from_dicom_folder(series_of(1)).to_file(tmp_path / "one.dcbs")
    data = (tmp_path / "one.dcbs").read_bytes()
    server = FileServer()
    url = server.add("one.dcbs", data)
    with closing(server), client_of(stored_at([url])) as client:
        (one,) = client.get("/files").json()["files"]
        assert one["url"] == "files/0/one.dcbs"
        for first, last in ((0, 99), (50, len(data) - 1), (7, len(data) + 1000)):
            answer = client.get(f"/{one['url']}", headers={"Range": f"bytes={first}-{last}"})
            assert (answer.status_code, answer.content) == (206, data[first : last + 1])
        for wanted in ("", "bytes=-5", f"bytes={len(data)}-"):
            assert client.get(f"/{one['url']}", headers={"Range": wanted}).status_code == 416


def test_findings(tmp_path: Path) -> None:
    datasets = make_series(6)
    del datasets[3]
    with pytest.warns(UserWarning, match="gap_location"):
        image = dicube.DicomCubeImage.from_dicom_folder(write_series(tmp_path / "in", datasets))
    image.to_file(tmp_path / "gap.dcbs")
    with client_of(tmp_path) as client:
        found = client.get("/findings/0/gap.dcbs").json()
        assert [one["kind"] for one in found] == [one.kind for one in check_dicom(image.dicom_meta)]
        assert "gap_location" in [one["kind"] for one in found]
        assert found[0]["slices"] and found[0]["reference"]


def test_files_need_the_token(archive: Path) -> None:
    with client_of(archive, Rules(token="a-token-of-enough-characters")) as client:
        for path in ("/files", f"/files/{STUDY}.1/{STUDY}.1.1.dcbs", "/findings/x"):
            assert client.get(path).status_code == 401


def test_the_page_knows_that_files_are_listed(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index.html").write_text("<html><body><p>a page</p></body></html>")
    monkeypatch.setattr(viewer, "_OWN_PAGE", tmp_path)
    with client_of(archive) as client:
        assert "<body data-files><p>a page</p>" in client.get("/").text


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Path]:
    """The package with a page, if it has none."""
    folder = Path(viewer.__file__).parent / "page"
    if (folder / "index.html").exists():
        yield folder
        return
    folder.mkdir()
    (folder / "index.html").write_text("<html><body></body></html>")
    yield folder
    (folder / "index.html").unlink()
    folder.rmdir()


def test_view_serves_until_it_is_interrupted(archive: Path, page: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "dicube", "view", str(archive), "--no-browser"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            from urllib.request import urlopen

            with urlopen(f"{url}/files") as answer:
                assert b"files/" in answer.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_view_without_a_page_says_how(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(viewer, "_OWN_PAGE", tmp_path)
    assert main(["view", str(archive)]) == 1
    assert "ci/run js" in capsys.readouterr().err


def test_view_takes_no_chains(capsys: Any) -> None:
    assert main(["view", "simplecache::memory://a.dcbs", "--no-browser"]) == 1
    assert "found a chain" in capsys.readouterr().err
