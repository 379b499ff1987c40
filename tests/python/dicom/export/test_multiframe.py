"""multiframe, converted_elements: a series as one multi-frame instance."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_frames import enhanced
from inputs.dicom_series import each, item, make_series, set_pixels, write_series
from inputs.peers import pixels_by_gdcm
from programs.running import needs
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    MRImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
)

from dicube import DicomCubeImage
from dicube.dicom.series.geometry import same_space
from dicube.exceptions import DataConsistencyError, TargetExistsError

LEGACY = {
    "CT": ("1.2.840.10008.5.1.4.1.1.2.2", "CTImageFrameTypeSequence"),
    "MR": ("1.2.840.10008.5.1.4.1.1.4.4", "MRImageFrameTypeSequence"),
    "PT": ("1.2.840.10008.5.1.4.1.1.128.1", "PETFrameTypeSequence"),
}
CLASSES = {"MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}


def classic(modality: str = "CT", count: int = 4, **kind: Any) -> list[Dataset]:
    """A series with elements of each sort: shared, per slice, private, of no functional group."""
    datasets = make_series(count, **kind)
    for index, dataset in enumerate(datasets):
        dataset.Modality = modality
        dataset.SOPClassUID = CLASSES.get(modality, dataset.SOPClassUID)
        dataset.FrameOfReferenceUID = "1.2.3"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.KVP = 120
        dataset.XRayTubeCurrent = 100 + index
        dataset.WindowCenter, dataset.WindowWidth = 40 + index, 400
        dataset.AcquisitionDate, dataset.AcquisitionTime = "20240102", f"1112{index:02}"
        dataset.private_block(0x0029, "ACME", create=True).add_new(1, "LO", "always")
        dataset.private_block(0x0029, "ACME").add_new(2, "IS", str(index))
    return datasets


def read(folder: Path, datasets: list[Dataset]) -> DicomCubeImage:
    return DicomCubeImage.from_dicom_folder(write_series(folder, datasets))


@pytest.mark.parametrize("syntax", ["explicit", "htj2k", "htj2k-rpcl", "jpegxl"])
@pytest.mark.parametrize("modality", LEGACY)
def test_a_series_comes_back_from_one_file(tmp_path: Path, modality: str, syntax: str) -> None:
    image = read(tmp_path / "in", classic(modality))
    path = tmp_path / "all.dcm"
    image.to_dicom_file(path, syntax)
    again = DicomCubeImage.from_dicom_folder(path)
    np.testing.assert_array_equal(again.raw_image, image.raw_image)
    np.testing.assert_array_equal(again.get_fdata(), image.get_fdata())
    assert again.dicom_status == image.dicom_status
    assert same_space(again.space, image.space)
    assert again.pixel_header == image.pixel_header
    sources, found = image.dicom_meta, again.dicom_meta
    assert sources is not None and found is not None
    replaced = {"SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber", "ImageType"}
    for key in sources.entries:
        keyword = pydicom.datadict.keyword_for_tag(key)
        if keyword not in replaced:
            told = found.get(key, force_nonshared=True)
            assert told == sources.get(key, force_nonshared=True), key


def test_where_the_elements_are(tmp_path: Path) -> None:
    image = read(tmp_path / "in", classic())
    image.to_dicom_file(tmp_path / "all.dcm")
    dataset = pydicom.dcmread(tmp_path / "all.dcm")
    sop_class, frame_type = LEGACY["CT"]
    assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID == sop_class
    assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
    assert dataset.NumberOfFrames == len(dataset.PerFrameFunctionalGroupsSequence) == 4
    assert dataset.ImageType == ["ORIGINAL", "PRIMARY", "AXIAL", "NONE"]
    assert (dataset.PatientName, dataset.StudyID, dataset.AcquisitionDateTime) == (
        *("DOE^JOHN", ""),
        "20240102111200",
    )
    shared = dataset.SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.5, 0.75]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    assert shared.PixelValueTransformationSequence[0].RescaleType == "HU"
    assert shared[frame_type][0].FrameType == dataset.ImageType
    rest = shared.UnassignedSharedConvertedAttributesSequence[0]
    assert (rest.KVP, rest.SeriesInstanceUID) == (120, "1.2.826.0.1.3680043.8.498.1")
    assert rest.private_block(0x0029, "ACME")[1].value == "always"
    assert dataset.SeriesInstanceUID != rest.SeriesInstanceUID
    for index, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        assert groups.PlanePositionSequence[0].ImagePositionPatient[2] == 2.5 * index
        assert groups.FrameVOILUTSequence[0].WindowCenter == 40 + index
        assert groups.FrameContentSequence[0].DimensionIndexValues == [1, index + 1]
        source = groups.ConversionSourceAttributesSequence[0]
        assert source.ReferencedSOPInstanceUID.endswith(f".{index + 1}")
        own = groups.UnassignedPerFrameConvertedAttributesSequence[0]
        assert (own.XRayTubeCurrent, own.InstanceNumber) == (100 + index, index + 1)
        assert own.private_block(0x0029, "ACME")[2].value == index
    pointers = [item.DimensionIndexPointer for item in dataset.DimensionIndexSequence]
    assert pointers == [0x00209056, 0x00209057]


@pytest.mark.parametrize("uids", [["1", "1", "1", "1"], ["1", "2", "", "1"]], ids=" ".join)
def test_images_referred_to_have_a_macro_of_their_own(tmp_path: Path, uids: list[str]) -> None:
    datasets = classic()
    for dataset, uid in zip(datasets, uids, strict=True):
        if uid:
            kind = {"ReferencedSOPClassUID": MRImageStorage, "ReferencedSOPInstanceUID": uid}
            dataset.ReferencedImageSequence = [item(**kind)]
    read(tmp_path / "in", datasets).to_dicom_file(tmp_path / "all.dcm")
    found = pydicom.dcmread(tmp_path / "all.dcm")
    shared = found.SharedFunctionalGroupsSequence[0]
    groups = [shared] * 4 if len(set(uids)) == 1 else found.PerFrameFunctionalGroupsSequence
    told = [[image.ReferencedSOPInstanceUID for image in g.ReferencedImageSequence] for g in groups]
    assert told == [[uid] if uid else [] for uid in uids]
    assert ("ReferencedImageSequence" in shared) == (len(set(uids)) == 1)


def test_twice_makes_the_same_file(tmp_path: Path) -> None:
    image = read(tmp_path / "in", classic())
    image.to_dicom_file(tmp_path / "a.dcm", "htj2k")
    image.to_dicom_file(tmp_path / "b.dcm", "htj2k")
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    with pytest.raises(TargetExistsError, match=r"a\.dcm already exists"):
        image.to_dicom_file(tmp_path / "a.dcm")
    image.to_dicom_file(tmp_path / "a.dcm", overwrite=True)
    assert len(pydicom.dcmread(tmp_path / "a.dcm").pixel_array) == 4


@pytest.mark.parametrize("syntax", ["explicit", "htj2k", "htj2k-rpcl"])
@pytest.mark.parametrize("modality", LEGACY)
def test_gdcm_and_openjpeg_read_it(tmp_path: Path, modality: str, syntax: str) -> None:
    pytest.importorskip("openjpeg")
    image = read(tmp_path / "in", classic(modality))
    image.to_dicom_file(tmp_path / "all.dcm", syntax)
    np.testing.assert_array_equal(pixels_by_gdcm(tmp_path / "all.dcm"), image.raw_image)
    if syntax != "explicit":
        dataset = pydicom.dcmread(tmp_path / "all.dcm")
        dataset.pixel_array_options(decoding_plugin="pylibjpeg")
        np.testing.assert_array_equal(dataset.pixel_array, image.raw_image)


@pytest.mark.parametrize(
    ("dtype", "shape", "sop_class"),
    [
        ("uint8", (6, 5), MultiFrameGrayscaleByteSecondaryCaptureImageStorage),
        ("uint16", (6, 5), MultiFrameGrayscaleWordSecondaryCaptureImageStorage),
        ("uint8", (6, 5, 3), MultiFrameTrueColorSecondaryCaptureImageStorage),
    ],
)
def test_secondary_captures(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], sop_class: UID
) -> None:
    datasets = classic("OT", dtype=dtype, shape=shape)
    for dataset in datasets:
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.RescaleIntercept = -7
    image = read(tmp_path / "in", datasets)
    image.to_dicom_file(tmp_path / "all.dcm")
    dataset = pydicom.dcmread(tmp_path / "all.dcm")
    assert dataset.SOPClassUID == sop_class
    assert dataset.FrameIncrementPointer == 0x52009230
    np.testing.assert_array_equal(dataset.pixel_array, image.raw_image)
    again = DicomCubeImage.from_dicom_folder(tmp_path / "all.dcm")
    np.testing.assert_array_equal(again.get_fdata(), image.get_fdata())
    assert same_space(again.space, image.space)


def test_rescale_of_each_slice(tmp_path: Path) -> None:
    datasets = each(classic("PT"), "RescaleSlope", [1.5, 2, 2.5, 3])
    image = read(tmp_path / "in", datasets)
    image.to_dicom_file(tmp_path / "all.dcm")
    again = DicomCubeImage.from_dicom_folder(tmp_path / "all.dcm")
    np.testing.assert_array_equal(again.get_fdata(), image.get_fdata())


def test_frames_of_one_file_make_one_again(tmp_path: Path) -> None:
    image = read(tmp_path / "in", [enhanced(3)])
    image.to_dicom_file(tmp_path / "all.dcm", "htj2k")
    again = DicomCubeImage.from_dicom_folder(tmp_path / "all.dcm")
    np.testing.assert_array_equal(again.raw_image, image.raw_image)
    assert again.dicom_meta is not None and again.dicom_meta.get("PatientName") == "DOE^JOHN"
    assert pydicom.dcmread(tmp_path / "all.dcm").SOPClassUID.endswith("1.1.4.1")


def test_slices_that_repeat_have_no_dimensions(tmp_path: Path) -> None:
    datasets = classic("MR")
    for dataset, same in zip(datasets[2:], datasets, strict=False):
        dataset.ImagePositionPatient = same.ImagePositionPatient
    with pytest.warns(UserWarning, match="space is None"):
        image = read(tmp_path / "in", datasets)
    image.to_dicom_file(tmp_path / "all.dcm")
    assert "DimensionIndexSequence" not in pydicom.dcmread(tmp_path / "all.dcm")
    with pytest.warns(UserWarning, match="space is None"):
        again = DicomCubeImage.from_dicom_folder(tmp_path / "all.dcm")
    assert again.dicom_status == image.dicom_status
    assert len(again.volumes()) == len(image.volumes())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"SOPClassUID": DigitalXRayImageStorageForPresentation},
            "X-Ray .* no multi-frame form",
        ),
        (
            {"PhotometricInterpretation": "MONOCHROME1"},
            r"no multi-frame form for MONOCHROME1 .* MONOCHROME2 integers \(PS3\.3",
        ),
        (
            {
                "SOPClassUID": SecondaryCaptureImageStorage,
                "PhotometricInterpretation": "MONOCHROME1",
            },
            r"1 MONOCHROME1 samples of uint16.* MONOCHROME2 \(PS3\.3",
        ),
    ],
)
def test_what_has_no_multi_frame_form(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    datasets = classic()
    for dataset in datasets:
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
    image = read(tmp_path / "in", datasets)
    with pytest.raises(DataConsistencyError, match=message):
        image.to_dicom_file(tmp_path / "all.dcm")
    assert not (tmp_path / "all.dcm").exists()


@pytest.mark.filterwarnings("ignore:Invalid value for VR IS")
@pytest.mark.parametrize("count", ["1A", "1\\2\\3 "])
def test_a_number_of_frames_that_is_none(tmp_path: Path, count: str) -> None:
    datasets = classic()
    for dataset in datasets:
        tag = Tag("NumberOfFrames")
        dataset[tag] = RawDataElement(tag, "IS", len(count), count.encode(), 0, False, True)
    image = read(tmp_path / "in", datasets)
    image.to_dicom_file(tmp_path / "all.dcm")
    again = DicomCubeImage.from_dicom_folder(tmp_path / "all.dcm")
    np.testing.assert_array_equal(again.raw_image, image.raw_image)


def test_several_patients_make_no_file(tmp_path: Path) -> None:
    image = read(tmp_path / "in", each(classic(), "PatientID", ["1", "1", "2", "1"]))
    with pytest.raises(
        DataConsistencyError, match=r"slice 2: \(0010,0020\) PatientID differs from slice 0"
    ):
        image.to_dicom_file(tmp_path / "all.dcm")


def test_bits_stored_that_differ(tmp_path: Path) -> None:
    datasets = classic()
    for index, dataset in enumerate(datasets):
        set_pixels(dataset, dataset.pixel_array >> (4 + index))
        dataset.BitsStored, dataset.HighBit = 12 - index, 11 - index
    image = read(tmp_path / "in", datasets)
    for syntax in ("explicit", "htj2k"):
        image.to_dicom_file(tmp_path / f"{syntax}.dcm", syntax)
        dataset = pydicom.dcmread(tmp_path / f"{syntax}.dcm")
        assert (dataset.BitsStored, dataset.HighBit) == (12, 11)


CAPTURED = {
    "gray": {"dtype": "uint8"},
    "gray16": {"dtype": "uint16"},
    "colour": {"dtype": "uint8", "shape": (6, 5, 3)},
}


@pytest.mark.parametrize("kind", [*LEGACY, *CAPTURED])
def test_dciodvfy_finds_no_error(tmp_path: Path, kind: str) -> None:
    (dciodvfy,) = needs("dciodvfy")
    datasets = classic("OT" if kind in CAPTURED else kind, **CAPTURED.get(kind, {}))
    for dataset in datasets:
        dataset.PatientPosition, dataset.BodyPartExamined = "HFS", "HEAD"
        dataset.StudyDate = dataset.SeriesDate = "20240102"
        dataset.StudyTime = dataset.SeriesTime = "101010"
        if kind in CAPTURED:
            dataset.SOPClassUID = SecondaryCaptureImageStorage
            del dataset.RescaleIntercept, dataset.RescaleSlope
    image = read(tmp_path / "in", datasets)
    image.to_dicom_file(tmp_path / "all.dcm")
    told = subprocess.run(
        [dciodvfy, "-new", str(tmp_path / "all.dcm")], capture_output=True, text=True, check=False
    )
    errors = [line for line in (told.stderr + told.stdout).splitlines() if "Error" in line]
    assert ("SCImage" if kind in CAPTURED else "LegacyConvertedEnhanced") in told.stderr
    assert not errors
