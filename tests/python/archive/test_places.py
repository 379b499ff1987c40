"""Places of archives: names from strangers' UIDs, and whole files only."""

from __future__ import annotations

import fcntl
import stat
from pathlib import Path

import pytest
from programs.running import run_python

from dicube.archive.places import (
    LocalPlace,
    RemotePlace,
    free_name,
    name_of_uid,
    place_at,
    stem_in,
    stem_of,
)
from dicube.exceptions import CubeFileAccessError, DataConsistencyError


@pytest.fixture
def place(tmp_path: Path) -> LocalPlace:
    return LocalPlace(str(tmp_path))


@pytest.mark.parametrize("uid", ["1.2.840.10008.1", "0", "9" * 64])
def test_a_valid_uid_is_its_own_name(uid: str) -> None:
    assert name_of_uid(uid, "series") == uid


@pytest.mark.parametrize(
    "uid",
    ["", ".", "..", "1..2", "1.2/..", "1.2\n", "1.2 ", "9" * 65, "é", "\udcff", "C:", "1.2\0", "٣"],
)
def test_any_other_becomes_a_digest(uid: str) -> None:
    name = name_of_uid(uid, "series")
    assert name.startswith("series-")
    assert len(name) == 39
    assert name.isascii()
    assert name != name_of_uid(uid + "x", "series")


def test_the_stem_is_a_folder_and_a_name() -> None:
    assert stem_of("1.2", "1.3") == "1.2/1.3"


def test_work_folders_are_private_and_go(place: LocalPlace) -> None:
    with place.work_folder() as folder:
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
        (Path(folder) / "deep").mkdir()
        (Path(folder) / "deep" / "file").touch()
        assert place.remove_leftovers() == 0  # it is locked
        assert Path(folder).exists()
    assert not Path(folder).exists()


def test_leftovers_are_found_anywhere(place: LocalPlace, tmp_path: Path) -> None:
    deep = tmp_path / "1.2" / "3.4"
    deep.mkdir(parents=True)
    names = [".dicube-00000000000a", ".dicube-00000000000b", ".dicube-00000000000c", "a.dcba"]
    for name in names:
        (deep / name).touch()
        (deep / name).chmod(0o600 | stat.S_ISVTX)
    (deep / names[1]).chmod(0o600)
    with (deep / names[2]).open("rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        assert place.remove_leftovers() == 1
    assert sorted(path.name for path in deep.iterdir()) == names[1:]
    (tmp_path / ".dicube-work-1").mkdir()  # killed before it made its lock
    assert place.remove_leftovers() == 2
    assert sorted(path.name for path in deep.iterdir()) == [names[1], names[3]]
    assert not (tmp_path / ".dicube-work-1").exists()


def test_files_are_put_whole_and_removed_with_their_folders(
    place: LocalPlace, tmp_path: Path
) -> None:
    (tmp_path / "new").write_bytes(b"1")
    place.put(str(tmp_path / "new"), "1.2/1.3.dcba", replace=False)
    (tmp_path / "new").write_bytes(b"23")
    with pytest.raises(FileExistsError):
        place.put(str(tmp_path / "new"), "1.2/1.3.dcba", replace=False)
    assert place.find("1.2/1.3") == ["1.2/1.3.dcba"]
    assert place.find("1.2/1") == place.find("9/9") == []
    assert list(place.series_files()) == [("1.2/1.3.dcba", 1)]
    place.put(str(tmp_path / "new"), "1.2/1.3.dcba", replace=True)
    assert list(place.series_files()) == [("1.2/1.3.dcba", 2)]
    assert not (tmp_path / "new").exists()
    assert place.remove("1.2/1.3.dcba")
    assert not place.remove("1.2/1.3.dcba")
    assert list(tmp_path.iterdir()) == []


def test_files_of_several_patients_are_numbered() -> None:
    assert free_name("1.2/1.3", ".dcba", []) == "1.2/1.3.dcba"
    assert free_name("1.2/1.3", ".dcba", ["1.2/1.3.dcbs", "1.2/1.3_3.dcba"]) == "1.2/1.3_2.dcba"
    assert stem_in("1.2/1.3_12.dcba") == stem_in("1.2/1.3.dcbs") == "1.2/1.3"


def test_what_is_no_series_is_not_listed(place: LocalPlace, tmp_path: Path) -> None:
    for name in ("aside/1.2/x.dcba", ".dicube-work-1/new.dcba", "1.2/notes.txt", "1.2/.a.dcba"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    assert list(place.series_files()) == []


def test_a_second_lock_is_refused(place: LocalPlace) -> None:
    with (
        place.locked(),
        pytest.raises(CubeFileAccessError, match="another process"),
        place.locked(),
    ):
        pass
    with place.locked():
        pass


def test_a_url_is_shown_without_credentials() -> None:
    place = place_at("s3://user:secret@bucket/archive?key=secret", {"secret": "secret"})
    assert isinstance(place, RemotePlace)
    assert "secret" not in place.name
    assert place_at("file:///tmp/archive", {}) == LocalPlace("/tmp/archive")
    with pytest.raises(DataConsistencyError):
        place_at("folder", {"anon": True})


def test_a_url_that_reads_addresses_from_a_file_is_refused() -> None:
    place = place_at("reference://x", {"fo": "https://example.org/a.json"})
    with pytest.raises(DataConsistencyError, match="reference"):
        place.find("1.2/1.3")


def test_without_aiohttp() -> None:
    opening = (
        "import sys; sys.modules['aiohttp'] = None; from dicube.archive.places import place_at; "
        "list(place_at('http://host/archive', {}).series_files())"
    )
    *_, error, suggestion = run_python("-c", opening).stderr.strip().splitlines()
    assert "MissingPackageError: http://host/archive: " in error
    assert "dicube[remote]" in suggestion
