"""Who may ask, from where, and what answers and logs tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("sqlalchemy")
pytest.importorskip("uvicorn")

from inputs.served import GREY, client_of, path_of, write_archive

from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
)
from dicube.web.security import Rules
from dicube.web.server import read_token, serve
from dicube.web.stored import stored_at

STUDIES = "/dicom-web/studies"
TOKEN = "a-token-of-enough-characters"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("served"))


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return tmp_path / "token"


def test_only_names_of_this_machine_are_answered(archive: Path) -> None:
    rules = Rules(hosts=("localhost", "127.0.0.1", "::1"))
    with client_of(archive, rules) as client:
        for host in ("localhost", "127.0.0.1:8042", "[::1]:8042", "LOCALHOST:1"):
            assert client.get(STUDIES, headers={"Host": host}).status_code == 200
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[", ""):
            assert client.get(STUDIES, headers={"Host": host}).status_code == 421
            assert client.get("/", headers={"Host": host}).status_code == 421


def test_data_need_the_token(archive: Path) -> None:
    with client_of(archive, Rules(token=TOKEN)) as client:
        for value in (
            "",
            "Bearer",
            "Bearer x",
            f"Basic {TOKEN}",
            TOKEN,
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            "Bearer \u00fcber".encode("latin-1"),
        ):
            headers: Any = {"Authorization": value}
            for path in (STUDIES, f"{path_of(1, GREY, 0)}/frames/1", "/dicom-web/nothing"):
                response = client.get(path, headers=headers)
                assert response.status_code == 401
                assert response.headers["www-authenticate"].startswith("Bearer")
        for kind in ("Bearer", "bearer"):
            response = client.get(STUDIES, headers={"Authorization": f"{kind} {TOKEN}"})
            assert response.status_code == 200
        assert client.get("/").status_code == 200  # the page has no data


def test_the_token_is_compared_in_constant_time(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr("dicube.web.security.hmac.compare_digest", compare)
    with client_of(archive, Rules(token=TOKEN)) as client:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert client.get(STUDIES, headers=headers).status_code == 401
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "viewer.example"])
def test_other_machines_are_refused_without_a_token(archive: Path, host: str) -> None:
    with pytest.raises(DataConsistencyError, match="a token is needed"):
        serve([archive], host, 0)


@pytest.mark.parametrize("text", ["", "short", "has a space in its characters", "\u00fc" * 20])
def test_what_is_no_token_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text, encoding="utf-8")
    with pytest.raises(DataConsistencyError, match="expected a token") as caught:
        read_token(tmp_path / "token")
    assert not text or text not in str(caught.value)


def test_a_token_is_read_from_its_file(token_file: Path, tmp_path: Path) -> None:
    assert read_token(token_file) == TOKEN
    with pytest.raises(CubeFileNotFoundError):
        read_token(tmp_path / "missing")


def test_a_port_in_use_is_an_error(archive: Path) -> None:
    import socket

    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(CubeFileAccessError, match="can't listen"),
    ):
        serve([archive], "127.0.0.1", taken.getsockname()[1])


def test_other_origins_read_nothing_unless_named(archive: Path) -> None:
    one, other = "https://viewer.example", "https://evil.example"
    with client_of(archive, Rules(origins={one})) as client:
        answer = client.get(STUDIES, headers={"Origin": one})
        assert answer.headers["access-control-allow-origin"] == one
        assert "ETag" in answer.headers["access-control-expose-headers"]
        assert (
            "access-control-allow-origin"
            not in client.get(STUDIES, headers={"Origin": other}).headers
        )
        ask = {"Access-Control-Request-Method": "GET"}
        asked = client.options(STUDIES, headers={"Origin": one, **ask})
        assert asked.headers["access-control-allow-origin"] == one
        assert "Authorization" in asked.headers["access-control-allow-headers"]
        refused = client.options(STUDIES, headers={"Origin": other, **ask})
        assert not [name for name in refused.headers if name.startswith("access-control")]
    with client_of(archive) as client:
        answer = client.get(STUDIES, headers={"Origin": one})
        assert "access-control-allow-origin" not in answer.headers


def test_nothing_can_be_sent_to_the_server(archive: Path) -> None:
    with client_of(archive) as client:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.request(method, STUDIES, content=b"x").status_code == 405
        assert client.request("GET", STUDIES, content=b"x" * 100).status_code == 413
        chunked = client.request("GET", STUDIES, content=iter([b"x"]))
        assert chunked.status_code == 413


def test_head_has_no_body(archive: Path) -> None:
    with client_of(archive) as client:
        path = f"{path_of(1, GREY, 0)}/frames/1"
        answer = client.head(path, headers={"Accept": "application/octet-stream"})
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["content-length"]) > 0


def test_the_log_has_no_values_of_a_query(archive: Path) -> None:
    lines: list[str] = []
    with client_of(archive, log=lines.append) as client:
        client.get(f"{STUDIES}?PatientName=SECRET*&StudyDate=20240101")
        client.get(f"{STUDIES}?StudyDate=SECRET")
        client.get("/dicom-web/studies/x%0Aforged%20line/metadata")
    assert lines[0].startswith(f"GET {STUDIES}?PatientName&StudyDate 200 ")
    assert lines[1].startswith(f"GET {STUDIES}?StudyDate 400 ")
    assert len(lines) == 3
    assert not any("SECRET" in one or "\n" in one for one in lines)


def test_faults_are_logged_without_their_messages(
    archive: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_arguments: object) -> None:
        raise ValueError("SEC" + "RET")  # the log shows this line of source

    monkeypatch.setattr("dicube.web.stored.Stored.find", fail)
    with client_of(archive) as client:
        response = client.get(STUDIES)
    assert response.status_code == 500
    assert "SECRET" not in response.text + caplog.text
    assert "unexpected ValueError" in caplog.text


def test_answers_forbid_guessing_their_type(archive: Path) -> None:
    with client_of(archive) as client:
        for path in (STUDIES, "/", "/dicom-web/nothing"):
            assert client.get(path).headers["x-content-type-options"] == "nosniff"


def test_decodes_wait_for_processors_and_some_are_turned_away(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicube.web.responses._MOST_WAITING", 0)
    with client_of(archive) as client:
        response = client.get(STUDIES)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"


# ------------------------------------------------------------------------------------ the viewer


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A folder like OHIF's `dist`, and a secret beside it."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>viewer</title>")
    (folder / "app-config.js").write_text("window.config = {elsewhere: true}")
    (folder / "assets" / "codec.wasm").write_bytes(b"\0asm")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


def test_the_viewer_is_served_with_a_configuration_of_this_service(
    archive: Path, page: Path
) -> None:
    with client_of(archive, ohif=page) as client:
        for path in ("/", "/viewer", "/viewer?StudyInstanceUIDs=1.2", "/index.html"):
            assert "viewer" in client.get(path).text
        config = client.get("/app-config.js")
        assert "/dicom-web" in config.text and "elsewhere" not in config.text
        assert config.headers["content-type"].startswith("text/javascript")
        wasm = client.get("/assets/codec.wasm")
        assert wasm.content == b"\0asm"
        assert wasm.headers["content-type"] == "application/wasm"
        assert client.get("/missing.js").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/..%2Fsecret.txt",
        "/assets/../../secret.txt",
        "/%2Fsecret.txt",
        "/%2e%2e/secret.txt",
    ],
)
def test_no_file_beside_the_viewer_is_served(archive: Path, page: Path, path: str) -> None:
    with client_of(archive, ohif=page) as client:
        response = client.get(path)
        assert response.status_code == 404
        assert "secret" not in response.text


def test_a_folder_without_a_page_is_refused(archive: Path, tmp_path: Path) -> None:
    stored = stored_at([archive])
    with (
        pytest.raises(CubeFileNotFoundError, match=r"no index\.html"),
        client_of(stored, ohif=tmp_path),
    ):
        pass
    with pytest.raises(DicomCubeError, match="ResourceClosedError"):  # nobody else would close it
        stored.series_of("1.2")


def test_without_a_viewer_a_page_says_how_to_get_one(
    archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("dicube.web.viewer._OWN_PAGE", tmp_path / "not built")
    with client_of(archive) as client:
        assert "npm pack @ohif/app" in client.get("/").text
