"""NIfTI and DICOM agree: judged by dcm2niix, SimpleITK and pydicom."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_frames import frames_like, several_frames
from inputs.dicom_series import (
    item,
    make_series,
    make_slice,
    pixels_of,
    set_pixels,
    write_series,
)
from inputs.nifti_files import ORIENTATIONS, affine_of, nifti_bytes, same, samples
from inputs.peers import assert_same_but_for_flips, by_simpleitk, dcm2niix
from pydicom import dcmread
from pydicom.uid import (
    CTImageStorage,
    HTJ2KLossless,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)

from dicube import DicomCubeImage
from dicube.cli import main
from dicube.dicom.series.geometry import Space
from dicube.exceptions import DataConsistencyError

nib = pytest.importorskip("nibabel")

SEVERAL_VOLUMES = "ignore:.*volumes of .* slices"


# --------------------------------------------------------------------------------- DICOM to NIfTI


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("dtype", ["int16", "uint16"])
def test_series_as_dcm2niix_has_it(tmp_path: Path, name: str, dtype: str) -> None:
    axes = np.diag([-1, -1, 1]) @ ORIENTATIONS[name]
    series = make_series(4, shape=(6, 5), dtype=dtype)
    for index, dataset in enumerate(series):
        dataset.ImageOrientationPatient = [f"{n:.10f}" for n in axes[:, :2].T.ravel()]
        place = np.array([-10, 20, 30]) + 2.5 * index * axes[:, 2]
        dataset.ImagePositionPatient = [f"{n:.10f}" for n in place]
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1024
    write_series(tmp_path / "in", series)
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_nifti(tmp_path / "ours.nii.gz")
    ours = nib.load(tmp_path / "ours.nii.gz")
    assert (ours.dataobj.slope, ours.dataobj.inter) == (2, -1024)
    stored = np.asarray(ours.dataobj.get_unscaled())
    assert same(stored, np.stack([pixels_of(i, (6, 5), dtype) for i in range(4)]).T)
    (theirs,) = dcm2niix(tmp_path / "in", tmp_path / "out")
    assert_same_but_for_flips(ours, theirs)


@pytest.mark.parametrize("name", ["ct_philips_thin", "mr_siemens_sag"])
def test_real_series_as_dcm2niix_has_it(tmp_path: Path, shared_data: Path, name: str) -> None:
    (theirs,) = dcm2niix(shared_data / name, tmp_path / "out")
    image = DicomCubeImage.from_dicom_folder(shared_data / name)
    image.to_file(tmp_path / "a.dcbs")
    DicomCubeImage.from_file(tmp_path / "a.dcbs").to_nifti(tmp_path / "ours.nii")
    assert_same_but_for_flips(nib.load(tmp_path / "ours.nii"), theirs)


def test_tilted_gantry_is_a_sheared_affine(tmp_path: Path) -> None:
    series = make_series(4, dtype="int16")
    for index, dataset in enumerate(series):
        dataset.ImagePositionPatient = [-10, 20 + index, 2.5 * index]
    write_series(tmp_path / "in", series)
    with pytest.warns(UserWarning, match="degrees off"):
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_nifti(tmp_path / "a.nii")
    written = nib.load(tmp_path / "a.nii")
    wanted = [[-0.75, 0, 0, 10], [0, -0.5, -1, -20], [0, 0, 2.5, 0], [0, 0, 0, 1]]
    assert np.allclose(written.affine, wanted)
    assert written.header["qform_code"] == 0
    with pytest.warns(UserWarning, match="space is None"):
        again = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    again.init_meta("CT")
    again.to_dicom_folder(tmp_path / "out")
    for index, path in enumerate(sorted((tmp_path / "out").iterdir())):
        assert dcmread(path).ImagePositionPatient == pytest.approx([-10, 20 + index, 2.5 * index])


def test_unknown_place_is_said(tmp_path: Path) -> None:
    series = make_series(4)
    series[2].ImagePositionPatient = [-10, 20, 7]
    write_series(tmp_path / "in", series)
    with pytest.warns(UserWarning, match="space is None"):
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    size = r"0.75 x 0.5 x 2.5 mm, the slice distance by positions"
    with pytest.warns(UserWarning, match=f"has no voxel positions: gap.* the voxel size is {size}"):
        image.to_nifti(tmp_path / "a.nii")
    header = nib.load(tmp_path / "a.nii").header
    assert header["sform_code"] == header["qform_code"] == 0
    assert header.get_zooms() == (0.75, 0.5, 2.5)


@pytest.mark.parametrize(
    ("lacking", "source", "size"),
    [
        ((), "positions", 2.5),
        (("ImageOrientationPatient",), "SpacingBetweenSlices", 3),
        (("ImagePositionPatient", "SpacingBetweenSlices"), "SliceThickness", 7),
        (("ImagePositionPatient", "SpacingBetweenSlices", "SliceThickness"), "nothing", 1),
    ],
)
def test_slice_distance_of_unknown_place(
    tmp_path: Path, lacking: tuple[str, ...], source: str, size: float
) -> None:
    """Positions count before any stated distance, and the thickness last."""
    series = make_series(4)
    series[3].ImagePositionPatient = [-10, 20, 30]
    for dataset in series:
        dataset.SpacingBetweenSlices, dataset.SliceThickness = 3, 7
        for name in lacking:
            delattr(dataset, name)
    write_series(tmp_path / "in", series)
    with pytest.warns(UserWarning, match="space is None"):
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    with pytest.warns(UserWarning, match=f"x {size:g} mm, the slice distance by .*{source}"):
        image.to_nifti(tmp_path / "a.nii")
    assert nib.load(tmp_path / "a.nii").header.get_zooms() == (0.75, 0.5, size)


@pytest.mark.parametrize(
    "sop_class", [CTImageStorage, MultiFrameGrayscaleWordSecondaryCaptureImageStorage]
)
def test_one_stack_in_a_file_as_dcm2niix_has_it(tmp_path: Path, sop_class: str) -> None:
    source = make_slice(0, (16, 12))
    source.SOPClassUID, source.NumberOfFrames, source.SpacingBetweenSlices = sop_class, 4, 2.25
    source.ImageOrientationPatient = [0.96, 0.28, 0, 0, 0, -1]
    set_pixels(source, frames_like(4, shape=(16, 12)))
    write_series(tmp_path / "in", [source])
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    assert image.space is not None
    image.to_nifti(tmp_path / "a.nii")
    (theirs,) = dcm2niix(tmp_path / "in", tmp_path / "judge")
    assert_same_but_for_flips(nib.load(tmp_path / "a.nii"), theirs)


def test_gates_are_the_fourth_dimension(tmp_path: Path) -> None:
    source = several_frames(6)
    source.Modality, source.ImageType = (
        "NM",
        ["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"],
    )
    source.PixelSpacing, source.SpacingBetweenSlices = [4, 4], -4
    source.TimeSlotVector, source.SliceVector = [1, 1, 1, 2, 2, 2], [1, 2, 3, 1, 2, 3]
    detector = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[-30, -40, 50])
    source.DetectorInformationSequence = [detector]
    write_series(tmp_path / "in", [source])
    with pytest.warns(UserWarning, match="2 volumes of 3 slices .by TimeSlotVector"):
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_nifti(tmp_path / "a.nii")
    written = nib.load(tmp_path / "a.nii")
    assert written.shape == (5, 6, 3, 2)
    stored = image.raw_image.reshape(2, 3, 6, 5).T
    assert np.array_equal(np.asarray(written.dataobj.get_unscaled()), stored)
    assert np.array_equal(written.affine @ [0, 0, 1, 1], [30, 40, 46, 1])


def test_rescales_of_slices_make_real_values(tmp_path: Path) -> None:
    series = make_series(3)
    for index, dataset in enumerate(series):
        dataset.RescaleSlope = 0.1 * (index + 1)
    image = DicomCubeImage.from_dicom_folder(series)
    with pytest.warns(UserWarning, match="differ in their rescale"):
        image.to_nifti(tmp_path / "a.nii")
    written = nib.load(tmp_path / "a.nii")
    assert written.get_data_dtype() == np.float64
    assert np.array_equal(written.get_fdata().T, image.get_fdata("float64"))


def test_overlay_bits_are_not_values(tmp_path: Path) -> None:
    series = make_series(3)
    for dataset in series:
        dataset.BitsStored, dataset.HighBit = 12, 11
    image = DicomCubeImage.from_dicom_folder(series)
    image.to_nifti(tmp_path / "a.nii")
    written = nib.load(tmp_path / "a.nii")
    assert np.asarray(written.dataobj.get_unscaled()).max() < 4096
    assert np.array_equal(written.get_fdata().T, image.get_fdata("float64"))


def test_series_over_time_is_four_dimensional(tmp_path: Path) -> None:
    series = [dataset for _ in range(3) for dataset in make_series(4)]
    for number, dataset in enumerate(series):
        dataset.SOPInstanceUID = f"1.2.3.{number}"
        dataset.InstanceNumber, dataset.TemporalPositionIdentifier = number + 1, number // 4 + 1
        dataset.RepetitionTime = 2500
        dataset.PixelData = np.full((6, 5), number, "<u2").tobytes()
    with pytest.warns(UserWarning, match="3 volumes of 4 slices"):
        image = DicomCubeImage.from_dicom_folder(series)
    image.to_nifti(tmp_path / "a.nii")
    written = nib.load(tmp_path / "a.nii")
    assert written.shape == (5, 6, 4, 3)
    assert written.header.get_zooms() == (0.75, 0.5, 2.5, 2.5)
    assert written.header.get_xyzt_units() == ("mm", "sec")
    image.volumes()[1].to_nifti(tmp_path / "b.nii")
    alone = nib.load(tmp_path / "b.nii")
    assert np.array_equal(written.get_fdata()[..., 1], alone.get_fdata())
    assert np.array_equal(written.affine, alone.affine)


# --------------------------------------------------------------------------------- NIfTI to DICOM


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("judge", ["dcm2niix", "SimpleITK", "pydicom"])
def test_made_series_lies_where_nifti_says(tmp_path: Path, name: str, judge: str) -> None:
    (tmp_path / "a.nii").write_bytes(
        nifti_bytes(samples((7, 6, 5), "i2"), affine=affine_of(name), slope=(2, -3))
    )
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    image.init_meta(modality="MR", patient_name="DOE^JANE", patient_id="17")
    image.to_dicom_folder(tmp_path / "out")
    source = nib.load(tmp_path / "a.nii")
    if judge == "dcm2niix":
        (found,) = dcm2niix(tmp_path / "out", tmp_path / "back")
        assert_same_but_for_flips(found, source)
    elif judge == "SimpleITK":
        assert_same_but_for_flips(by_simpleitk(tmp_path / "out"), source)
    else:
        assert_slices_lie_where(source, sorted((tmp_path / "out").iterdir()))


def assert_slices_lie_where(source: Any, paths: list[Path]) -> None:
    """By pydicom and PS3.3 C.7.6.2.1.1: each corner of each slice, and its values."""
    datasets = [dcmread(path) for path in paths]
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == len(datasets)
    assert {dataset.SOPClassUID.name for dataset in datasets} == {"MR Image Storage"}
    assert {str(dataset.PatientName) for dataset in datasets} == {"DOE^JANE"}
    for index, dataset in enumerate(datasets):
        directions = np.array(dataset.ImageOrientationPatient).reshape(2, 3)
        between_rows, between_columns = dataset.PixelSpacing
        for column, row in ((0, 0), (6, 0), (0, 5), (6, 5)):
            place = np.array(dataset.ImagePositionPatient, float)
            place += directions[0] * between_columns * column + directions[1] * between_rows * row
            told = nib.affines.apply_affine(source.affine, [column, row, index])
            assert np.allclose(place, told * [-1, -1, 1], rtol=0, atol=1e-4)
        real = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        assert np.array_equal(real, source.get_fdata()[..., index].T)


@pytest.mark.parametrize("modality", ["CT", "MR", "PT", "OT"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "RGB"])
def test_made_series_of_each_kind(tmp_path: Path, dtype: str, modality: str) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes(samples((7, 6, 5), dtype)))
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    image.init_meta(modality)
    image.to_dicom_folder(tmp_path / "out")
    (found,) = dcm2niix(tmp_path / "out", tmp_path / "back")
    source = nib.load(tmp_path / "a.nii")
    if dtype == "RGB":
        found, source = (nib.as_closest_canonical(one) for one in (found, source))
        assert same(np.asarray(found.dataobj), np.asarray(source.dataobj))
        assert np.allclose(found.affine, source.affine, rtol=0, atol=1e-3)
        return
    assert_same_but_for_flips(found, source)
    assert_same_but_for_flips(by_simpleitk(tmp_path / "out"), source)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_floating_point_samples_stay_what_they_are(tmp_path: Path, dtype: str) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes(samples((7, 6, 5), dtype)))
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    image.init_meta("MR")
    image.to_dicom_folder(tmp_path / "out")
    again = DicomCubeImage.from_dicom_folder(tmp_path / "out")
    assert same(again.raw_image, image.raw_image)
    (found,) = dcm2niix(tmp_path / "out", tmp_path / "back")
    wanted = nib.as_closest_canonical(nib.load(tmp_path / "a.nii")).get_fdata()
    assert np.array_equal(nib.as_closest_canonical(found).get_fdata(), wanted, equal_nan=True)


@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_samples_of_64_bits_are_refused(tmp_path: Path, dtype: str) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes(samples((7, 6, 5), dtype)))
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    image.init_meta("MR")
    with pytest.raises(DataConsistencyError, match="can't be written as DICOM"):
        image.to_dicom_folder(tmp_path / "out")


@pytest.mark.filterwarnings(SEVERAL_VOLUMES)
@pytest.mark.parametrize("modality", ["MR", "CT", "PT", "OT"])
def test_volumes_make_a_series_of_volumes(tmp_path: Path, modality: str) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes(samples((7, 6, 5, 3), "i2"), slope=(2, -3)))
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    image.init_meta(modality)
    assert len(image.volumes()) == 3
    image.to_dicom_folder(tmp_path / "out")
    again = DicomCubeImage.from_dicom_folder(tmp_path / "out")
    assert [volume.shape for volume in again.volumes()] == [(5, 6, 7)] * 3
    again.to_nifti(tmp_path / "b.nii")
    one, two = (nib.load(tmp_path / name) for name in ("a.nii", "b.nii"))
    assert np.array_equal(one.get_fdata(), two.get_fdata())
    assert np.allclose(one.affine, two.affine, rtol=0, atol=1e-5)
    assert two.header.get_zooms() == pytest.approx(one.header.get_zooms())
    (found,) = dcm2niix(tmp_path / "out", tmp_path / "back")
    assert found.shape == (7, 6, 5, 3)
    canonical = [nib.as_closest_canonical(image).get_fdata() for image in (one, found)]
    assert np.array_equal(*canonical)


def test_rescale_that_decimal_text_cannot_hold(tmp_path: Path) -> None:
    space = Space(shape=(1, 2, 3))
    image = DicomCubeImage(np.ones((1, 2, 3), np.int16), space=space)
    image.init_meta("CT")
    slope = float(np.float32(0.1))
    image.pixel_header.RescaleSlope = slope
    with pytest.warns(UserWarning, match=r"RescaleSlope 0\.10000000149011612 is written as"):
        image.to_dicom_folder(tmp_path / "a")
    written = dcmread(tmp_path / "a" / "slice_0000.dcm")
    assert len(written.RescaleSlope.original_string) <= 16
    assert float(written.RescaleSlope) == pytest.approx(slope, rel=1e-13)
    assert np.float32(written.RescaleSlope) == np.float32(slope)
    image.pixel_header.RescaleSlope = np.nan
    with pytest.raises(DataConsistencyError, match="can't store a rescale"):
        image.to_dicom_folder(tmp_path / "b")


def test_decimal_text_is_never_too_long(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes(samples((7, 6, 5), "i2")))
    image = DicomCubeImage.from_nifti(tmp_path / "a.nii")
    image.init_meta("MR")
    image.to_dicom_folder(tmp_path / "out")
    for element in dcmread(tmp_path / "out" / "slice_0002.dcm"):
        if element.VR == "DS" and element.value is not None:
            values = element.value if element.VM > 1 else [element.value]
            assert all(len(value.original_string) <= 16 for value in values)


# ---------------------------------------------------------------------------------- command line


def converted(*arguments: object) -> None:
    assert main(["convert", *map(str, arguments)]) == 0


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = nifti_bytes(samples((7, 6, 5), "i2"), affine=affine_of("axial"))
    (tmp_path / "a.nii").write_bytes(data)
    converted(tmp_path / "a.nii", tmp_path / "a.dcbs")
    converted(tmp_path / "a.dcbs", tmp_path / "b.nii.gz")
    converted(tmp_path / "b.nii.gz", tmp_path / "b.dcba")
    converted(tmp_path / "b.dcba", tmp_path / "c.nii")
    assert (tmp_path / "c.nii").read_bytes() == data
    converted(tmp_path / "a.nii", tmp_path / "dicom", "--modality", "MR")
    assert dcmread(tmp_path / "dicom" / "slice_0000.dcm").Modality == "MR"
    converted(tmp_path / "b.dcba", tmp_path / "of_file", "--modality", "PT")
    assert dcmread(tmp_path / "of_file" / "slice_0000.dcm").Modality == "PT"
    htj2k = tmp_path / "htj2k"
    converted(tmp_path / "a.dcbs", htj2k, "--modality", "PT", "--transfer-syntax", "htj2k")
    assert dcmread(htj2k / "slice_0000.dcm").Modality == "PT"
    assert dcmread(htj2k / "slice_0000.dcm").file_meta.TransferSyntaxUID == HTJ2KLossless
    converted(tmp_path / "dicom", tmp_path / "d.nii")
    assert np.array_equal(
        nib.load(tmp_path / "d.nii").get_fdata(), nib.load(tmp_path / "a.nii").get_fdata()
    )
    assert main(["info", str(tmp_path / "a.dcbs")]) == 0
    assert "[nifti]" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "a.dcbs")]) == 0


def test_command_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes(samples((7, 6, 5), "i2")))
    (tmp_path / "bad.nii.gz").write_bytes(b"no")
    converted(tmp_path / "a.nii", tmp_path / "dicom")
    converted(tmp_path / "dicom", tmp_path / "has_meta.dcbs")
    for arguments, message in (
        (["a.nii", "a.nii"], "--overwrite"),
        (["bad.nii.gz", "a.dcbs"], "not a NIfTI file"),
        (["a.nii", "a.dcbs", "--modality", "MR"], "--modality"),
        (["dicom", "a.dcbs", "--modality", "MR"], "--modality"),
        (["has_meta.dcbs", "dicom2/", "--modality", "MR"], "--modality"),
        (
            ["has_meta.dcbs", "dicom2/", "--modality", "MR", "--transfer-syntax", "htj2k"],
            "--modality",
        ),
        (["a.nii", "a.dcbs", "--sort", "position"], "reading DICOM, not NIfTI"),
    ):
        paths = [os.path.join(tmp_path, name) for name in arguments[:2]]
        assert main(["convert", *paths, *arguments[2:]]) == 1
        assert message in capsys.readouterr().err
