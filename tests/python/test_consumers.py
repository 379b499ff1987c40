"""libdicube as other programs meet it: installed, found, linked, and called from other languages.

Each test uses the installed tree alone, and files that the Python package wrote; what the programs
write, Python reads.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import zstandard
from programs.running import ROOT, needs

from dicube import DicomCubeImage, __version__
from dicube.storage import DcbReader

CONSUMERS = ROOT / "tests" / "consumers"


def run(*command: object, cwd: Path | None = None, **environment: object) -> bytes:
    """Return what a command prints; it must succeed."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
    )
    assert result.returncode == 0, (result.stdout + result.stderr).decode(errors="replace")
    return result.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that libdicube is installed in, by `cmake --install`."""
    needs("cmake")
    builds = sorted(ROOT.glob("build/*/libdicube.*")) + sorted(ROOT.glob("build/py3-*/build.ninja"))
    if not builds:
        pytest.skip("libdicube was not built in this tree")
    folder = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", builds[-1].parent, "--component", "c", "--prefix", folder)
    return folder


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    noise = np.random.default_rng(0).integers(-1024, 3000, (5, 33, 47), np.int16)
    noise[2] = -7
    return noise


@pytest.fixture(scope="module")
def cube(volume: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cube") / "höhe.dcbs"
    image = DicomCubeImage(volume)
    image.init_meta()
    image.to_file(path)
    return path


def check_programs(folder: Path, prefix: Path, cube: Path, volume: np.ndarray) -> None:
    """Run the examples, which were built in `folder`."""
    library = {"LD_LIBRARY_PATH": prefix / "lib", "DYLD_LIBRARY_PATH": prefix / "lib"}

    listed = run(folder / "sections", cube, **library).decode()
    assert "5 frames of 33 x 47, 1 samples per pixel, sample type 4" in listed
    assert "dicom_meta" in listed
    packed = run(folder / "sections", cube, "dicom_meta", **library)
    assert b'"_merged_data"' in zstandard.decompress(packed)

    raw = folder / "volume.raw"
    run(folder / "decode", cube, raw, **library)
    assert np.array_equal(np.fromfile(raw, volume.dtype).reshape(volume.shape), volume)

    patch = folder / "patch.raw"
    run(folder / "patch", cube, patch, 1, 3, 20, 7, 40, 5, **library)
    assert np.fromfile(patch, volume.dtype).tobytes() == volume[1:4, 20:27, 40:45].tobytes()

    encoded = folder / "again.dcba"
    run(folder / "encode", raw, *volume.shape, "int16", encoded, **library)
    assert np.array_equal(DicomCubeImage.from_file(encoded).raw_image, volume)

    answer = run(folder / "frame", DICUBE_FILE=cube, QUERY_STRING=2, **library)
    head, _, coded = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(coded)}".encode() in head
    with DcbReader(cube) as reader:
        assert coded == reader.coded(2)


def test_found_by_cmake(prefix: Path, cube: Path, volume: np.ndarray, tmp_path: Path) -> None:
    needs("cmake")
    run("cmake", "-S", CONSUMERS / "cmake", "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path)
    check_programs(tmp_path, prefix, cube, volume)
    run(tmp_path / "decode_cpp", cube, tmp_path / "cpp.raw")
    assert (tmp_path / "cpp.raw").read_bytes() == volume.tobytes()
    run(tmp_path / "thumbnail", cube, tmp_path / "x.pgm", 20)
    with DcbReader(cube) as reader:
        level = reader.read_frames(2, 3, level=1)
    head, picture = b"P5 24 17 255\n", (tmp_path / "x.pgm").read_bytes()
    assert picture.startswith(head)
    assert len(picture) == len(head) + level.size


def test_found_by_pkg_config(prefix: Path, cube: Path, volume: np.ndarray, tmp_path: Path) -> None:
    needs("make", "pkg-config", "cc")
    run(
        *("make", "-C", CONSUMERS / "pkg-config", f"out={tmp_path}"),
        PKG_CONFIG_PATH=prefix / "lib" / "pkgconfig",
    )
    check_programs(tmp_path, prefix, cube, volume)


@pytest.mark.slow
def test_found_by_conan(tmp_path: Path) -> None:
    needs("cmake")
    run(sys.executable, ROOT / "ci" / "dependencies", "--package", tmp_path / "libdicube.tgz")


def test_a_failure_is_one_line(prefix: Path, tmp_path: Path) -> None:
    needs("cc")
    source = ROOT / "cpp" / "examples" / "decode.c"
    library = prefix / "lib"
    run(
        *("cc", "-std=c99", source, "-o", tmp_path / "decode", "-I", prefix / "include"),
        *("-L", library, "-ldicube", f"-Wl,-rpath,{library}"),
    )
    result = subprocess.run([tmp_path / "decode", "missing", "raw"], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == "decode: missing: cannot open: No such file or directory\n"
    assert not (tmp_path / "raw").exists()


def check_round_trip(command: Sequence[object], cube: Path, tmp_path: Path, **more: object) -> None:
    """Run a program that copies the frames of a file, decoding and encoding them."""
    copy = tmp_path / "copy.dcbs"
    shown = run(*command, cube, copy, **more).decode()
    with DcbReader(copy) as one, DcbReader(cube) as other:
        patch = other.read_frames(1, 2)[:, 8:11, 5:9].tobytes()
        level = other.read_frames(1, 2, level=1).tobytes()
        assert shown.splitlines() == [
            f"libdicube {__version__}: 5 frames of 33 x 47",
            f"patch 3 x 4, sum {sum(patch)}",
            f"level 17 x 24, sum {sum(level)}",
        ]
        assert one.dtype == other.dtype
        assert np.array_equal(one.read_frames(), other.read_frames())


def test_from_node(prefix: Path, cube: Path, tmp_path: Path) -> None:
    needs("node", "npm")
    for name in ("package.json", "round_trip.mjs"):
        shutil.copy(CONSUMERS / "node" / name, tmp_path)
    installed = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--fetch-retries=0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    if installed.returncode:
        pytest.skip(f"npm can't install koffi here: {installed.stderr.strip()[-200:]}")
    library = next((prefix / "lib").glob("libdicube.so.1"), prefix / "lib" / "libdicube.1.dylib")
    check_round_trip(["node", tmp_path / "round_trip.mjs", library], cube, tmp_path)


def test_from_rust(prefix: Path, cube: Path, tmp_path: Path) -> None:
    needs("rustc")
    library = prefix / "lib"
    program = tmp_path / "round_trip"
    run(
        *("rustc", "-D", "warnings", "-L", library, "-C", f"link-arg=-Wl,-rpath,{library}"),
        *(CONSUMERS / "rust" / "round_trip.rs", "-o", program),
    )
    check_round_trip([program], cube, tmp_path)


@pytest.fixture(scope="module")
def jna(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A class path with JNA: the system's, or Debian's package unpacked without being installed."""
    needs("java", "javac")
    system = Path("/usr/share/java/jna.jar")
    if system.exists():
        return str(system)
    needs("apt-get", "dpkg")
    folder = tmp_path_factory.mktemp("jna")
    for package in ("libjna-java", "libjna-jni"):
        fetched = subprocess.run(["apt-get", "download", package], cwd=folder, capture_output=True)
        if fetched.returncode:
            pytest.skip(f"needs libjna-java: apt-get can't download {package} here")
    for archive in folder.glob("*.deb"):
        run("dpkg", "-x", archive, folder)
    # Where JNA looks when Debian's own places have nothing.
    place = folder / "com" / "sun" / "jna" / f"linux-{platform.machine().replace('_', '-')}"
    place.mkdir(parents=True)
    shutil.copy(next(folder.rglob("libjnidispatch*.so")), place / "libjnidispatch.so")
    return f"{folder / 'usr' / 'share' / 'java' / 'jna.jar'}{os.pathsep}{folder}"


def test_from_java(prefix: Path, cube: Path, jna: str, tmp_path: Path) -> None:
    source = CONSUMERS / "java" / "RoundTrip.java"
    run("javac", "-Xlint:all", "-Werror", "-cp", jna, "-d", tmp_path, source)
    command = [
        *("java", "-cp", f"{jna}{os.pathsep}{tmp_path}", "-Dfile.encoding=UTF-8"),
        *(f"-Djna.library.path={prefix / 'lib'}", "RoundTrip"),
    ]
    check_round_trip(command, cube, tmp_path, LC_ALL="C.UTF-8")
