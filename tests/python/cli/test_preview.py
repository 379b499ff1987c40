"""`dicube preview`: a picture of a dicube file, at a path or a URL."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from inputs.dicom_series import make_series

import dicube
from dicube import DicomCubeImage
from dicube.cli import main
from dicube.core.pictures.drawing import contact_sheet
from dicube.core.pictures.files import encoded
from dicube.dicom.series.precedence import Window

pillow = pytest.importorskip("PIL.Image")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    image = DicomCubeImage.from_dicom_folder(make_series(8, shape=(48, 40)))
    image.to_file(tmp_path / "x.dcbs")
    return tmp_path / "x.dcbs"


def test_it_draws_a_sheet(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = file.with_name("out.png")
    assert main(["preview", str(file), str(target)]) == 0
    with dicube.open(file) as cube:
        assert target.read_bytes() == encoded(contact_sheet(cube))
    with pillow.open(target) as picture:
        width, height = picture.size
    assert capsys.readouterr().out == (
        f"{target}: {width} x {height} pixels, {target.stat().st_size:,} bytes\n"
    )


def test_options(file: Path) -> None:
    target = file.with_name("out.png")
    options = ["--level", "1", "--slices", "3", "--window=-40.5,400"]
    assert main(["preview", str(file), str(target), *options]) == 0
    with dicube.open(file) as cube:
        sheet = contact_sheet(cube, level=1, count=3, window=Window(-40.5, 400, "LINEAR"))
        assert not np.array_equal(sheet, contact_sheet(cube, count=3))
    assert target.read_bytes() == encoded(sheet)


def test_the_name_selects_png_or_jpeg(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, kind in (("a.jpg", "JPEG"), ("b.JPEG", "JPEG"), ("c.Png", "PNG")):
        assert main(["preview", str(file), str(file.with_name(name))]) == 0
        with pillow.open(file.with_name(name)) as picture:
            assert picture.format == kind
    assert main(["preview", str(file), str(file.with_name("d.gif"))]) == 1
    assert "d.gif: expected a name ending in .png" in capsys.readouterr().err
    assert not file.with_name("d.gif").exists()


def test_it_never_overwrites_without_being_told(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = file.with_name("out.png")
    target.write_bytes(b"mine")
    assert main(["preview", str(file), str(target)]) == 1
    assert capsys.readouterr().err.endswith("out.png already exists (--overwrite)\n")
    assert target.read_bytes() == b"mine"
    assert main(["preview", str(file), str(target), "--overwrite"]) == 0
    assert target.read_bytes()[1:4] == b"PNG"


def test_urls(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/preview/x.dcbs", file.read_bytes())
    arguments = ["preview", "memory://preview/x.dcbs", "memory://preview/out.png"]
    assert main(arguments) == 0
    with pillow.open(io.BytesIO(memory.cat("/preview/out.png"))) as picture:
        assert picture.format == "PNG"
    assert main(arguments) == 1
    assert "already exists (--overwrite)" in capsys.readouterr().err
    assert main(["preview", "simplecache::memory://x.dcbs", "a.png"]) == 1
    assert "found a chain" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", [["--level", "-1"], ["--slices", "x"], ["--window", "40"], ["--window", "40,0"],
               ["--window", "nan,1"], ["--window", "1,2,3"]]
)  # fmt: skip
def test_wrong_usage(option: list[str], file: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["preview", str(file), str(file.with_name("out.png")), *option])
    assert caught.value.code == 2


def test_failures_leave_no_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = file.with_name("out.png")
    assert main(["preview", str(file), str(target), "--level", "9"]) == 1
    assert "levels 0 to" in capsys.readouterr().err
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    assert main(["preview", str(file), str(target)]) == 1
    assert main(["preview", str(file.with_name("none.dcbs")), str(target)]) == 1
    assert not target.exists()
