"""on_error="skip": what is intact of a damaged file is read; what is not is told, never hidden."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from dicom_series import make_series, write_series

from dicube import DicomCubeImage, verify_file
from dicube.exceptions import DataConsistencyError, DicomCubeError, InvalidCubeFileError
from dicube.storage.dcb_file import DcbReader
from dicube.storage.intact_frames import ranges_of

COUNT = 60


@pytest.fixture(scope="module", params=[".dcbs", ".dcba"])
def good(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    path = folder / f"good{request.param}"
    DicomCubeImage.from_dicom_folder(write_series(folder / "in", make_series(COUNT))).to_file(path)
    return path


def with_damaged_frames(good: Path, target: Path, frames: list[int]) -> Path:
    data = bytearray(good.read_bytes())
    with DcbReader(good) as reader:
        for frame in frames:
            offset, size = reader.coded_range(frame)
            data[offset + size // 2] ^= 1
    target.write_bytes(data)
    return target


def with_damaged_section(good: Path, target: Path, name: str) -> Path:
    data = good.read_bytes()
    with DcbReader(good) as reader:
        section = reader.sections[name]
    at = data.index(section)
    target.write_bytes(data[:at] + bytes([section[0] ^ 1]) + data[at + 1 :])
    return target


def skipped(path: Path, message: str, **arguments: object) -> DicomCubeImage:
    with pytest.warns(UserWarning, match=message):
        return DicomCubeImage.from_file(path, on_error="skip", **arguments)  # type: ignore[arg-type]


def test_intact_frames_are_read(good: Path, tmp_path: Path) -> None:
    path = with_damaged_frames(good, tmp_path / good.name, [0, 17, 18, 59])
    with pytest.raises(InvalidCubeFileError, match="frame"):
        DicomCubeImage.from_file(path)
    whole = DicomCubeImage.from_file(good)
    image = skipped(path, "damaged: frames 0, 17-18, 59$")
    assert image.damaged_frames == (0, 17, 18, 59)
    assert image.damaged_sections == ()
    mask = image.intact_mask
    assert mask.dtype == np.bool_
    assert np.flatnonzero(~mask).tolist() == [0, 17, 18, 59]
    assert np.array_equal(image.raw_image[mask], whole.raw_image[mask])
    assert not image.raw_image[~mask].any()
    assert image.dicom_meta == whole.dicom_meta
    for dtype in (None, "float32"):
        image = skipped(path, "17-18", dtype=dtype)
        assert image.damaged_frames == (0, 17, 18, 59)
        values = image.get_fdata("float32")
        assert np.isnan(values[~mask]).all()
        assert np.array_equal(values[mask], whole.get_fdata("float32")[mask])


def test_a_whole_file_is_read_as_ever(good: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = DicomCubeImage.from_file(good, on_error="skip")
    assert image.intact_mask.all()
    assert image.why_not_exact() == ""
    image.to_file(tmp_path / good.name)
    assert (tmp_path / good.name).read_bytes() == good.read_bytes()


def test_holes_do_not_pass_for_pixels(good: Path, tmp_path: Path) -> None:
    image = skipped(with_damaged_frames(good, tmp_path / good.name, [5]), "frames 5")
    out = tmp_path / "out"
    out.mkdir()
    for write in (
        lambda: image.to_file(out / good.name),
        lambda: image.to_dicom_folder(out / "folder"),
        lambda: image.to_dicom_folder(out / "folder", exact=False, transfer_syntax="htj2k"),
        lambda: image.to_dicom_file(out / "x.dcm"),
        lambda: image.to_nifti(out / "x.nii"),
    ):
        with pytest.raises(DataConsistencyError, match="lacks frames 5"):
            write()
    assert not list(out.iterdir())
    assert "damaged: frames 5" in image.why_not_exact()

    image.accept_damage()
    image.to_file(out / good.name)
    image.to_dicom_folder(out / "folder", transfer_syntax="htj2k")
    again = DicomCubeImage.from_file(out / good.name)
    assert np.array_equal(again.raw_image, image.raw_image)
    assert "holds no original files" in again.why_not_exact()


def test_frames_that_were_mended(good: Path, tmp_path: Path) -> None:
    image = skipped(with_damaged_frames(good, tmp_path / good.name, [5]), "frames 5")
    mended = image.raw_image.copy()
    mended[5] = mended[4]
    image.raw_image = mended
    assert image.damaged_frames == ()
    assert not np.isnan(image.get_fdata()).any()
    image.to_file(tmp_path / f"mended{good.suffix}")
    assert verify_file(tmp_path / f"mended{good.suffix}")


@pytest.mark.parametrize("name", ["dicom_status", "dicom_meta", "space", "pixel_header"])
def test_intact_sections_are_read(name: str, good: Path, tmp_path: Path) -> None:
    path = with_damaged_section(good, tmp_path / good.name, name)
    with pytest.raises(InvalidCubeFileError, match=name):
        DicomCubeImage.from_file(path)
    whole = DicomCubeImage.from_file(good)
    image = skipped(path, f"damaged: section {name}$")
    assert image.damaged_sections == (name,)
    assert np.array_equal(image.raw_image, whole.raw_image)
    assert (image.dicom_meta is None) == (name == "dicom_meta")
    if name in ("dicom_meta", "pixel_header"):
        with pytest.raises(DataConsistencyError, match=name):
            image.get_fdata()
    else:
        assert np.array_equal(image.get_fdata(), whole.get_fdata())
    with pytest.raises(DataConsistencyError, match=name):
        image.to_file(tmp_path / f"x{good.suffix}")


def test_lost_originals(good: Path, tmp_path: Path) -> None:
    path = with_damaged_section(good, tmp_path / good.name, "originals")
    image = skipped(path, "damaged: section originals$")
    whole = DicomCubeImage.from_file(good)
    assert np.array_equal(image.get_fdata(), whole.get_fdata())
    assert image.space == whole.space
    image.accept_damage()
    image.to_file(tmp_path / f"x{good.suffix}")
    assert DicomCubeImage.from_file(tmp_path / f"x{good.suffix}").dicom_meta == image.dicom_meta


def test_frames_with_masks(good: Path, tmp_path: Path) -> None:
    whole = DicomCubeImage.from_file(good)
    whole.to_file(tmp_path / "whole.dcbr", roi=whole.raw_image > np.median(whole.raw_image))
    image = skipped(with_damaged_frames(tmp_path / "whole.dcbr", tmp_path / "x", [7]), "frames 7$")
    expected, found = DicomCubeImage.from_file(tmp_path / "whole.dcbr").roi_mask, image.roi_mask
    assert expected is not None
    assert found is not None
    assert expected[7].any()
    assert not found[7].any()
    assert not image.raw_image[7].any()
    assert np.array_equal(found[image.intact_mask], expected[image.intact_mask])


def test_the_reader_tells_what_it_skipped(good: Path, tmp_path: Path) -> None:
    path = with_damaged_frames(good, tmp_path / good.name, [3])
    with DcbReader(path, on_error="skip") as reader:
        reader.read_frames(4, 8)
        assert not reader.damaged_frames
        assert not reader.read_frame_list([-1, 3, 4])[1].any()
        assert list(reader.damaged_frames) == [3]
        assert "checksum" in reader.damaged_frames[3]
    with pytest.raises(DataConsistencyError, match="'ignore'"):
        DcbReader(path, on_error="ignore")


def test_verification_lists_all_damaged_frames(good: Path, tmp_path: Path) -> None:
    frames = [0, *range(20, 50), 59]
    report = verify_file(with_damaged_frames(good, tmp_path / "x", frames))
    (found,) = (check for check in report.checks if check.name == "checksums")
    assert found.message.endswith("; damaged: 0, 20-49, 59")


def test_ranges_of_frames() -> None:
    assert ranges_of([]) == ""
    assert ranges_of([0]) == "0"
    assert ranges_of([0, 1, 2, 7, 9, 10]) == "0-2, 7, 9-10"


@pytest.mark.parametrize("size", [8, 60, 116])
def test_a_destroyed_header_is_told(size: int, good: Path) -> None:
    data = good.read_bytes()
    for front in (bytes(size), b"\xff" * size):
        with pytest.raises(InvalidCubeFileError, match="header: destroyed"):
            DcbReader(front + data[size:], on_error="skip")
    with pytest.raises(DicomCubeError, match="not a dicube file"):
        DcbReader(bytes(124) + data[124:])
