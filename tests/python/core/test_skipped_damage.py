"""on_error="skip": intact parts of a damaged file are read, and all damage is reported."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from inputs.dicom_series import make_series, write_series

import dicube
from dicube import DicomCubeImage, DicomStatus, verify_file
from dicube.cli import main
from dicube.dicom.series.geometry import Space, same_space
from dicube.exceptions import DataConsistencyError, DicomCubeError, InvalidCubeFileError
from dicube.storage import DcbReader
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


def test_a_change_of_the_rest_mends_nothing(good: Path, tmp_path: Path) -> None:
    image = skipped(with_damaged_frames(good, tmp_path / good.name, [5]), "frames 5")
    image.raw_image //= 2
    assert image.damaged_frames == (5,)
    with pytest.raises(DataConsistencyError, match="lacks frames 5"):
        image.to_file(tmp_path / f"x{good.suffix}")


@pytest.mark.parametrize("damaged", [[], [5]])
def test_damage_since_the_first_reading(damaged: list[int], good: Path, tmp_path: Path) -> None:
    path = with_damaged_frames(good, tmp_path / good.name, damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = DicomCubeImage.from_file(path, on_error="skip", dtype="float32")
    image.get_fdata()
    with_damaged_frames(good, path, [5, 7, 8])
    told = "frames 5, 7-8" if not damaged else "frames 7-8"
    for _ in range(2):
        for read in (image.get_fdata, lambda: image.raw_image):
            with pytest.raises(InvalidCubeFileError, match=f"{told} were damaged since"):
                read()


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


# ---------------------------------------------------------------------- the part that is intact


def test_the_intact_part_makes_nothing_up(good: Path, tmp_path: Path) -> None:
    whole = DicomCubeImage.from_file(good)
    assert whole.intact_part() is whole
    image = skipped(with_damaged_frames(good, tmp_path / good.name, [7, 8, 30]), "7-8, 30$")
    part = image.intact_part()
    kept = [number for number in range(COUNT) if number not in (7, 8, 30)]
    assert part.damaged_frames == ()
    assert np.array_equal(part.raw_image, whole.raw_image[kept])
    assert part.dicom_meta is not None
    assert whole.dicom_meta is not None
    assert part.dicom_meta == whole.dicom_meta.select(kept)
    assert part.dicom_status == DicomStatus.GAP_INSTANCE_NUMBER
    assert part.space is None
    part.to_file(tmp_path / f"part{good.suffix}")
    assert verify_file(tmp_path / f"part{good.suffix}")
    assert len(DicomCubeImage.from_file(tmp_path / f"part{good.suffix}").raw_image) == 57


def test_intact_original_files_come_back_to_the_byte(good: Path, tmp_path: Path) -> None:
    path = with_damaged_frames(good, tmp_path / good.name, [7, 8, 30])
    sources = {file.name: file.read_bytes() for file in (good.parent / "in").iterdir()}
    part = skipped(path, "damaged").intact_part()
    part.to_dicom_folder(tmp_path / "restored", exact=True)
    part.to_file(tmp_path / f"part{good.suffix}")
    again = DicomCubeImage.from_file(tmp_path / f"part{good.suffix}")
    again.to_dicom_folder(tmp_path / "again", exact=True)
    for folder in ("restored", "again"):
        found = {file.name: file.read_bytes() for file in (tmp_path / folder).iterdir()}
        assert len(found) == 57
        assert all(sources[name] == data for name, data in found.items())

    image = skipped(path, "damaged")
    assert image.dicom_meta is not None
    image.dicom_meta.set_shared_item("PatientName", "B")
    assert "not read from files" in image.intact_part().why_not_exact()


def test_a_part_of_changed_pixels_is_not_what_the_files_were(good: Path, tmp_path: Path) -> None:
    image = skipped(with_damaged_frames(good, tmp_path / good.name, [7]), "damaged")
    image.raw_image[9] += 1
    assert "were changed" in image.intact_part().why_not_exact()


@pytest.mark.parametrize(
    ("damaged", "start", "step", "count"),
    [([4], 0, 1, 4), ([0, 1], 2, 1, 3), ([0, 2, 4], 1, 2, 2), ([1, 2, 3, 4], 0, 1, 1)],
)
@pytest.mark.parametrize("metadata", [False, True])
def test_the_intact_part_of_a_space(
    metadata: bool, damaged: list[int], start: int, step: int, count: int, tmp_path: Path
) -> None:
    volume = np.arange(5 * 16 * 16, dtype=np.uint16).reshape(5, 16, 16)
    axes = [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
    space = Space((5, 16, 16), (1, 2, 3), (2.5, 0.9, 0.8), *axes)
    image = DicomCubeImage(volume, space=space)
    if metadata:
        image.init_meta()
    image.space = None
    image.raw_image = volume[:, :, :9]
    image.space = dataclasses.replace(space, shape=(5, 16, 9))
    image.to_file(tmp_path / "x.dcbs")
    hurt = skipped(with_damaged_frames(tmp_path / "x.dcbs", tmp_path / "y", damaged), "damaged")
    found = hurt.intact_part().space
    assert found is not None
    expected = Space((count, 16, 9), (1, 2, 3 + 2.5 * start), (2.5 * step, 0.9, 0.8), *axes)
    assert same_space(found, expected)
    hurt.space = None
    assert hurt.intact_part().space is None


def test_a_part_can_be_copied(good: Path, tmp_path: Path) -> None:
    part = skipped(with_damaged_frames(good, tmp_path / good.name, [7]), "damaged").intact_part()
    for copied in (copy.deepcopy(part), pickle.loads(pickle.dumps(part))):
        assert copied.why_not_exact() == ""
        assert np.array_equal(copied.raw_image, part.raw_image)


def test_files_of_several_frames_of_which_some_are_damaged(tmp_path: Path) -> None:
    volume = np.arange(6 * 16 * 16, dtype=np.uint16).reshape(6, 16, 16)
    image = DicomCubeImage(volume)
    image.init_meta()
    image.to_dicom_file(tmp_path / "all.dcm")
    good = tmp_path / "good.dcbs"
    DicomCubeImage.from_dicom_folder(tmp_path / "all.dcm").to_file(good)
    part = skipped(with_damaged_frames(good, tmp_path / "x", [2]), "frames 2$").intact_part()
    assert "slice 0 also has frames of other slices" in part.why_not_exact()
    part.to_dicom_folder(tmp_path / "restored")
    with pytest.warns(UserWarning, match="gap_location"):
        again = DicomCubeImage.from_dicom_folder(tmp_path / "restored")
    assert np.array_equal(again.raw_image, np.delete(volume, 2, axis=0))


def test_intact_files_whose_frames_were_coded(good: Path, tmp_path: Path) -> None:
    if good.suffix != ".dcbs":
        pytest.skip("HTJ2K is kept by .dcbs")
    image = DicomCubeImage.from_file(good)
    image.to_dicom_folder(tmp_path / "in", exact=False, transfer_syntax="htj2k")
    source = tmp_path / "coded.dcbs"
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(source)
    part = skipped(with_damaged_frames(source, tmp_path / "x", [0]), "frames 0$").intact_part()
    part.to_dicom_folder(tmp_path / "out", exact=True)
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert len(names) == COUNT - 1
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()


@pytest.mark.parametrize("name", ["dicom_meta", "pixel_header"])
def test_what_can_not_stand_for_itself(name: str, good: Path, tmp_path: Path) -> None:
    image = skipped(with_damaged_section(good, tmp_path / good.name, name), name)
    with pytest.raises(DataConsistencyError, match=f"section {name} of the file is damaged"):
        image.intact_part()
    image = skipped(with_damaged_frames(good, tmp_path / good.name, [*range(COUNT)]), "0-59$")
    with pytest.raises(DataConsistencyError, match="no frame of the file is intact"):
        image.intact_part()


# ----------------------------------------------------------------------------- the other doors


def test_load(good: Path, tmp_path: Path) -> None:
    path = with_damaged_frames(good, tmp_path / good.name, [3])
    with pytest.raises(InvalidCubeFileError, match="frame 3"):
        dicube.load(path)
    with pytest.warns(UserWarning, match="damaged: frames 3$"):
        assert dicube.load(path, on_error="skip").damaged_frames == (3,)


def test_open(good: Path, tmp_path: Path) -> None:
    path = with_damaged_frames(good, tmp_path / good.name, [3, 40])
    whole = DicomCubeImage.from_file(good)
    with dicube.open(path) as cube, pytest.raises(InvalidCubeFileError, match="frame 3"):
        cube[3]
    for cache in (0, 1 << 20):
        cube = dicube.open(path, on_error="skip", cache=cache)
        assert np.array_equal(cube[4:6], whole.raw_image[4:6])
        assert cube.damaged_frames == ()
        with pytest.warns(UserWarning, match="damaged: frames 3$"):
            assert not cube[2:5, 2:5][1].any()
        assert cube.damaged_frames == (3,)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # told once
            assert cube[3, 5, 4] == 0
            assert np.isnan(cube.get_fdata(3)).all()
            assert np.isnan(cube.get_fdata(np.s_[1:6, 2, 2])).tolist() == [0, 0, 1, 0, 0]
        with pytest.warns(UserWarning, match="damaged: frames 40$"):
            values = cube.get_fdata()
        assert cube.damaged_frames == (3, 40)
        damaged = np.isnan(values).all(axis=(1, 2))
        assert np.flatnonzero(damaged).tolist() == [3, 40]
        assert np.array_equal(values[~damaged], whole.get_fdata()[~damaged])
    with pytest.raises(DataConsistencyError, match="'ignore'"):
        dicube.open(path, on_error="ignore")


def test_open_a_file_with_a_damaged_section(good: Path, tmp_path: Path) -> None:
    path = with_damaged_section(good, tmp_path / good.name, "dicom_meta")
    cube = dicube.open(path, on_error="skip")
    with pytest.warns(UserWarning, match="section dicom_meta$"):
        assert cube.dicom_meta is None
    assert cube.damaged_sections == ("dicom_meta",)
    with pytest.raises(DataConsistencyError, match="real values are unknown"):
        cube.get_fdata(0)
    assert np.array_equal(cube[...], DicomCubeImage.from_file(good).raw_image)


def test_the_command(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = with_damaged_frames(good, tmp_path / good.name, [3, 40])
    sources = {file.name: file.read_bytes() for file in (good.parent / "in").iterdir()}
    folder = tmp_path / "out"
    assert main(["convert", str(path), str(folder)]) == 1
    assert not folder.exists()
    capsys.readouterr()
    assert main(["convert", str(path), str(folder), "--on-error", "skip"]) == 3
    told = capsys.readouterr()
    assert "58 slices" in told.out
    assert "damaged: frames 3, 40" in told.err
    assert "holds only the intact slices" in told.err
    found = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert len(found) == 58
    assert all(sources[name] == data for name, data in found.items())

    coded = tmp_path / "coded"
    syntax = ["--transfer-syntax", "htj2k"]
    assert main(["convert", str(path), str(coded), *syntax, "--on-error", "skip"]) == 3
    assert len(list(coded.iterdir())) == 58
    assert main(["convert", str(good), str(tmp_path / "whole"), "--on-error", "skip"]) == 0
    arguments = ["convert", str(good.parent / "in"), str(tmp_path / "x.dcbs")]
    assert main([*arguments, "--on-error", "skip"]) == 1
