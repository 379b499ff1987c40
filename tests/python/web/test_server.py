"""A running server, in a process of its own, with dicomweb-client and plain connections."""

from __future__ import annotations

import http.client
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("sqlalchemy")
dicomweb_client = pytest.importorskip("dicomweb_client")

from inputs.dicom_series import write_series
from inputs.series_trees import STUDY, series_of
from inputs.served import (
    COLOURS,
    ENHANCED,
    GREY,
    NEW,
    SIGNED,
    originals_of,
    served,
)
from pydicom import dcmread
from pydicom.dataset import Dataset

import dicube
from dicube.codecs import get_codec
from dicube.web import responses, server


@pytest.fixture(scope="module")
def url(made: Path) -> Iterator[str]:
    with served(made / "archive") as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    return dicomweb_client.DICOMwebClient(f"{url}/dicom-web")


@pytest.fixture(scope="module")
def originals(made: Path) -> dict[str, Dataset]:
    return originals_of(made / "tree")


ORIGINALS = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def uids(study: int, series: int, instance: int | None = None) -> tuple[str, ...]:
    found = f"{STUDY}.{study}", f"{STUDY}.{study}.{series}"
    return found if instance is None else (*found, f"{found[1]}.{instance}")


@contextmanager
def answer(netloc: str, path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
    """Give the response to a request on a connection of its own."""
    connection = http.client.HTTPConnection(netloc)
    try:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as response:
            yield response
    finally:
        connection.close()


def test_studies_series_and_instances_are_found(client: Any, originals: dict[str, Dataset]) -> None:
    studies = [Dataset.from_json(one) for one in client.search_for_studies()]
    assert [one.StudyInstanceUID for one in studies] == [f"{STUDY}.2", f"{STUDY}.1"]
    (study,) = client.search_for_studies(search_filters={"PatientID": "0815"}, limit=5)
    assert Dataset.from_json(study).StudyInstanceUID == f"{STUDY}.2"
    series = client.search_for_series(f"{STUDY}.1", get_remaining=True, limit=2)
    assert len({one["0020000E"]["Value"][0] for one in series}) == 8
    found = client.search_for_instances(get_remaining=True, limit=4)
    assert {one["00080018"]["Value"][0] for one in found} == originals.keys()
    fields = client.search_for_series(fields=["PatientID"], search_filters={"Modality": "US"})
    assert fields[0]["00100020"]["Value"] == ["4711"]


def test_files_of_each_level_are_the_originals(client: Any, originals: dict[str, Dataset]) -> None:
    any_syntax = (("application/dicom", "*"),)
    study = client.retrieve_study(f"{STUDY}.2", media_types=any_syntax)
    series = client.retrieve_series(*uids(1, SIGNED), media_types=any_syntax)
    (instance,) = [client.retrieve_instance(*uids(1, GREY, 1))]
    assert (len(study), len(series)) == (4, 4)
    for one in (*series, instance):
        assert one == originals[str(one.SOPInstanceUID)]
    streamed = client.iter_series(*uids(1, GREY), media_types=any_syntax)
    assert [str(one.SOPInstanceUID)[-2:] for one in streamed] == [".0", ".1", ".2"]


def test_metadata_of_each_level(client: Any, originals: dict[str, Dataset]) -> None:
    for found in (
        client.retrieve_study_metadata(f"{STUDY}.1"),
        client.retrieve_series_metadata(*uids(1, ENHANCED)),
        [client.retrieve_instance_metadata(*uids(2, NEW, 0))],
    ):
        assert found
        for one in found:
            original = originals[one["00080018"]["Value"][0]]
            assert one["00100020"] == original.to_json_dict()["00100020"]
            assert one["00080016"]["Value"] == [original.SOPClassUID]


def test_frames_are_decoded_as_the_originals(client: Any, originals: dict[str, Dataset]) -> None:
    volume = originals[f"{STUDY}.1.{ENHANCED}.0"].pixel_array
    frames = client.retrieve_instance_frames(*uids(1, ENHANCED, 0), frame_numbers=[2, 4])
    assert [bytes(one) for one in frames] == [volume[1].tobytes(), volume[3].tobytes()]
    for series in (GREY, SIGNED, COLOURS):
        original = originals[f"{STUDY}.1.{series}.0"].pixel_array
        (frame,) = client.retrieve_instance_frames(*uids(1, series, 0), frame_numbers=[1])
        assert frame == original.tobytes()
        (coded,) = client.retrieve_instance_frames(
            *uids(1, series, 0),
            frame_numbers=[1],
            media_types=(("application/octet-stream", "*"),),
        )
        if series == COLOURS:
            assert coded == original.tobytes()
        else:
            assert np.array_equal(get_codec("jph").decode(coded), original)


def test_pictures_and_bulk_data(client: Any, originals: dict[str, Dataset]) -> None:
    picture = client.retrieve_instance_rendered(*uids(1, GREY, 0), media_types=("image/png",))
    assert picture.startswith(b"\x89PNG")
    frame = client.retrieve_instance_frames_rendered(
        *uids(1, ENHANCED, 0), frame_numbers=[2], media_types=("image/jpeg",)
    )
    assert frame.startswith(b"\xff\xd8")
    metadata = client.retrieve_instance_metadata(*uids(1, GREY, 0))
    (value,) = client.retrieve_bulkdata(metadata["00091001"]["BulkDataURI"])
    assert value == originals[f"{STUDY}.1.{GREY}.0"][0x00091001].value


def test_errors_have_the_status_of_the_standard(client: Any) -> None:
    from requests import HTTPError

    with pytest.raises(HTTPError, match="404"):
        client.retrieve_series_metadata("1.2.3", "4.5.6")
    with pytest.raises(HTTPError, match="406"):
        client.retrieve_instance(
            *uids(1, GREY, 0), media_types=(("application/dicom", "1.2.840.10008.1.2.4.90"),)
        )


def damaged(made: Path, tmp_path: Path) -> Path:
    """A file whose last frame is damaged."""
    (source,) = (made / "archive").rglob(f"{STUDY}.1.{GREY}.dcbs")
    with dicube.storage.DcbReader(source) as reader:
        offset, size = reader.coded_range(2)
    data = bytearray(source.read_bytes())
    data[offset + size // 2] ^= 0xFF
    (tmp_path / "damaged.dcbs").write_bytes(data)
    return tmp_path / "damaged.dcbs"


def test_damage_in_the_first_bytes_is_an_answer_of_its_own(made: Path, tmp_path: Path) -> None:
    with served(damaged(made, tmp_path)) as url:
        path = f"/dicom-web/studies/{STUDY}.1/series/{STUDY}.1.{GREY}"
        with answer(urlsplit(url).netloc, path, Accept=ORIGINALS) as response:
            assert response.status == 500


def test_damage_further_on_ends_the_answer_before_its_end(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "_LONGEST_CHUNK", 1000)
    urls: Queue[str] = Queue()
    arguments: Any = {"port": 0, "started": urls.put}
    sources = [damaged(made, tmp_path)]
    Thread(target=server.serve, args=[sources], kwargs=arguments, daemon=True).start()
    path = f"/dicom-web/studies/{STUDY}.1/series/{STUDY}.1.{GREY}"
    with answer(urlsplit(urls.get(timeout=60)).netloc, path, Accept=ORIGINALS) as response:
        assert response.status == 200
        with pytest.raises(http.client.IncompleteRead):
            response.read()


def test_a_token_and_a_host_of_other_machines(made: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef")
    with served(made / "archive", "--host", "0.0.0.0", "--token-file", tmp_path / "token") as url:
        netloc = f"127.0.0.1:{urlsplit(url).port}"
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer 0123456789abcdef"}, 200),
            ({"Authorization": "Bearer 0123456789abcdeF"}, 401),
            ({"Authorization": "Bearer 0123456789abcdef", "Host": "hospital.example"}, 200),
        ):
            with answer(netloc, "/dicom-web/studies", **headers) as response:
                assert response.status == status


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    from programs.running import run_python

    return run_python("-m", "dicube", "serve", *arguments)


def test_ctrl_c_ends_it_quietly(made: Path) -> None:
    command = [sys.executable, "-m", "dicube", "serve", str(made / "archive"), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


def test_wrong_calls_are_one_line(made: Path, tmp_path: Path) -> None:
    token, spaced = tmp_path / "token", tmp_path / "spaced"
    token.write_text("0123456789abcdef")
    spaced.write_text("01234567 89abcdef")
    for arguments, message in (
        ((made / "archive", "--host", "0.0.0.0"), "a token is needed"),
        ((tmp_path / "missing", "--port", "0"), "does not exist"),
        ((tmp_path, "--port", "0"), "no dicube files"),
        (("simplecache::memory://a.dcbs", "--port", "0"), "found a chain"),
        ((made / "archive", "--host", "host.invalid", "--token-file", token), "--host: an address"),
        ((made / "archive", "--host", "0.0.0.0", "--token-file", spaced), "found 17 characters"),
        ((made / "archive", "--port", "0", "--ohif", tmp_path), "index.html"),
    ):
        result = run(*arguments)
        assert result.returncode == 1
        assert message in result.stderr and result.stderr.count("\n") == 1
    assert run(made / "archive", "--port", "70000").returncode == 2


def test_files_and_folders_get_a_catalogue_in_memory(made: Path, tmp_path: Path) -> None:
    files = sorted((made / "archive").rglob("*.dcb?"))
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    for file in files[1:]:
        (tmp_path / "folder" / "deep" / f"{file.stem}{file.suffix}").write_bytes(file.read_bytes())
    with served(files[0], tmp_path / "folder") as url:
        found = dicomweb_client.DICOMwebClient(f"{url}/dicom-web").search_for_series()
        assert len(found) == len(files)
    assert not list((tmp_path / "folder").rglob("*.sqlite*"))


def test_many_clients_at_a_time_get_what_one_gets(made: Path) -> None:
    paths = [
        "/dicom-web/instances",
        *(
            f"/dicom-web/studies/{STUDY}.{study}/series/{STUDY}.{study}.{series}{more}"
            for study, series in ((1, GREY), (1, SIGNED), (1, COLOURS), (2, NEW))
            for more in (
                "/metadata",
                f"/instances/{STUDY}.{study}.{series}.1",
                f"/instances/{STUDY}.{study}.{series}.1/frames/1",
                f"/instances/{STUDY}.{study}.{series}.0/rendered",
                "/thumbnail",
            )
        ),
    ]

    def get(netloc: str, path: str) -> list[bytes]:
        with answer(netloc, path) as response:
            assert response.status == 200
            kind, body = response.headers["Content-Type"], response.read()
        boundary = kind.partition("boundary=")[2].encode()
        return body.replace(netloc.encode(), b"host").split(boundary or None)

    with served(made / "archive") as url, ThreadPoolExecutor(12) as threads:
        netloc = urlsplit(url).netloc
        together = list(threads.map(lambda path: get(netloc, path), paths * 6))
    with served(made / "archive") as url:
        alone = [get(urlsplit(url).netloc, path) for path in paths]
    assert together == alone * 6


def test_a_series_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    """Read more bytes of a series than the server may have, as its peak of memory shows."""
    if not sys.platform.startswith("linux"):
        pytest.skip("memory of a process is read as on Linux")
    count, side = 48, 1024  # 96 MiB of pixels
    datasets = series_of(1, count, shape=(side, side))
    for dataset in datasets:  # which code to little
        dataset.PixelData = np.full(side * side, dataset.InstanceNumber, np.uint16).tobytes()
    write_series(tmp_path / "series", datasets)
    dicube.DicomCubeImage.from_dicom_folder(tmp_path / "series").to_file(tmp_path / "a.dcbs")
    command = [sys.executable, "-m", "dicube", "serve", str(tmp_path / "a.dcbs"), "--port", "0"]
    environment = {"PYTHONPATH": ":".join(sys.path), "MALLOC_ARENA_MAX": "2"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            netloc = urlsplit(process.stdout.readline().strip()).netloc
            path = f"/dicom-web/studies/{STUDY}.1/series/{STUDY}.1.1"
            received, peaks = [], []
            for what in (f"{path}/instances/{STUDY}.1.1.0", path):
                size = 0
                with answer(netloc, what, Accept=ORIGINALS) as response:
                    while chunk := response.read(1 << 20):
                        size += len(chunk)
                received.append(size)
                status = Path(f"/proc/{process.pid}/status").read_text()
                (peak,) = (s.split()[1] for s in status.splitlines() if s.startswith("VmHWM"))
                peaks.append(int(peak) << 10)
        finally:
            process.terminate()
    assert received[1] > count * side * side * 2
    assert peaks[1] - peaks[0] < received[1] / 4


def test_a_series_of_real_slices(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "mr_siemens_sag"
    dicube.DicomCubeImage.from_dicom_folder(source).to_file(tmp_path / "sag.dcbs")
    originals = {path.read_bytes() for path in source.rglob("*") if path.is_file()}
    with served(tmp_path / "sag.dcbs") as url:
        client = dicomweb_client.DICOMwebClient(f"{url}/dicom-web")
        (series,) = client.search_for_series()
        study_uid, series_uid = series["0020000D"]["Value"][0], series["0020000E"]["Value"][0]
        by_uid = {}
        for data in originals:
            dataset = dcmread(io.BytesIO(data))
            by_uid[str(dataset.SOPInstanceUID)] = dataset
        found = client.retrieve_series_metadata(study_uid, series_uid)
        assert len(found) == len(by_uid)
        for one in found:
            original = by_uid[one["00080018"]["Value"][0]]
            del original.PixelData
            expected = original.to_json_dict()
            for key, element in one.items():
                if "BulkDataURI" not in element:
                    assert element == expected[key]
                else:
                    assert key == "7FE00010" or "InlineBinary" in expected[key]


def test_a_header_without_an_end_closes_its_connection(url: str) -> None:
    address = urlsplit(url)
    place = address.hostname, address.port or 0
    with (
        socket.create_connection(place, timeout=60) as opened,
        suppress(ConnectionError),  # a timeout is none
    ):
        opened.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        for _ in range(64):
            opened.sendall(b"x" * (1 << 16))
        assert opened.recv(100) == b""
    with answer(address.netloc, "/dicom-web/studies") as response:
        assert response.status == 200


def test_a_header_that_takes_too_long_closes_its_connection(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SECONDS_OF_HEADER", 0.2)
    urls: Queue[str] = Queue()
    arguments: Any = {"port": 0, "started": urls.put}
    Thread(target=server.serve, args=[[made / "archive"]], kwargs=arguments, daemon=True).start()
    address = urlsplit(urls.get(timeout=60))
    place = address.hostname, address.port or 0
    with socket.create_connection(place, timeout=60) as opened:
        assert opened.recv(100) == b""
    with socket.create_connection(place, timeout=60) as opened:
        opened.sendall(b"GET /files HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert opened.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Accept-Encoding", "," * 60_000 + '"'),
        ("If-None-Match", '"a' + " " * 60_000 + 'b"'),
        ("Accept", "," * 60_000 + '"'),
    ],
)
def test_long_headers_take_no_time(url: str, name: str, value: str) -> None:
    """Their expressions would backtrack for minutes, within the timeout of the tests."""
    with answer(urlsplit(url).netloc, "/dicom-web/instances", **{name: value}) as response:
        assert response.status in (200, 406)


def test_numbers_and_conditions_of_queries_are_bounded(url: str) -> None:
    path = f"/dicom-web/studies/{STUDY}.1/series/{STUDY}.1.1/rendered?viewport=9,9,1e308,0,1e308,9"
    for wrong in (path, "/dicom-web/studies?" + "&".join(["PatientName=a"] * 1200)):
        with answer(urlsplit(url).netloc, wrong) as response:
            assert response.status == 400, wrong[:60]
