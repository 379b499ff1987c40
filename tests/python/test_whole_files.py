"""Every writer, in C++ and in Python, replaces files as cpp/src/file.h states.

Writers are killed, find the disk full, lose power or run at the same time: the target is always one
whole file.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from inputs.file_writers import WRITERS, write_target
from programs.running import PROGRAMS, needs, run_python

from dicube import whole_files
from dicube.exceptions import CubeFileAccessError, CubeFileNotFoundError
from dicube.whole_files import WholeFiles, write_whole

fcntl = pytest.importorskip("fcntl")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (compiler,) = needs("cc")
    library = tmp_path_factory.mktemp("disk") / "interrupted_disk.so"
    source = PROGRAMS / "interrupted_disk.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture(params=WRITERS)
def target(request: pytest.FixtureRequest) -> str:
    """The name of a file of each kind."""
    if request.param == "x.nii":
        pytest.importorskip("nibabel")
    return str(request.param)


def run_scene(name: str, target: str, folder: Path, **environment: str) -> str:
    if sys.platform != "linux":
        pytest.skip("forks, and preloads a library")
    (folder / "files").mkdir()
    script = PROGRAMS / "interrupted_writes.py"
    done = run_python(script, name, target, folder / "files", **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_killed_at_any_instant(target: str, tmp_path: Path) -> None:
    assert "60 killed" in run_scene("killed", target, tmp_path)


def test_two_writers_of_one_target(target: str, tmp_path: Path) -> None:
    assert "40 written" in run_scene("together", target, tmp_path)


def test_disk_full_at_every_call(target: str, tmp_path: Path, disk: Path) -> None:
    told = run_scene("full", target, tmp_path, LD_PRELOAD=str(disk)).split()
    calls, refused = int(told[0]), int(told[2])
    # Data, file flushed, renamed, folder flushed; the last one may fail.
    assert refused == calls - 1
    assert calls >= 4


def test_power_lost_at_any_instant(target: str, tmp_path: Path, disk: Path) -> None:
    """Of each beginning of the calls only what was synced is there, and perhaps the rename."""
    run_scene("recorded", target, tmp_path, LD_PRELOAD=str(disk))
    new = (tmp_path / "files" / target).read_bytes()
    calls = calls_of((tmp_path / "record").read_bytes())
    names = [name for name, *_ in calls if name != "write"]
    assert names == ["open", "mode", "sync", "rename", "sync-folder"]
    # Nobody may open it who may not open the target, not even before it has data.
    assert {mode for name, _, mode, _ in calls if name in ("open", "mode")} == {
        0o600 | stat.S_ISVTX  # the mark of a temporary file
    }
    for count in range(len(calls) + 1):
        assert targets_after(calls[:count]) <= {None, new}
    assert targets_after(calls) == {new}  # what is finished stays


def test_power_lost_in_an_export(tmp_path: Path, disk: Path) -> None:
    """Each file is there whole or not at all, at any instant; when the export ends all are."""
    run_scene("export", "x.dcm", tmp_path, LD_PRELOAD=str(disk))
    calls = calls_of((tmp_path / "record").read_bytes())
    written = {path.read_bytes() for path in (tmp_path / "files").iterdir()}
    names = {file for _, file, _, _ in calls} - {"."}
    assert len(written) == len(names) == 20
    seen = set[bytes | None]()
    for name in names:
        of_file = [call for call in calls if call[1] in (name, ".")]
        (whole,) = targets_after(of_file)
        for count in range(len(of_file)):
            assert targets_after(of_file[:count]) <= {None, whole}
        seen.add(whole)
    assert seen == written


Call = tuple[str, str, int, bytes]


def calls_of(record: bytes) -> list[Call]:
    calls = []
    while record:
        line, _, record = record.partition(b"\n")
        name, file, offset, size = line.decode().split()
        calls.append((name, file, int(offset), record[: int(size)]))
        record = record[int(size) :]
    return calls


def targets_after(calls: list[Call]) -> set[bytes | None]:
    """What may be the target after a loss of power; None for what it was before."""
    synced, waiting, renamed, is_kept = bytearray(), list[Call](), False, False
    for call in calls:
        if call[0] == "write":
            waiting.append(call)
        elif call[0] == "sync":
            for _, _, offset, data in waiting:
                synced.extend(bytes(max(0, offset + len(data) - len(synced))))
                synced[offset : offset + len(data)] = data
            waiting = []
        elif call[0] == "rename":
            renamed = True
        elif call[0] == "sync-folder":
            is_kept = renamed
    targets: set[bytes | None] = set() if is_kept else {None}
    return targets | ({bytes(synced)} if renamed else set())


def test_losing_power_before_a_sync_would_be_seen() -> None:
    calls: list[Call] = [("write", "x", 0, b"new"), ("rename", "x", 0, b""), ("sync", "x", 0, b"")]
    assert targets_after(calls[:2]) == {None, b""}
    assert targets_after(calls) == {None, b"new"}


def temporary_name(target: str, number: int) -> str:
    """As the scheme has it: FNV-1a of the target's name and a number."""
    bits = 0xCBF29CE484222325
    for byte in target.encode() + bytes([number]):
        bits = (bits ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f".dicube-{bits & 0xFFFFFFFFFFFF:012x}"


def test_the_first_temporary_name_is_that_of_the_scheme(
    target: str, tmp_path: Path, disk: Path
) -> None:
    run_scene("recorded", target, tmp_path, LD_PRELOAD=str(disk))
    calls = calls_of((tmp_path / "record").read_bytes())
    assert {file for _, file, _, _ in calls} == {temporary_name(target, 0), "."}


def test_marked_leftovers_are_removed_and_what_is_locked_is_not(
    target: str, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    names = [temporary_name(target, number) for number in range(8)]
    for name in (*names[2:], ".dicube-000000000000"):
        (folder / name).write_bytes(b"left behind")
        (folder / name).chmod(0o644 | stat.S_ISVTX)
    (folder / names[1]).symlink_to(tmp_path / "linked")
    (tmp_path / "linked").write_bytes(b"not a leftover")
    (tmp_path / "linked").chmod(0o644 | stat.S_ISVTX)
    (folder / names[7]).chmod(0o400 | stat.S_ISVTX)
    with (folder / names[0]).open("wb") as file:
        (folder / names[0]).chmod(0o644 | stat.S_ISVTX)
        fcntl.flock(file, fcntl.LOCK_EX)
        write_target(folder / target, 1)
    kept = {names[0], names[1], ".dicube-000000000000"}
    assert {path.name for path in folder.iterdir()} == {*kept, target}
    assert (tmp_path / "linked").read_bytes() == b"not a leftover"


def test_a_file_of_the_user_is_kept_whatever_its_name(target: str, tmp_path: Path) -> None:
    names = [temporary_name(target, number) for number in range(8)]
    for name in names:
        (tmp_path / name).write_bytes(b"the user's")
    for value in (1, 2):
        write_target(tmp_path / target, value)
    assert {path.name for path in tmp_path.iterdir()} == {*names, target}
    assert {(tmp_path / name).read_bytes() for name in names} == {b"the user's"}


@pytest.mark.parametrize("later", [1, 5, 40])
def test_files_named_like_temporaries_of_others_are_all_written(later: int, tmp_path: Path) -> None:
    """Whether the other file is written before or after the one with the name of its temporary."""
    names = [f"I{number}" for number in range(60)]
    names[0] = temporary_name(names[later], 0)
    names[50] = temporary_name(names[later + 8], 0)
    names[51] = temporary_name(names[49], 0)
    names[59] = temporary_name(names[0], 0)
    for _ in range(2):
        with WholeFiles(str(tmp_path)) as files:
            for name in names:
                files.write(name, [name.encode() * 1000])
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
            name: name.encode() * 1000 for name in names
        }


def test_a_temporary_file_that_was_replaced_is_not_renamed(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"new"
        other = tmp_path / "other"
        other.write_bytes(b"of another program")
        other.rename(tmp_path / temporary_name("x", 0))

    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(CubeFileAccessError, match=r"x: cannot write: its temporary file was"):
        write_whole(str(tmp_path / "x"), parts())
    assert (tmp_path / "x").read_bytes() == b"old"
    assert (tmp_path / temporary_name("x", 0)).read_bytes() == b"of another program"


def test_where_all_names_are_taken_another_is_found(target: str, tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / temporary_name(target, number)).symlink_to(tmp_path / "nowhere")
    write_target(tmp_path / target, 1)
    assert len(list(tmp_path.iterdir())) == 9


def test_permissions_are_those_of_a_new_file_or_of_the_old_one(target: str, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    path = tmp_path / "files" / target
    path.parent.mkdir()
    write_target(path, 1)
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    path.chmod(0o640)
    write_target(path, 2)
    assert path.stat().st_mode & 0o7777 == 0o640


@pytest.mark.parametrize("extension", [".dcbs", ".nii", ".dcm"])
def test_a_name_as_long_as_can_be(extension: str, tmp_path: Path) -> None:
    name = "x" * (255 - len(extension)) + extension
    write_target(tmp_path / name, 1)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("extension", [".dcbs", ".nii", ".dcm"])
def test_a_folder_that_is_missing(extension: str, tmp_path: Path) -> None:
    path = tmp_path / "none" / f"x{extension}"
    with pytest.raises(CubeFileNotFoundError, match="cannot write: No such file or directory"):
        write_target(path, 1)
    assert not path.parent.exists()


@pytest.mark.parametrize("target", ["x.dcbs", "x.nii", "x.dcm"], indirect=True)
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_the_file_it_leads_to_is_replaced(
    target: str, exists: bool, tmp_path: Path
) -> None:
    for folder in ("plain", "files", "kept"):
        (tmp_path / folder).mkdir()
    write_target(tmp_path / "plain" / target, 1)
    place, far, link = tmp_path / "kept" / "y", tmp_path / "far", tmp_path / "files" / target
    if exists:
        place.write_bytes(b"old")
    far.symlink_to(Path("kept") / "y")
    link.symlink_to(far)
    write_target(link, 1)
    assert link.is_symlink() and far.is_symlink()
    assert place.read_bytes() == (tmp_path / "plain" / target).read_bytes()
    assert [path.name for path in place.parent.iterdir()] == ["y"]


def test_nothing_but_a_file_is_replaced(target: str, tmp_path: Path) -> None:
    path = tmp_path / target
    os.mkfifo(path)
    with pytest.raises(CubeFileAccessError, match="cannot write: not a regular file"):
        write_target(path, 1)
    assert path.is_fifo()
    path.unlink()
    path.mkdir()
    with pytest.raises(CubeFileAccessError, match="cannot write: not a regular file"):
        write_target(path, 1)
    assert [path.name for path in tmp_path.iterdir()] == [target]


@pytest.mark.parametrize("target", ["x.dcbs", "x.nii", "x.dcm"], indirect=True)
def test_a_link_to_itself_leads_to_no_file(target: str, tmp_path: Path) -> None:
    path = tmp_path / target
    path.symlink_to(path)
    with pytest.raises(CubeFileAccessError, match="cannot write"):
        write_target(path, 1)
    assert path.is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == [target]


def written(folder: Path, *names: str) -> None:
    """Write files below a folder, with their names as content."""
    contents = {name: name.encode(errors="surrogatepass") for name in names}
    with WholeFiles(str(folder)) as files:
        for name, content in contents.items():
            assert files.write(name, [content]) == str(folder / name)
    for name, content in contents.items():
        assert (folder / name).read_bytes() == content


def test_links_below_the_folder_are_replaced(tmp_path: Path) -> None:
    """Links to folders and files, which may be missing; the folder itself may be one."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "secret").write_bytes(b"secret")
    (victim / "secret").chmod(0o600)
    (tmp_path / "real" / "d").mkdir(parents=True)
    folder = tmp_path / "folder"
    folder.symlink_to("real")
    links = {"a": victim, "d/b": victim, "c": tmp_path / "none", "e": victim / "secret"}
    for name, place in {**links, "d/f": victim / "new", "g": victim}.items():
        (folder / name).symlink_to(place)
    os.link(victim / "secret", folder / "hard")
    written(folder, "a/x", "a/y", "d/b/secret", "c/x", "e", "d/f", "g", "hard")
    assert [path.name for path in victim.iterdir()] == ["secret"]
    assert (victim / "secret").read_bytes() == b"secret"
    assert folder.is_symlink()
    assert not any(path.is_symlink() for path in folder.resolve().rglob("*"))
    assert (folder / "e").stat().st_mode == (folder / "a" / "x").stat().st_mode


def test_files_and_folders_in_the_way_stay(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("file/x", "folder", "pipe", "pipe/x"):
        with pytest.raises(CubeFileAccessError, match=f"{name}: cannot write: "):
            written(tmp_path, name)
    assert (tmp_path / "file").read_bytes() == b"kept"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder", "pipe"}


@pytest.mark.parametrize(
    "name", ["x\ud800", "\ud800/x", "x" * 256, f"{'d' * 200}/" * 30 + "x", "a\udfffb"]
)
def test_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(CubeFileAccessError, match=r"cannot write|no file can have") as caught:
        written(tmp_path, "first", name)
    str(caught.value).encode()  # it can be printed
    assert (tmp_path / "first").read_bytes() == b"first"


def test_names_of_any_other_kind(tmp_path: Path) -> None:
    deep = "d/" * 255 + "x"
    written(tmp_path, deep, "\udcff", "I", "i", "é", "e\u0301", "CON", "a:b", "a.", "..x", "a\\b")


def test_names_that_the_file_system_takes_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where case does not matter, or how accents are composed."""
    lstat, replace = os.lstat, os.replace

    def plain(path: str) -> str:
        folder, name = os.path.split(path)
        return os.path.join(folder, unicodedata.normalize("NFC", name).lower())

    monkeypatch.setattr(os, "lstat", lambda path: lstat(plain(os.fspath(path))))
    monkeypatch.setattr(os, "replace", lambda old, new: replace(old, plain(new)))
    for names in (("IM", "a", "im"), ("é", "a", "E\u0301")):
        with pytest.raises(CubeFileAccessError, match="the same file as "):
            written(tmp_path, *names)
        assert (tmp_path / plain(names[0])).read_bytes() == names[0].encode()


@pytest.mark.parametrize(
    ("name", "is_refused"),
    [
        *((name, True) for name in ("CON", "nul.dcm", "Com1", "lpt¹.a.b", "aux ", "conin$")),
        *((name, True) for name in ("a:b", "C:", "a\\b", "x.", "x ", "a\nb", "a?", "\x1b[2J")),
        *((name, False) for name in ("console", "com", "com10", "a.con", "I1", ".x", "a b", "é")),
    ],
)
def test_names_on_windows(name: str, is_refused: bool) -> None:
    assert bool(whole_files._NOT_ON_WINDOWS.search(name)) == is_refused


def test_a_folder_as_deep_as_paths_can_be(tmp_path: Path) -> None:
    deepest = str(tmp_path) + "/d" * 1500
    try:
        whole_files.make_folder(deepest, overwrite=False)
        assert os.path.isdir(deepest)
        with pytest.raises(CubeFileAccessError, match="cannot write"):
            whole_files.make_folder(str(tmp_path) + "/e" * 5000, overwrite=False)
        assert os.listdir(tmp_path) == ["d"]
    finally:  # pytest's own removal is recursive
        for depth in range(1500, 0, -1):
            os.rmdir(str(tmp_path) + "/d" * depth)
