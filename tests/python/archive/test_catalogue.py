"""The catalogue on each database: its schema, its permissions, and searches."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sqlalchemy = pytest.importorskip("sqlalchemy")

from dicube.archive.catalogue import Catalogue, conditions_of, database, schema
from dicube.archive.dates import dates_of
from dicube.archive.record import (
    PATIENT,
    SERIES,
    STUDY,
    Entry,
    InstanceRecord,
    SeriesRecord,
    Source,
)
from dicube.exceptions import (
    CubeFileAccessError,
    CubeFileNotFoundError,
    DataConsistencyError,
    InvalidCubeFileError,
)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server of the tests' own; skips where its programs are missing."""
    pytest.importorskip("psycopg")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
    found = shutil.which("initdb") or next((f / "initdb" for f in folders[::-1]), None)
    if found is None or not Path(found).exists():
        pytest.skip("needs pg_ctlcluster, and the server that comes with it")
    programs = Path(found).resolve().parent
    options: dict[str, Any] = {}
    if os.geteuid() == 0:  # which PostgreSQL refuses to run as
        try:
            options = {"user": "postgres"}
            subprocess.run(["true"], check=True, **options)
        except (KeyError, LookupError, PermissionError, ValueError):
            pytest.skip("root can't run PostgreSQL, and there is no user postgres")
    # Not in pytest's folder, which other users can't enter.
    with tempfile.TemporaryDirectory(prefix="dicube-postgresql-") as data:
        if options:
            shutil.chown(data, "postgres")
        run: Any = dict(check=True, capture_output=True, cwd="/", **options)
        make = [programs / "initdb", "-U", "tests", "-A", "trust", "-E", "UTF8", "-N"]
        subprocess.run([*make, "-D", f"{data}/db"], **run)
        control = [programs / "pg_ctl", "-D", f"{data}/db", "-w"]
        settings = f"-c listen_addresses='' -c unix_socket_directories={data} -c fsync=off"
        start = [*control, "-o", settings, "-l", f"{data}/log", "start"]
        subprocess.run(start, **{**run, "capture_output": False})
        try:
            yield f"postgresql+psycopg://tests@/postgres?host={data}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **run)


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a catalogue can be made: a path, or a URL of an empty database."""
    if request.param == "sqlite":
        yield str(tmp_path / "catalogue.sqlite")
        return
    url = request.getfixturevalue("postgresql")
    yield url
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        schema.metadata.drop_all(connection)
    engine.dispose()


@pytest.fixture
def catalogue(where: str) -> Iterator[Catalogue]:
    with Catalogue(where, create=True) as opened:
        yield opened


def entry(
    number: int = 1, count: int = 2, study: int = 1, sources: Any = (), **values: Any
) -> Entry:
    """An entry of a series; values by keyword in place of the usual ones."""
    usual = {
        "PatientID": "4711",
        "PatientName": "DOE^JOHN",
        "StudyInstanceUID": f"1.{study}",
        "SeriesInstanceUID": f"1.{study}.{number}",
        "StudyDate": f"202401{study:02}",
        "Modality": "CT",
        "SeriesNumber": number,
        **values,
    }

    def of(keywords: Any) -> dict[str, Any]:
        return {keyword: usual.get(keyword) for keyword in keywords}

    instances = tuple(
        InstanceRecord((f"1.{study}.{number}.{i}", "1.2", i, 6, 5, 16, 1), f"I{i}", i, f"{i:064}")
        for i in range(count)
    )
    record = SeriesRecord(
        of(PATIENT),
        of(STUDY),
        of(SERIES),
        (count, 6, 5),
        "int16",
        (2.5, 0.5, 0.5),
        "consistent",
        1000 + number,
        2000,
        True,
        {},
        instances,
    )
    return Entry(f"1.{study}/1.{study}.{number}.dcba", record, sources)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("number", [1, 2, 3, 8, 12])
def test_a_catalogue_whose_making_was_interrupted_is_made_again(where: str, number: int) -> None:
    made = 0

    def executed(*arguments: Any) -> None:
        nonlocal made
        made += arguments[2].lstrip().startswith(("CREATE", "INSERT"))
        if made == number:
            raise Killed

    sqlalchemy.event.listen(sqlalchemy.Engine, "after_cursor_execute", executed)
    try:
        with pytest.raises(Killed):
            Catalogue(where, create=True)
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "after_cursor_execute", executed)
    with Catalogue(where, create=True) as again:
        put(again, entry())
        assert found(again) == ["1.1.1"]


def put(catalogue: Catalogue, *entries: Entry) -> None:
    with catalogue.changes():
        catalogue.put(entries)


def found(catalogue: Catalogue, **filters: Any) -> list[str]:
    return [row["SeriesInstanceUID"] for row in catalogue.rows(conditions_of(filters))]


# ---------------------------------------------------------------------------------------- content


def test_rows_have_keywords_as_keys(catalogue: Catalogue) -> None:
    put(catalogue, entry(sources=[Source("/a", 5, 6)]))
    (row,) = catalogue.rows()
    assert row["PatientID"] == "4711"
    assert row["SeriesNumber"] == 1
    assert row["AccessionNumber"] is None
    assert row["NumberOfSeriesRelatedInstances"] == 2
    assert (row["shape"], row["spacing"]) == ([2, 6, 5], [2.5, 0.5, 0.5])
    instances = catalogue.instances(row["file"])
    assert [one["SOPInstanceUID"] for one in instances] == ["1.1.1.0", "1.1.1.1"]
    assert [one["slice"] for one in instances] == [0, 1]


def test_a_file_has_one_row_however_often_it_is_put(catalogue: Catalogue) -> None:
    put(catalogue, entry(1), entry(2))
    put(catalogue, entry(1, 5, PatientName="DOE^JANE"), entry(1, 3, PatientName="ROE^JANE"))
    rows = {row["SeriesInstanceUID"]: row for row in catalogue.rows()}
    assert len(rows) == 2
    assert rows["1.1.1"]["PatientName"] == "ROE^JANE"
    assert len(catalogue.instances(rows["1.1.1"]["file"])) == 3
    put(catalogue, entry(1))
    put(catalogue, entry(2))
    names = catalogue._connection.exec_driver_sql('SELECT "PatientName" FROM patients').scalars()
    assert list(names) == ["DOE^JOHN"]


def test_the_same_study_of_two_patients_stays_apart(catalogue: Catalogue) -> None:
    put(catalogue, entry(1), entry(2, PatientID=None), entry(3, PatientID="0815"))
    assert found(catalogue, patient="4711") == ["1.1.1"]
    assert found(catalogue, patient="0815") == ["1.1.3"]
    assert (
        found(catalogue, study="1.1") == ["1.1.3", "1.1.1", "1.1.2"]
        or len(found(catalogue, study="1.1")) == 3
    )


def test_changes_are_made_at_once_or_not_at_all(catalogue: Catalogue) -> None:
    with pytest.raises(RuntimeError), catalogue.changes():
        catalogue.put([entry()])
        raise RuntimeError
    assert catalogue.rows() == []


def test_removing_leaves_no_row(catalogue: Catalogue) -> None:
    put(catalogue, entry(1, sources=[Source("/a", 5, 6)]), entry(1, study=2, PatientID="0815"))
    with catalogue.changes():
        catalogue.remove(["1.1/1.1.1.dcba"])
    assert found(catalogue) == ["1.2.1"]
    for table in schema.metadata.tables:
        if table != "about":
            query = f"SELECT count(*) FROM {table}"
            count = catalogue._connection.exec_driver_sql(query).scalar()
            assert count == {"instances": 2, "sources": 0}.get(table, 1), table


def test_sources_are_known_while_they_are_unchanged(catalogue: Catalogue) -> None:
    many = [Source(f"/a/{number}", number, 7) for number in range(1200)]
    put(catalogue, entry(1, sources=many))
    known = catalogue.known([*many, Source("/b", 1, 7)])
    assert known == {source.path: ("1.1/1.1.1.dcba", 1001) for source in many}
    assert catalogue.known([Source("/a/3", 4, 7), Source("/a/4", 4, 8)]) == {}
    put(catalogue, entry(2, sources=[Source("/a/3", 9, 9)]))
    assert catalogue.known([Source("/a/3", 9, 9)]) == {"/a/3": ("1.1/1.1.2.dcba", 1002)}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"patient": "4711"}, {1, 2}),
        ({"PatientID": "47*"}, {1, 2}),
        ({"patient": "47*"}, set()),
        ({"patient_name": "DOE^J?HN"}, {1, 2}),
        ({"PatientName": "%"}, set()),
        ({"PatientName": "100%*"}, {3}),
        ({"modality": "MR"}, {3}),
        ({"Modality": "MR", "patient": "4711"}, set()),
        ({"study": "1.2"}, {2}),
        ({"series": "1.2.2"}, {2}),
        ({"instance": "1.3.3.1"}, {3}),
        ({"SOPInstanceUID": "1.3.3.1"}, {3}),
        ({"study_date": "2024-01-01..2024-01-02"}, {1, 2}),
        ({"StudyDate": "20240102-"}, {2, 3}),
        ({"study_date": "..2024-01-01"}, {1}),
        ({"study_date": "20240103"}, {3}),
        ({"StudyDate": "202401*"}, {1, 2, 3}),
        ({"series_number": 2}, {2}),
        ({"SeriesNumber": "3"}, {3}),
        ({"file": "*.dcba"}, {1, 2, 3, 4}),
        ({"modality": None}, {1, 2, 3, 4}),
    ],
)
def test_filters(catalogue: Catalogue, filters: dict[str, Any], expected: set[int]) -> None:
    put(
        catalogue,
        entry(1),
        entry(2, study=2),
        entry(3, study=3, Modality="MR", PatientID="0815", PatientName="100%^A"),
        entry(4, study=4, Modality=None, PatientID=None, PatientName=None, StudyDate=None),
    )
    assert {int(uid.split(".")[-1]) for uid in found(catalogue, **filters)} == expected


@pytest.mark.parametrize(
    "filters",
    [
        {"Colour": "red"},
        {"SeriesNumber": "two"},
        {"study_date": "yesterday"},
        {"StudyDate": "2024-13-01"},
        {"StudyDate": "2024-03-31..2024-01-01"},
    ],
)
def test_wrong_filters(filters: dict[str, Any]) -> None:
    with pytest.raises(DataConsistencyError, match="expected"):
        conditions_of(filters)


@pytest.mark.parametrize("text", ["2024", "2024-1-1", "yesterday", "2024-01-01,2024-02-01"])
def test_what_is_no_date(text: str) -> None:
    assert dates_of(text) is None


# ------------------------------------------------------------------------------------ the schema


def test_a_missing_catalogue_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CubeFileNotFoundError, match=r"c\.sqlite"):
        Catalogue(str(tmp_path / "c.sqlite"))
    assert not (tmp_path / "c.sqlite").exists()


@pytest.mark.parametrize("content", [b"not a database" * 100, b""])
def test_what_is_no_catalogue_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(content)
    with pytest.raises(InvalidCubeFileError, match="not the catalogue"):
        Catalogue(str(path))


def set_version(where: str, version: int | str) -> None:
    url = where if "://" in where else f"sqlite:///{where}"
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE about SET value = '{version}'")
    engine.dispose()


def test_a_newer_schema_is_refused(where: str) -> None:
    Catalogue(where, create=True).close()
    set_version(where, 99)
    with pytest.raises(InvalidCubeFileError, match="newer dicube"):
        Catalogue(where, create=True)


def test_a_damaged_database_is_told_apart(tmp_path: Path) -> None:
    """Its message says how to make the catalogue again."""
    path = tmp_path / "c.sqlite"
    with Catalogue(str(path), create=True) as catalogue:
        put(catalogue, *(entry(number) for number in range(200)))
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    with (
        pytest.raises(InvalidCubeFileError, match="archive index"),
        Catalogue(str(path)) as catalogue,
    ):
        catalogue.rows()


@pytest.mark.parametrize("damage", ["noise", "cut", "version", "middle", "index"])
def test_a_damaged_database_is_set_aside(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "c.sqlite"
    with Catalogue(str(path), create=True) as catalogue:
        put(catalogue, *(entry(number) for number in range(200)))
    content = path.read_bytes()
    half = len(content) // 8192 * 4096
    if damage == "version":
        set_version(str(path), "0")
    else:
        name = entry(150).file.encode()
        at = content.rindex(name)
        path.write_bytes(
            {
                "index": content[:at] + b"0" + content[at + 1 :],
                "noise": b"\xa5" * 50_000,
                "cut": content[:half],
                "middle": content[:half] + b"\xa5" * 4096 + content[half + 4096 :],
            }[damage]
        )
    broken = path.read_bytes()
    with (
        pytest.warns(UserWarning, match="it is now .*damaged, and may name patients"),
        Catalogue(str(path), create=True, anew=True) as catalogue,
    ):
        assert not catalogue.rows()
        put(catalogue, entry())
    assert (tmp_path / "c.sqlite.damaged").read_bytes() == broken
    with Catalogue(str(path), create=True, anew=True) as catalogue:
        assert catalogue.rows()
    assert stat.S_IMODE((tmp_path / "c.sqlite.damaged").stat().st_mode) == 0o600


def test_a_newer_database_is_not_set_aside(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sqlite")
    Catalogue(path, create=True).close()
    set_version(path, 99)
    with pytest.raises(InvalidCubeFileError, match="newer dicube"):
        Catalogue(path, create=True, anew=True)
    assert os.listdir(tmp_path) == ["c.sqlite"]


def test_a_malformed_version_is_refused(where: str) -> None:
    Catalogue(where, create=True).close()
    set_version(where, "abc")
    with pytest.raises(InvalidCubeFileError, match="found 'abc'"):
        Catalogue(where, create=True)


def test_an_older_schema_is_migrated_once(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Catalogue(where, create=True) as catalogue:
        put(catalogue, entry())
    steps = []

    def first(connection: Any) -> None:
        steps.append(1)
        connection.exec_driver_sql("ALTER TABLE series ADD COLUMN one INTEGER DEFAULT 5")

    def second(connection: Any) -> None:
        steps.append(2)
        connection.exec_driver_sql("ALTER TABLE series ADD COLUMN two INTEGER DEFAULT 6")

    monkeypatch.setattr(schema, "MIGRATIONS", (first, second))
    for _ in range(2):
        with Catalogue(where) as catalogue:
            assert len(catalogue.rows()) == 1
            query = "SELECT one + two FROM series"
            assert catalogue._connection.exec_driver_sql(query).scalar() == 11
    assert steps == [1, 2]


def test_an_interrupted_migration_is_taken_back(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Catalogue(where, create=True).close()

    def fails(connection: Any) -> None:
        raise InvalidCubeFileError("made to fail")

    with monkeypatch.context() as context:
        context.setattr(schema, "MIGRATIONS", (fails,))
        with pytest.raises(InvalidCubeFileError, match="made to fail"):
            Catalogue(where)
    Catalogue(where).close()


# --------------------------------------------------------------------------------------- privacy


def test_sqlite_files_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Catalogue(str(tmp_path / "c.sqlite"), create=True) as catalogue:
            put(catalogue, entry())
            names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert names == dict.fromkeys(("c.sqlite", "c.sqlite-wal", "c.sqlite-shm"), 0o600)


def test_what_is_removed_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with Catalogue(str(path), create=True) as catalogue:
        for number in range(50):
            put(
                catalogue,
                entry(
                    number,
                    PatientName=f"SECRET^{number}",
                    sources=[Source(f"/home/secret/{number}", 1, 1)],
                ),
            )
        assert b"SECRET^" in b"".join(file.read_bytes() for file in tmp_path.iterdir())
        with catalogue.changes():
            catalogue.remove([f"1.1/1.1.{number}.dcba" for number in range(50)])
        assert catalogue.forget_removed()
        left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"SECRET" not in left
    assert b"secret" not in left


def test_what_sqlite_moved_before_its_removal_is_overwritten(tmp_path: Path) -> None:
    """A page that SQLite balances keeps copies of cells, which `secure_delete` doesn't see."""
    before = [Source(f"/a/kept/{'x' * 60}{number}", 1, 1) for number in range(100)]
    behind = [Source(f"/z/kept/{'x' * 60}{number}", 1, 1) for number in range(100)]
    with Catalogue(str(tmp_path / "c.sqlite"), create=True) as catalogue:
        secret = [Source(f"/m/secret/I{number}0", 1, 1) for number in range(1, 400)]
        put(catalogue, entry(1, sources=secret))
        put(catalogue, entry(2, sources=before + behind))
        with catalogue.changes():
            catalogue.remove(["1.1/1.1.1.dcba"])
        assert catalogue.forget_removed()
        left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"kept" in left
    assert b"secret" not in left


@pytest.mark.parametrize("on_network", [False, True])
def test_a_reader_keeps_what_was_removed_from_being_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_network: bool
) -> None:
    monkeypatch.setattr(database, "is_on_network", lambda path: on_network)
    monkeypatch.setattr(database, "_SECONDS", 0.05)
    path = tmp_path / "c.sqlite"
    with Catalogue(str(path), create=True) as catalogue:
        put(catalogue, entry())
        reader = sqlite3.connect(path, isolation_level=None)

        def read() -> None:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM series").fetchall()

        if not on_network:  # where a reader keeps others from changing anything
            read()
        with catalogue.changes():
            catalogue.remove(["1.1/1.1.1.dcba"])
        if on_network:
            read()
        assert not catalogue.forget_removed()
        reader.close()
        assert catalogue.forget_removed()


def test_errors_name_no_values(catalogue: Catalogue) -> None:
    with pytest.raises(CubeFileAccessError) as caught, catalogue.changes():
        catalogue.put([entry(PatientName="SECRET^NAME")])
        catalogue._insert(schema.series, [{"id": 1, "file": "SECRET", "studies_id": 77}])
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("url", ["nosuch://host/db", "sqlite:///nowhere/at/all.sqlite", "http://x"])
def test_urls_that_lead_nowhere(url: str) -> None:
    with pytest.raises((CubeFileAccessError, DataConsistencyError)):
        Catalogue(url, create=True)


def test_a_password_is_not_shown() -> None:
    with pytest.raises((CubeFileAccessError, DataConsistencyError, ImportError)) as caught:
        Catalogue("postgresql+psycopg://me:secret@127.0.0.1:1/db", create=True)
    assert "secret" not in str(caught.value)


# --------------------------------------------------------------------------------------- journals


@pytest.mark.parametrize(("on_network", "journal"), [(False, "wal"), (True, "delete")])
def test_the_journal_fits_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_network: bool, journal: str
) -> None:
    monkeypatch.setattr(database, "is_on_network", lambda path: on_network)
    with Catalogue(str(tmp_path / "c.sqlite"), create=True) as catalogue:
        query = catalogue._connection.exec_driver_sql
        assert query("PRAGMA journal_mode").scalar() == journal
        assert query("PRAGMA secure_delete").scalar() == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("ext4", False), ("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("overlay", False)],
)
def test_network_file_systems_are_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, expected: bool
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nhost:/data /mnt/data {kind} rw 0 0\n")
    real = open

    def opened(path: Any, *arguments: Any, **options: Any) -> Any:
        return real(mounts if path == "/proc/self/mounts" else path, *arguments, **options)

    monkeypatch.setattr("builtins.open", opened)
    assert database.is_on_network("/mnt/data/archive/catalogue.sqlite") is expected
    assert database.is_on_network("/home/catalogue.sqlite") is False


def test_readers_and_a_writer_get_along(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sqlite")
    Catalogue(path, create=True).close()
    seen: list[int] = []

    def read() -> None:
        for _ in range(20):
            with Catalogue(path) as catalogue:
                seen.append(len(catalogue.rows()))

    thread = threading.Thread(target=read)
    thread.start()
    with Catalogue(path) as catalogue:
        for number in range(20):
            put(catalogue, entry(number))
    thread.join()
    assert seen == sorted(seen)
