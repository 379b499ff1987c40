"""Faults of the published package 0.3.0, which loses or falsifies data: dicube has none of them.

Each test is named after the number of a measured fault. Unless a test says otherwise, a series is
converted from DICOM files to a dicube file and back, once restored byte for byte and once rebuilt
from the metadata.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_series import each, item, make_series, make_slice, set_pixels, write_series
from programs.running import run_python
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from dicube import DicomCubeImage, DicomStatus, check_dicom, get_dicom_status, read_dicom_dir
from dicube.codecs import get_codec
from dicube.dicom.series.geometry import Space
from dicube.exceptions import (
    CodecError,
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    MetaDataError,
    TargetExistsError,
)

RoundTrip = Callable[..., list[Dataset]]


@pytest.fixture(params=[(".dcbs", True), (".dcbs", False), (".dcba", False)], ids=str)
def round_trip(request: pytest.FixtureRequest, tmp_path: Path) -> RoundTrip:
    """Write datasets, convert them there and back; return what came back, by SOPInstanceUID."""
    extension, exact = request.param

    def convert(datasets: Sequence[Dataset], names: Sequence[str] = ()) -> list[Dataset]:
        folder = write_series(tmp_path / "in", datasets, names)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            image = DicomCubeImage.from_dicom_folder(folder)
        path = tmp_path / f"x{extension}"
        image.to_file(path, exact=exact)
        DicomCubeImage.from_file(path).to_dicom_folder(tmp_path / "out")
        paths = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        found = {str(one.SOPInstanceUID): one for one in map(pydicom.dcmread, paths)}
        assert len(found) == len(paths) == len(datasets)
        return [found[str(dataset.SOPInstanceUID)] for dataset in datasets]

    return convert


def shuffled(count: int) -> list[str]:
    """Names whose order is not that of the slices."""
    names = [f"{index:03d}" for index in range(count)]
    random.Random(3).shuffle(names)
    return names


# --------------------------------------------------------------------- 1 to 5: what metadata hold


def test_1_values_inside_sequences_stay_with_their_slice(round_trip: RoundTrip) -> None:
    series = make_series(8)
    for index, dataset in enumerate(series):
        inner = item(CodeValue=f"inner {index}")
        dataset.ReferencedImageSequence = [
            item(ReferencedSOPInstanceUID=f"1.2.{index}", PurposeOfReferenceCodeSequence=[inner])
        ]
    for index, dataset in enumerate(round_trip(series, shuffled(8))):
        (found,) = dataset.ReferencedImageSequence
        assert found.ReferencedSOPInstanceUID == f"1.2.{index}"
        assert found.PurposeOfReferenceCodeSequence[0].CodeValue == f"inner {index}"


def test_2_every_item_of_a_sequence_is_exported(round_trip: RoundTrip) -> None:
    series = make_series(3)
    for index, dataset in enumerate(series):
        dataset.ReferencedImageSequence = [
            item(ReferencedSOPInstanceUID=f"1.2.{number}") for number in range(2 + index)
        ]
    for index, dataset in enumerate(round_trip(series)):
        uids = [found.ReferencedSOPInstanceUID for found in dataset.ReferencedImageSequence]
        assert uids == [f"1.2.{number}" for number in range(2 + index)]


@pytest.mark.parametrize("differing", [False, True])
@pytest.mark.parametrize("size", [16, 10240, 200_000])
def test_3_and_4_binary_of_any_size_is_kept(
    round_trip: RoundTrip, size: int, differing: bool
) -> None:
    series = make_series(4)
    for index, dataset in enumerate(series):
        data = np.random.default_rng(index if differing else 0).bytes(size)
        dataset.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")
        dataset.add_new(0x00291010, "OB", data)
        dataset.IconImageSequence = [item()]
        dataset.IconImageSequence[0].add_new(0x00291010, "OB", data[::-1])
    for dataset, original in zip(round_trip(series, shuffled(4)), series, strict=True):
        assert dataset[0x00291010].value == original[0x00291010].value
        nested = dataset.IconImageSequence[0][0x00291010].value
        assert nested == original[0x00291010].value[::-1]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientWeight", "70.5"),
        ("EchoNumbers", "3"),
        ("StudyDescription", "text"),
        ("SmallestImagePixelValue", 7),
        ("TriggerTime", "12.50"),
        ("StudyDate", "20200101"),
    ],
)
@pytest.mark.parametrize("lacking", [[0], [3], [1, 2], [0, 1, 2]])
def test_5_an_element_may_be_absent_in_some_slices(
    round_trip: RoundTrip, keyword: str, value: Any, lacking: list[int]
) -> None:
    """5b too: whichever slice lacks it, the others keep theirs."""
    series = make_series(4)
    for index, dataset in enumerate(series):
        if index not in lacking:
            setattr(dataset, keyword, value)
    for index, dataset in enumerate(round_trip(series, shuffled(4))):
        assert (keyword in dataset) == (index not in lacking)
        if keyword in dataset:
            assert str(dataset[keyword].value) == str(value)


def test_5_absent_is_not_empty(round_trip: RoundTrip) -> None:
    series = make_series(3)
    series[0].StudyDescription = "text"
    series[1].StudyDescription = ""
    found = round_trip(series)
    assert [dataset.get("StudyDescription") for dataset in found] == ["text", "", None]


# ----------------------------------------------------------------------------- 6 to 9: the pixels


@pytest.mark.parametrize(("slope", "intercept"), [("1", "-1024"), ("0.0123", "-7.3"), ("2", "0.5")])
def test_6_stored_values_are_not_rescaled(
    round_trip: RoundTrip, tmp_path: Path, slope: str, intercept: str
) -> None:
    series = make_series(3)
    for dataset in series:
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    stored = [dataset.pixel_array for dataset in series]
    for dataset, expected in zip(round_trip(series), stored, strict=True):
        np.testing.assert_array_equal(dataset.pixel_array, expected)
        assert dataset.RescaleSlope.original_string == slope
        assert dataset.RescaleIntercept.original_string == intercept
    image = DicomCubeImage.from_file(next(tmp_path.glob("x.*")))
    np.testing.assert_array_equal(image.raw_image, stored)
    real = np.array(stored, float) * float(slope) + float(intercept)
    np.testing.assert_allclose(image.get_fdata("float64"), real, rtol=1e-12)


def test_6_each_slice_has_its_own_rescale(round_trip: RoundTrip, tmp_path: Path) -> None:
    series = each(make_series(3), "RescaleSlope", ["0.1", "0.2", "0.35"])
    found = round_trip(series)
    assert [dataset.RescaleSlope.original_string for dataset in found] == ["0.1", "0.2", "0.35"]
    image = DicomCubeImage.from_file(next(tmp_path.glob("x.*")))
    slopes = np.reshape([0.1, 0.2, 0.35], (3, 1, 1))
    real = np.array([d.pixel_array for d in series], float) * slopes - 1024
    np.testing.assert_allclose(image.get_fdata("float64"), real, rtol=1e-12)


def test_7_padding_means_the_stored_values_that_it_meant(round_trip: RoundTrip) -> None:
    series = make_series(2, dtype="int16")
    for dataset in series:
        pixels = dataset.pixel_array.copy()
        pixels[0] = -2000
        set_pixels(dataset, pixels)
        dataset.add_new(0x00280120, "SS", -2000)
        dataset.add_new(0x00280106, "SS", -32768)
    for dataset in round_trip(series):
        assert dataset["PixelPaddingValue"].VR == "SS"
        assert (dataset.pixel_array[0] == dataset.PixelPaddingValue).all()
        assert dataset.SmallestImagePixelValue == -32768


@pytest.mark.parametrize("signed", [0, 1])
def test_8_what_describes_the_pixels_stays(round_trip: RoundTrip, signed: int) -> None:
    series = make_series(2, dtype="int16" if signed else "uint16")
    for dataset in series:
        set_pixels(dataset, dataset.pixel_array & 0x07FF)
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.PhotometricInterpretation = "MONOCHROME1"
        del dataset.RescaleSlope, dataset.RescaleIntercept
    for dataset in round_trip(series):
        assert (dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit) == (16, 12, 11)
        assert dataset.PixelRepresentation == signed
        assert dataset.PhotometricInterpretation == "MONOCHROME1"
        assert dataset.SamplesPerPixel == 1
        assert "RescaleSlope" not in dataset
        assert "RescaleIntercept" not in dataset


def test_8_the_element_of_the_pixels_stays(round_trip: RoundTrip) -> None:
    series = make_series(2, dtype="uint8")
    for dataset in series:
        dataset["PixelData"].VR = "OW"
    assert {dataset["PixelData"].VR for dataset in round_trip(series)} == {"OW"}


def test_8_bits_above_bits_stored_stay(round_trip: RoundTrip) -> None:
    """As overlays in old files are."""
    series = make_series(2)
    for dataset in series:
        dataset.BitsStored, dataset.HighBit = 12, 11
    originals = [bytes(dataset.PixelData) for dataset in series]
    found = round_trip(series)
    assert [bytes(dataset.PixelData) for dataset in found] == originals
    assert {(dataset.BitsStored, dataset.HighBit) for dataset in found} == {(12, 11)}


def test_8_no_number_is_written_longer_than_it_may_be(tmp_path: Path) -> None:
    image = DicomCubeImage(np.zeros((2, 3, 4), np.uint16))
    image.init_meta()
    image.pixel_header.RescaleSlope = 0.012345678901234567
    image.pixel_header.RescaleIntercept = -1 / 3
    with pytest.warns(UserWarning, match="nearest number"):
        image.to_dicom_folder(tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        dataset = pydicom.dcmread(path)
        for keyword in ("RescaleSlope", "RescaleIntercept"):
            assert len(dataset[keyword].value.original_string) <= 16


@pytest.mark.parametrize("planar", [0, 1])
def test_9_colour(round_trip: RoundTrip, planar: int) -> None:
    series = make_series(2, shape=(4, 5, 3), dtype="uint8")
    for dataset in series:
        dataset.PlanarConfiguration = planar
    expected = [dataset.pixel_array for dataset in series]
    for dataset, pixels in zip(round_trip(series), expected, strict=True):
        np.testing.assert_array_equal(dataset.pixel_array, pixels)
        assert dataset.PlanarConfiguration == planar
        assert dataset.PhotometricInterpretation == "RGB"


def test_9_frames_of_one_file(round_trip: RoundTrip) -> None:
    dataset = make_slice()
    frames = np.random.default_rng(0).integers(0, 4096, (7, 6, 5), "uint16")
    dataset.NumberOfFrames = 7
    set_pixels(dataset, frames)
    (found,) = round_trip([dataset])
    assert found.NumberOfFrames == 7
    np.testing.assert_array_equal(found.pixel_array, frames)


def test_9_no_two_files_are_one_instance(tmp_path: Path) -> None:
    image = DicomCubeImage(np.zeros((64, 4, 4), np.uint8))
    image.init_meta()
    image.to_dicom_folder(tmp_path / "out")
    uids = {str(pydicom.dcmread(path).SOPInstanceUID) for path in (tmp_path / "out").iterdir()}
    assert len(uids) == 64


# ------------------------------------------------------ 10 to 14: where slices are, and whose


AXIAL = {"x_orientation": (0, 0, 1), "y_orientation": (0, 1, 0), "z_orientation": (1, 0, 0)}
SAGITTAL = {"x_orientation": (1, 0, 0), "y_orientation": (0, 0, -1), "z_orientation": (0, 1, 0)}
OBLIQUE = {
    "x_orientation": (0, -0.6, 0.8),
    "y_orientation": (0, 0.8, 0.6),
    "z_orientation": (1, 0, 0),
}


@pytest.mark.parametrize("axes", [AXIAL, SAGITTAL, OBLIQUE], ids=["axial", "sagittal", "oblique"])
def test_10_new_metadata_put_voxels_where_the_space_does(tmp_path: Path, axes: Any) -> None:
    space = Space(shape=(5, 6, 7), origin=(-10, 20, 30), spacing=(2.5, 0.9, 0.8), **axes)
    image = DicomCubeImage(np.zeros((5, 6, 7), np.int16), space=space)
    image.init_meta("MR")
    image.to_dicom_folder(tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        dataset = pydicom.dcmread(path)
        k = int(dataset.InstanceNumber) - 1
        along_row, along_column = np.reshape(dataset.ImageOrientationPatient, (2, 3)).astype(float)
        for row, column in ((0, 0), (5, 0), (0, 6), (5, 6)):
            # PS3.3 C.7.6.2.1.1; PixelSpacing is between rows, then between columns.
            point = np.array(dataset.ImagePositionPatient, float)
            point += along_row * float(dataset.PixelSpacing[1]) * column
            point += along_column * float(dataset.PixelSpacing[0]) * row
            expected = np.array(space.origin, float)
            for index, spacing, axis in zip(
                (k, row, column), space.spacing, ("x", "y", "z"), strict=True
            ):
                expected += index * spacing * np.array(getattr(space, f"{axis}_orientation"), float)
            np.testing.assert_allclose(point, expected, atol=1e-6)
        assert dataset.SOPClassUID.name == "MR Image Storage"


def test_11_a_tilted_gantry_loads(round_trip: RoundTrip, tmp_path: Path) -> None:
    series = make_series(6)
    each(series, "ImagePositionPatient", [[-10, 20 + 1.5 * i, 4.0 * i] for i in range(6)])
    assert len(round_trip(series)) == 6
    with pytest.warns(UserWarning, match="20.6 degrees"):
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    assert image.space is None
    assert image.dicom_status is DicomStatus.CONSISTENT
    assert image.dicom_meta is not None
    assert [finding.kind for finding in check_dicom(image.dicom_meta)] == ["tilted_gantry"]


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("missing", range(1, 9))
def test_12_a_missing_slice_is_noticed(tmp_path: Path, direction: int, missing: int) -> None:
    series = make_series(10)
    each(series, "ImagePositionPatient", [[0, 0, direction * 0.45 * i] for i in range(10)])
    del series[missing]
    each(series, "InstanceNumber", range(1, 10))
    with pytest.warns(UserWarning, match="gap_location"):
        image = DicomCubeImage.from_dicom_folder(write_series(tmp_path / "in", series))
    assert image.dicom_status is DicomStatus.GAP_LOCATION
    assert image.space is None


@pytest.mark.parametrize(
    ("numbers", "status"),
    [
        ([1] * 4, DicomStatus.DUPLICATE_INSTANCE_NUMBERS),
        ([1, 2, 2, 3], DicomStatus.DUPLICATE_INSTANCE_NUMBERS),
        ([1, 2, "", 3], DicomStatus.MISSING_INSTANCE_NUMBER),
        ([1, 2, ..., 3], DicomStatus.MISSING_INSTANCE_NUMBER),
        ([...] * 4, DicomStatus.MISSING_INSTANCE_NUMBER),
    ],
)
def test_13_instance_numbers_that_tell_nothing(
    tmp_path: Path, numbers: list[Any], status: DicomStatus
) -> None:
    series = each(make_series(4), "InstanceNumber", numbers)
    folder = write_series(tmp_path / "in", series, shuffled(4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        image = DicomCubeImage.from_dicom_folder(folder)
    assert image.dicom_status is status
    if len(set(map(str, numbers))) == 1:  # position orders them
        assert image.space is not None
        np.testing.assert_array_equal(image.raw_image, [d.pixel_array for d in series])


def test_14_two_series_are_not_one(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(4), ["a1", "b1", "c1", "d1"])
    other = each(make_series(4), "SeriesInstanceUID", ["1.2.3"] * 4)
    each(other, "SeriesDescription", ["another"] * 4)
    write_series(tmp_path / "in", each(other, "SOPInstanceUID", [f"1.9.{i}" for i in range(4)]))
    with pytest.raises(DataConsistencyError) as caught:
        DicomCubeImage.from_dicom_folder(tmp_path / "in")
    for told in ("2 series found", "4 files", "6 x 5", "series_uid="):
        assert told in str(caught.value)
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in", series_uid="1.2.3")
    assert image.dicom_meta is not None
    assert image.dicom_meta.get("SeriesDescription") == "another"
    assert len(image.raw_image) == 4


# ----------------------------------------------------------------------- 15 and 16: the files


def test_15_file_meta_and_the_text_of_numbers(round_trip: RoundTrip) -> None:
    series = make_series(4)
    for dataset in series:
        dataset.file_meta.SourceApplicationEntityTitle = "SCANNER"
        dataset.PixelSpacing = ["0.4200000", "+0.42"]
        dataset.SliceThickness = "2.50"
        dataset.InstanceNumber = f"00{dataset.InstanceNumber}"
    found = round_trip(series)
    assert {dataset.file_meta.SourceApplicationEntityTitle for dataset in found} == {"SCANNER"}
    assert len({dataset.file_meta.ImplementationClassUID for dataset in found}) == 1
    for index, dataset in enumerate(found):
        assert [n.original_string for n in dataset.PixelSpacing] == ["0.4200000", "+0.42"]
        assert dataset.SliceThickness.original_string == "2.50"
        assert dataset.InstanceNumber.original_string == f"00{index + 1}"
        meta = dataset.file_meta
        assert meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert meta.MediaStorageSOPClassUID == dataset.SOPClassUID


SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    HTJ2KLossless,
]


def in_syntax(dataset: Dataset, syntax: Any, path: Path) -> None:
    """Write a dataset in a transfer syntax, whatever plugins are installed."""
    pixels = dataset.pixel_array
    if syntax == RLELossless:
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax in (HTJ2KLossless, JPEG2000Lossless):
        dataset.PixelData = encapsulate([get_codec("jph").encode(pixels)])
        dataset["PixelData"].VR = "OB"
    elif syntax == ExplicitVRBigEndian:
        dataset.PixelData = pixels.astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    encoding = {}
    if syntax == ExplicitVRBigEndian:
        encoding = {"little_endian": False, "implicit_vr": False}
    dataset.save_as(path, enforce_file_format=True, **encoding)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_15_and_16_sources_that_need_no_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: Any
) -> None:
    series = make_series(3)
    pixels = [dataset.pixel_array for dataset in series]
    (tmp_path / "in").mkdir()
    for index, dataset in enumerate(series):
        in_syntax(dataset, syntax, tmp_path / "in" / f"I{index + 1}")
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    np.testing.assert_array_equal(image.raw_image, pixels)
    image.to_file(tmp_path / "x.dcbs")
    image = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    np.testing.assert_array_equal(image.raw_image, pixels)
    image.to_dicom_folder(tmp_path / "out")
    for path in (tmp_path / "in").iterdir():
        if syntax != RLELossless:  # decoded exactly; its bytes are not kept
            assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_16_what_can_not_be_decoded_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydicom.pixels.decoders import JPEG2000LosslessDecoder

    monkeypatch.setattr(JPEG2000LosslessDecoder, "_available", {})
    dataset = make_slice()
    in_syntax(dataset, JPEG2000Lossless, tmp_path / "I1")
    with pytest.raises(CodecError) as caught:
        DicomCubeImage.from_dicom_folder(tmp_path / "I1")
    for told in ("I1", "JPEG 2000", "dicom-codecs"):
        assert told in str(caught.value)


# ------------------------------------------------------------------------------ 18 to 20: saving


def test_18_one_slice(round_trip: RoundTrip, tmp_path: Path) -> None:
    (found,) = round_trip(make_series(1))
    path = next(tmp_path.glob("x.*"))
    image = DicomCubeImage.from_file(path)
    assert image.shape == (1, 6, 5)
    np.testing.assert_array_equal(image.raw_image[0], found.pixel_array)
    image.to_file(path)
    assert DicomCubeImage.from_file(path).shape == (1, 6, 5)
    flat = DicomCubeImage(found.pixel_array)
    flat.to_file(path)
    assert DicomCubeImage.from_file(path).shape == (1, 6, 5)


class TestExport19:
    """save_to_dicom_folder deletes the whole target folder first."""

    @pytest.fixture
    def image(self, tmp_path: Path) -> DicomCubeImage:
        write_series(tmp_path / "in", make_series(3))
        DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
        return DicomCubeImage.from_file(tmp_path / "x.dcbs")

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_what_is_in_the_folder_stays(
        self, image: DicomCubeImage, tmp_path: Path, overwrite: bool
    ) -> None:
        folder = tmp_path / "work"
        (folder / "sub").mkdir(parents=True)
        (folder / "thesis.txt").write_text("years of work")
        (folder / "sub" / "I1").write_text("mine")
        if overwrite:
            image.to_dicom_folder(folder, overwrite=True)
        else:
            with pytest.raises(TargetExistsError):
                image.to_dicom_folder(folder)
        assert (folder / "thesis.txt").read_text() == "years of work"
        assert (folder / "sub" / "I1").read_text() == "mine"

    def test_when_the_export_fails(self, image: DicomCubeImage, tmp_path: Path) -> None:
        folder = tmp_path / "work"
        folder.mkdir()
        (folder / "thesis.txt").write_text("years of work")
        image = DicomCubeImage(image.raw_image)
        with pytest.raises(MetaDataError):
            image.to_dicom_folder(folder, overwrite=True)
        assert (folder / "thesis.txt").read_text() == "years of work"

    def test_onto_the_originals(self, image: DicomCubeImage, tmp_path: Path) -> None:
        before = {path.name: path.read_bytes() for path in (tmp_path / "in").iterdir()}
        with pytest.raises(TargetExistsError):
            image.to_dicom_folder(tmp_path / "in")
        assert {path.name: path.read_bytes() for path in (tmp_path / "in").iterdir()} == before
        image.to_dicom_folder(tmp_path / "in", overwrite=True)
        for name, data in before.items():
            assert (tmp_path / "in" / name).read_bytes() == data


SAVE = """
import sys, numpy
from dicube import DicomCubeImage
values = numpy.random.default_rng(0).integers(0, 4096, (24, 128, 128), "uint16")
print("saving", flush=True)
DicomCubeImage(values).to_file(sys.argv[1])
"""


class TestSave20:
    """A save that fails or is killed destroys the file that was there."""

    @pytest.fixture(params=["x.dcbs", "x.dcba"])
    def path(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        path = tmp_path / request.param
        DicomCubeImage(np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4)).to_file(path)
        return path

    @pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
    @pytest.mark.parametrize("limit", [100, 5000, 100_000])
    def test_a_full_disk(self, path: Path, limit: int) -> None:
        before = path.read_bytes()
        code = (
            "import resource, signal\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n" + SAVE
        )
        result = run_python("-c", code, path)
        assert result.returncode != 0
        assert "CubeFileAccessError" in result.stderr
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="has no signals")
    @pytest.mark.parametrize("delay", [0.0, 0.005, 0.02])
    def test_kill(self, path: Path, delay: float) -> None:
        before = path.read_bytes()
        endless = SAVE.replace("(24, 128", "(2400, 128")
        with subprocess.Popen(
            [sys.executable, "-c", endless, str(path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(delay)
            os.kill(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert path.read_bytes() == before

    def test_an_error_of_the_codec(self, path: Path) -> None:
        before = path.read_bytes()
        image = DicomCubeImage(np.zeros((3, 4, 4), np.uint8))
        with pytest.raises(DataConsistencyError):
            image.to_file(path, effort=99)
        assert path.read_bytes() == before


# -------------------------------------------------------------------- section 9: folders and paths


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return write_series(tmp_path / "in", make_series(4))

    def test_other_files_are_passed_over_and_reported(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (folder / "notes.txt").write_text("text")
        (folder / "empty").write_bytes(b"")
        (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(300))
        (folder / "random").write_bytes(np.random.default_rng(0).bytes(5000))
        (folder / ".DS_Store").write_bytes(bytes(200))
        (folder / "sub").mkdir()
        with caplog.at_level("INFO"):
            assert DicomCubeImage.from_dicom_folder(folder).shape == (4, 6, 5)
        for name in ("notes.txt", "empty", "photo.jpg", "random"):
            assert name in caplog.text

    def test_nothing_to_load(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "text").mkdir()
        (tmp_path / "text" / "notes.txt").write_text("text")
        for name in ("empty", "text"):
            with pytest.raises(MetaDataError, match="no DICOM"):
                DicomCubeImage.from_dicom_folder(tmp_path / name)
        with pytest.raises(FileNotFoundError):
            DicomCubeImage.from_dicom_folder(tmp_path / "none")
        with pytest.raises(DicomCubeError):
            DicomCubeImage.from_dicom_folder(tmp_path / "text" / "notes.txt")

    def test_slices_in_a_folder_inside(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "outer").mkdir()
        shutil.move(folder, tmp_path / "outer" / "inner")
        assert DicomCubeImage.from_dicom_folder(tmp_path / "outer").shape == (4, 6, 5)

    def test_shapes_that_differ(self, folder: Path) -> None:
        write_series(folder, [make_slice(4, shape=(7, 5))], ["I5"])
        with pytest.raises(DataConsistencyError) as caught:
            DicomCubeImage.from_dicom_folder(folder)
        assert "6 x 5" in str(caught.value) and "7 x 5" in str(caught.value)

    @pytest.mark.parametrize("damage", ["truncated", "no pixels", "header"])
    def test_a_damaged_file_is_named(self, folder: Path, damage: str) -> None:
        path = folder / "I3"
        data = path.read_bytes()
        if damage == "truncated":
            path.write_bytes(data[:-20])
        elif damage == "header":
            place = data.index(b"\x20\x00\x0e\x00UI")
            path.write_bytes(data[: place + 6] + b"\xff\xff" + data[place + 8 :])
        else:
            dataset = make_slice(2)
            del dataset.PixelData
            write_series(folder, [dataset], ["I3"])
        with pytest.raises(DicomCubeError, match="I3"):
            DicomCubeImage.from_dicom_folder(folder)

    def test_bits_stored_that_differ(self, folder: Path) -> None:
        dataset = make_slice(2)
        dataset.BitsStored, dataset.HighBit = 12, 11
        write_series(folder, [dataset], ["I3"])
        image = DicomCubeImage.from_dicom_folder(folder)
        assert image.dicom_status is DicomStatus.NON_UNIFORM_DTYPE
        assert image.space is not None


class TestPaths:
    @pytest.fixture
    def image(self) -> DicomCubeImage:
        image = DicomCubeImage(np.zeros((3, 4, 4), np.uint8))
        image.init_meta()
        return image

    @pytest.mark.parametrize("name", ["none/x.dcbs", "folder.dcbs", "x.dcbr", "x", "x.nii"])
    def test_where_nothing_can_be_saved(
        self, image: DicomCubeImage, tmp_path: Path, name: str
    ) -> None:
        (tmp_path / "folder.dcbs").mkdir()
        with pytest.raises(DicomCubeError):
            image.to_file(tmp_path / name)
        assert os.listdir(tmp_path) == ["folder.dcbs"]

    def test_what_can_not_be_loaded_again_is_not_saved(
        self, image: DicomCubeImage, tmp_path: Path
    ) -> None:
        other = DicomCubeImage(np.zeros((6, 4, 4), np.uint8))
        with pytest.raises(DataConsistencyError):
            image.dicom_meta = other.init_meta()
        with pytest.raises(DataConsistencyError):
            image.space = Space(shape=(6, 4, 4))
        with pytest.raises(DataConsistencyError):
            image.raw_image = np.zeros((6, 4, 4), np.uint8)
        image._pixels = other._pixels
        with pytest.raises(DataConsistencyError):
            image.to_file(tmp_path / "x.dcbs")
        with pytest.raises(DataConsistencyError):
            image.to_dicom_folder(tmp_path / "out")
        assert not list(tmp_path.iterdir())

    def test_export_to_a_file(self, image: DicomCubeImage, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(TargetExistsError):
            image.to_dicom_folder(tmp_path / "file", overwrite=True)
        assert (tmp_path / "file").read_text() == "x"

    def test_paths_may_be_text_or_path(self, image: DicomCubeImage, tmp_path: Path) -> None:
        image.to_file(str(tmp_path / "a.dcbs"))
        image.to_file(tmp_path / "b.dcbs")
        for name in ("a.dcbs", "b.dcbs"):
            assert DicomCubeImage.from_file(tmp_path / name).shape == (3, 4, 4)
            assert DicomCubeImage.from_file(str(tmp_path / name)).shape == (3, 4, 4)


def test_status_of_a_published_series_is_kept(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(4))
    assert get_dicom_status(read_dicom_dir(tmp_path / "in")) is DicomStatus.CONSISTENT


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.dcbs"
    DicomCubeImage(np.zeros((3, 4, 4), np.uint8)).to_file(path)
    data = bytearray(path.read_bytes())
    for version in (2, 0xFFFFFFFF):
        data[8:12] = version.to_bytes(4, "little")
        path.write_bytes(data)
        with pytest.raises(InvalidCubeFileError):
            DicomCubeImage.from_file(path)
