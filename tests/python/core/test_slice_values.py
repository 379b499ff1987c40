"""Real values are those that the metadata define, however an image is read, stored or exported."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from inputs.dicom_frames import enhanced, frames_like
from inputs.dicom_series import make_series, pixels_of, write_series
from inputs.mapped_series import (
    LIMITS,
    MAPPED,
    SHAPE,
    Mapped,
    lut,
    mapping,
    modality_lut,
    plane_of,
    stored,
    with_each,
    without_rescale,
)
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut
from pydicom.tag import Tag
from pydicom.uid import XRayAngiographicImageStorage

import dicube
from dicube import DicomCubeImage, DicomStatus, PixelDataHeader, SortMethod, check_dicom
from dicube.core.streaming import DcbStreamingReader
from dicube.exceptions import DataConsistencyError

RWVM = "RealWorldValueMappingSequence"


def read(folder: Path, datasets: list[Dataset]) -> DicomCubeImage:
    """The image of datasets that are written as files."""
    write_series(folder, datasets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DicomCubeImage.from_dicom_folder(folder)


def same(found: Any, expected: Any) -> bool:
    """Whether real values are those expected, to the rounding of float32."""
    near = 1e-6 * np.abs(np.nan_to_num(expected)).max()
    return np.allclose(found, expected, rtol=1e-6, atol=near, equal_nan=True)


@pytest.fixture(params=MAPPED.values(), ids=MAPPED.keys())
def mapped(request: pytest.FixtureRequest) -> Mapped:
    made: Mapped = request.param()
    return made


class TestEveryWay:
    """Each kind of mapping gives the same values in every way that an image goes."""

    def test_files(self, tmp_path: Path, mapped: Mapped) -> None:
        image = read(tmp_path / "in", mapped.datasets)
        assert same(image.get_fdata(), mapped.expected)
        assert image.get_fdata("float64").dtype == np.float64
        assert np.array_equal(image.get_fdata("float64"), mapped.expected, equal_nan=True)
        assert image.pixel_header.Extras.get("Units") == mapped.units

    @pytest.mark.parametrize("extension", [".dcbs", ".dcba", ".dcbr"])
    @pytest.mark.parametrize("exact", [True, False])
    def test_dicube_files(
        self, tmp_path: Path, mapped: Mapped, extension: str, exact: bool
    ) -> None:
        image = read(tmp_path / "in", mapped.datasets)
        if extension == ".dcbr" and (image.dtype.kind == "f" or image.dtype.itemsize > 2):
            return
        path = tmp_path / f"x{extension}"
        given = {"roi": np.ones(image.shape, bool), "background": 0} if extension == ".dcbr" else {}
        image.to_file(path, exact=exact, **given)
        again = DicomCubeImage.from_file(path)
        assert same(again.get_fdata(), mapped.expected)
        assert again.pixel_header == image.pixel_header
        decoded = DicomCubeImage.from_file(path, dtype="float32", skip_meta=True)
        assert same(decoded.get_fdata(), mapped.expected)
        assert same(decoded.get_fdata("float64"), mapped.expected)
        for cache in (0, 1 << 20):
            if extension == ".dcbr":
                break
            with dicube.open(path, cache=cache) as cube:
                assert same(cube.get_fdata(), mapped.expected)
                part = np.s_[[2, 0], 1:5, ::2]
                assert same(cube.get_fdata(part), mapped.expected[part])
                assert same(cube.get_fdata((1, 2, 3)), mapped.expected[1, 2, 3])
                if cube.levels:
                    level, full = cube.at_level(1), again.dicom_meta
                    reduced = DicomCubeImage(level[...], again.pixel_header, full)
                    assert same(level.get_fdata(), reduced.get_fdata())

    def test_parts(self, tmp_path: Path, mapped: Mapped) -> None:
        image = read(tmp_path / "in", mapped.datasets)
        meta = image.dicom_meta
        assert meta is not None
        for slices in ([1, 2], [2, 0], [2]):
            chosen = meta.select(slices)
            part = DicomCubeImage(image.raw_image[slices], copy.copy(image.pixel_header), chosen)
            assert same(part.get_fdata(), mapped.expected[slices])
        crop = DicomCubeImage(image.raw_image[:, 1:4, 2:], image.pixel_header, meta)
        assert same(crop.get_fdata(), mapped.expected[:, 1:4, 2:])

    def test_exports(self, tmp_path: Path, mapped: Mapped) -> None:
        image = read(tmp_path / "in", mapped.datasets)
        image.to_file(tmp_path / "x.dcbs")
        image.to_dicom_folder(tmp_path / "out", exact=False)
        again = DicomCubeImage.from_dicom_folder(tmp_path / "out")
        assert same(again.get_fdata(), mapped.expected)
        for dataset in map(dcmread, (tmp_path / "out").iterdir()):
            assert dataset.get("RescaleSlope") in (None, 1)  # as in the source
        if image.dtype.kind != "f":
            with DcbStreamingReader(tmp_path / "x.dcbs") as reader:
                for index in range(reader.frame_count):
                    (tmp_path / f"{index}.dcm").write_bytes(reader.get_dicom_for_frame(index))
                    one = DicomCubeImage.from_dicom_folder(tmp_path / f"{index}.dcm")
                    assert same(one.get_fdata(), mapped.expected[index : index + 1])

    def test_one_file(self, tmp_path: Path, mapped: Mapped) -> None:
        image = read(tmp_path / "in", mapped.datasets)
        if len(mapped.datasets) > 1 and mapped.datasets[0].Modality not in ("CT", "OT"):
            return  # its class has no multi-frame form
        image.to_dicom_file(tmp_path / "one.dcm")
        again = DicomCubeImage.from_dicom_folder(tmp_path / "one.dcm")
        assert same(again.get_fdata(), mapped.expected)

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_nifti(self, tmp_path: Path, mapped: Mapped) -> None:
        image = read(tmp_path / "in", mapped.datasets)
        image.to_nifti(tmp_path / "x.nii")
        found = np.asarray(nibabel.load(tmp_path / "x.nii").get_fdata()).T
        assert same(found, mapped.expected)

    def test_a_header_that_was_set_counts(self, tmp_path: Path, mapped: Mapped) -> None:
        image = read(tmp_path / "in", mapped.datasets)
        image.pixel_header = PixelDataHeader(3.0, 5.0)
        image.to_file(tmp_path / "x.dcbs")
        again = DicomCubeImage.from_file(tmp_path / "x.dcbs")
        assert np.array_equal(
            again.get_fdata("float64"), image.raw_image.astype(float) * 3 + 5, equal_nan=True
        )
        again.to_dicom_folder(tmp_path / "out")
        exported = DicomCubeImage.from_dicom_folder(tmp_path / "out")
        assert np.array_equal(exported.get_fdata(), again.get_fdata(), equal_nan=True)

    def test_slope_1_and_intercept_0_were_not_set(self, tmp_path: Path, mapped: Mapped) -> None:
        """As in files of 0.4.0, which knew no mappings."""
        image = read(tmp_path / "in", mapped.datasets)
        image.pixel_header = PixelDataHeader()
        image.to_file(tmp_path / "x.dcbs")
        again = DicomCubeImage.from_file(tmp_path / "x.dcbs", skip_meta=True)
        assert same(again.get_fdata(), mapped.expected)
        with dicube.open(tmp_path / "x.dcbs") as cube:
            assert same(cube.get_fdata(), mapped.expected)
        again.to_dicom_folder(tmp_path / "out")
        assert same(DicomCubeImage.from_dicom_folder(tmp_path / "out").get_fdata(), mapped.expected)

    def test_a_rescale_counts_first(self, tmp_path: Path, mapped: Mapped) -> None:
        for dataset in mapped.datasets:
            dataset.RescaleSlope, dataset.RescaleIntercept = 3, -7
        image = read(tmp_path / "in", mapped.datasets)
        assert image.pixel_header.RescaleSlope == 3
        assert "Units" not in image.pixel_header.Extras
        expected = image.raw_image.astype(float) * 3 - 7
        assert np.array_equal(image.get_fdata("float64"), expected, equal_nan=True)


def test_the_header_has_the_mapping_that_a_slope_and_intercept_can_say(tmp_path: Path) -> None:
    """So that the published package shows it too."""
    for name, expected in (
        ("dose", (1.23e-8, 0.0)),
        ("at_the_root", (0.00123, -1.5)),
        ("shared_by_frames", (2.0, 1.0)),
        ("of_each_frame", (0.5, 0.0)),
        ("parametric_map", (2.0, -1.0)),
        ("lut", (1.0, 0.0)),
        ("two_ranges", (1.0, 0.0)),
    ):
        header = read(tmp_path / name, MAPPED[name]().datasets).pixel_header
        assert (header.RescaleSlope, header.RescaleIntercept) == expected, name


def test_pydicom_agrees_on_modality_luts(tmp_path: Path) -> None:
    image = read(tmp_path / "in", lut().datasets)
    datasets = [dcmread(tmp_path / "in" / f"I{number}") for number in (1, 2, 3)]
    expected = [apply_modality_lut(dataset.pixel_array, dataset) for dataset in datasets]
    assert np.array_equal(image.get_fdata(), expected)


def test_angiography_shows_stored_values(tmp_path: Path) -> None:
    """Its Modality LUT is not for display (PS3.3 C.8.7.1.1.2)."""
    series = lut().datasets
    for dataset in series:
        dataset.SOPClassUID, dataset.Modality = XRayAngiographicImageStorage, "XA"
    image = read(tmp_path / "in", series)
    assert np.array_equal(image.get_fdata(), image.raw_image.astype("f4"))


def test_unused_bits_and_a_mapping(tmp_path: Path) -> None:
    series = with_each(without_rescale(), RWVM, mapping(0.5, 1.0, 0, 4095))
    for dataset in series:
        dataset.BitsStored, dataset.HighBit = 12, 11
    image = read(tmp_path / "in", series)
    expected = (image.raw_image & 0xFFF) * 0.5 + 1
    assert same(image.get_fdata(), expected)
    image.to_nifti(tmp_path / "x.nii")
    nifti = nibabel.load(tmp_path / "x.nii")
    assert nifti.get_data_dtype() == np.uint16  # the range holds all values: no need for float64
    assert same(np.asarray(nifti.get_fdata()).T, expected)


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_limits_have_the_sign_of_samples(tmp_path: Path, vr: str) -> None:
    """Whatever VR a writer gave them."""
    series = without_rescale(2, "int16")
    made = mapping(2.0, 1.0)
    for keyword, value in zip(LIMITS, (-32768, 32767), strict=True):
        made[keyword].VR = vr
        made[keyword].value = value if vr == "SS" else value % 65536
    image = read(tmp_path / "in", with_each(series, RWVM, made))
    assert same(image.get_fdata(), stored(2, "int16") * 2.0 + 1)


# ----------------------------------------------------------------------------------- choice


class TestSeveral:
    """Several mappings: the caller chooses, by number or label."""

    @pytest.fixture
    def image(self, tmp_path: Path) -> DicomCubeImage:
        items = (
            mapping(2.0, 1.0, label="SUV", units="{SUVbw}g/ml"),
            mapping(0.5, 7.0, 0, 40000, label="counts", units="{counts}"),
        )
        return read(tmp_path / "in", with_each(without_rescale(), RWVM, *items))

    def test_none_is_taken(self, image: DicomCubeImage, tmp_path: Path) -> None:
        image.to_file(tmp_path / "x.dcbs")
        with dicube.open(tmp_path / "x.dcbs") as cube:
            for call in (
                image.get_fdata,
                cube.get_fdata,
                lambda: image.to_nifti(tmp_path / "x.nii"),
                lambda: DicomCubeImage.from_file(tmp_path / "x.dcbs", dtype="float32"),
            ):
                with pytest.raises(DataConsistencyError, match=r"(?s)2 mappings.*real_world="):
                    call()
        assert "several_real_world_mappings" in {f.kind for f in check_dicom(image.dicom_meta)}

    @pytest.mark.parametrize("choice", [0, 1, "SUV", "counts"])
    def test_one_is_chosen(self, image: DicomCubeImage, tmp_path: Path, choice: Any) -> None:
        samples = image.raw_image.astype(float)
        expected = samples * 2 + 1
        if choice in (1, "counts"):
            expected = np.where(samples <= 40000, samples * 0.5 + 7, np.nan)
        assert same(image.get_fdata(real_world=choice), expected)
        image.to_file(tmp_path / "x.dcbs")
        again = DicomCubeImage.from_file(
            tmp_path / "x.dcbs", dtype="float32", real_world=choice, skip_meta=True
        )
        assert same(again.get_fdata(), expected)  # of the choice made before
        assert same(again.get_fdata("float64"), expected)
        with dicube.open(tmp_path / "x.dcbs") as cube:
            assert same(cube.get_fdata(1, real_world=choice), expected[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.to_nifti(tmp_path / "x.nii", real_world=choice)
        assert same(np.asarray(nibabel.load(tmp_path / "x.nii").get_fdata()).T, expected)

    @pytest.mark.parametrize("choice", [2, -1, "suv", True, 1.0])
    def test_one_that_is_not_there(self, image: DicomCubeImage, choice: Any) -> None:
        with pytest.raises(DataConsistencyError, match=r"real_world|mappings"):
            image.get_fdata(real_world=choice)

    def test_a_header_counts_without_choice(self, image: DicomCubeImage) -> None:
        image.pixel_header.RescaleSlope = 4.0
        assert same(image.get_fdata(), image.raw_image * 4.0)

    def test_a_choice_in_place_of_a_rescale(self, tmp_path: Path) -> None:
        series = with_each(make_series(2), RWVM, mapping(2.0, 1.0, label="SUV"))
        image = read(tmp_path / "rescaled", series)
        assert same(image.get_fdata(), image.raw_image - 1024.0)
        assert same(image.get_fdata(real_world="SUV"), image.raw_image * 2.0 + 1)

    def test_without_metadata(self) -> None:
        image = DicomCubeImage(np.zeros((2, 3, 4), np.int16))
        with pytest.raises(DataConsistencyError, match="real_world"):
            image.get_fdata(real_world=0)

    def test_a_modality_lut_beside_a_mapping(self, tmp_path: Path) -> None:
        made = lut()
        image = read(tmp_path / "both", with_each(made.datasets, RWVM, mapping(2.0)))
        with pytest.raises(DataConsistencyError, match="slice 0 has 2 mappings to real values"):
            image.get_fdata()
        assert same(image.get_fdata(real_world=0), made.expected)
        assert same(image.get_fdata(real_world="x"), image.raw_image * 2.0)

    def test_overlapping_ranges_are_several(self, tmp_path: Path) -> None:
        items = mapping(2.0, 1.0, 0, 30000), mapping(0.5, 7.0, 30000, 65535)
        image = read(tmp_path / "overlap", with_each(without_rescale(), RWVM, *items))
        with pytest.raises(DataConsistencyError, match="2 mappings"):
            image.get_fdata()

    def test_disjoint_ranges_of_other_units_are_several(self, tmp_path: Path) -> None:
        items = mapping(2.0, 1.0, 0, 9), mapping(0.5, 7.0, 10, 65535, units="s")
        image = read(tmp_path / "units", with_each(without_rescale(), RWVM, *items))
        with pytest.raises(DataConsistencyError, match="2 mappings"):
            image.get_fdata()

    def test_a_repeated_item_is_one(self, tmp_path: Path) -> None:
        items = mapping(2.0, 1.0), mapping(2.0, 1.0, label="y")
        image = read(tmp_path / "twice", with_each(without_rescale(), RWVM, *items))
        assert same(image.get_fdata(), image.raw_image * 2.0 + 1)
        assert same(image.get_fdata(real_world="y"), image.raw_image * 2.0 + 1)


# ----------------------------------------------------------------------------------- unreadable


def raw_slope(vr: str, value: bytes, tag: int = 0x00281053) -> Callable[[Dataset], None]:
    """Return what gives a dataset an element with these bytes."""

    def give(dataset: Dataset) -> None:
        dataset[tag] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)

    return give


def bad_mapping(**changed: Any) -> Callable[[Dataset], None]:
    """Return what gives a dataset a mapping with other elements; None removes one."""

    def give(dataset: Dataset) -> None:
        del dataset.RescaleSlope, dataset.RescaleIntercept
        made = mapping(2.0, 1.0)
        for keyword, value in changed.items():
            if value is None:
                delattr(made, keyword)
            else:
                setattr(made, keyword, value)
        dataset.RealWorldValueMappingSequence = [made]

    return give


def bad_lut(descriptor: list[int], size: int) -> Callable[[Dataset], None]:
    """Return what gives a dataset a Modality LUT with this descriptor and size."""

    def give(dataset: Dataset) -> None:
        del dataset.RescaleSlope, dataset.RescaleIntercept
        dataset.ModalityLUTSequence = [modality_lut(np.zeros(size, "<u2"))]
        dataset.ModalityLUTSequence[0]["LUTDescriptor"].value = descriptor

    return give


def bad_dose(dataset: Dataset) -> None:
    del dataset.RescaleSlope, dataset.RescaleIntercept
    raw_slope("DS", b"1e-9\\2", 0x3004000E)(dataset)


UNREADABLE: dict[str, Callable[[Dataset], None]] = {
    "decimal comma": raw_slope("DS", b"2,5 "),
    "NaN": raw_slope("DS", b"NaN "),
    "infinity": raw_slope("DS", b"inf "),
    "NaN of FD": raw_slope("FD", np.array(np.nan).tobytes()),
    "several": raw_slope("DS", b"2\\2 "),
    "text": raw_slope("LO", b"2.5 "),
    "bytes": raw_slope("OB", b"2.5 "),
    "words": raw_slope("DS", b"two "),
    "empty": raw_slope("DS", b""),
    "blank": raw_slope("DS", b"  "),
    "intercept": raw_slope("DS", b"-1024,0 ", 0x00281052),
    "dose": bad_dose,
    "no slope": bad_mapping(RealWorldValueSlope=None),
    "no intercept": bad_mapping(RealWorldValueIntercept=None),
    "NaN in a mapping": bad_mapping(RealWorldValueSlope=np.nan),
    "reversed limits": bad_mapping(**dict(zip(LIMITS, (9, 3), strict=True))),
    "short table": bad_mapping(RealWorldValueSlope=None, RealWorldValueLUTData=[1.0, 2.0]),
    "short LUT": bad_lut([4096, 0, 16], 4000),
    "two values in a LUT descriptor": bad_lut([4096, 0], 4096),
    "no bits in a LUT": bad_lut([4096, 0, 0], 4096),
}


class TestUnreadable:
    """An unreadable rescale is a status, a finding and a warning; real values are NaN."""

    @pytest.fixture(params=UNREADABLE.values(), ids=UNREADABLE.keys())
    def series(self, request: pytest.FixtureRequest) -> list[Dataset]:
        series = make_series(3)
        request.param(series[1])
        for dataset in (series[0], series[2]):  # in place of what the other one has
            if "RescaleSlope" not in series[1]:
                del dataset.RescaleSlope, dataset.RescaleIntercept
        return series

    def test_it_is_reported(self, tmp_path: Path, series: list[Dataset]) -> None:
        write_series(tmp_path / "in", series)
        with pytest.warns(UserWarning, match="real values are unknown"):
            image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        assert image.dicom_status is DicomStatus.UNREADABLE_RESCALE
        (finding,) = check_dicom(image.dicom_meta)
        assert finding.kind == "unreadable_rescale" and finding.slices == (1,)
        image.to_file(tmp_path / "x.dcbs")
        assert DicomCubeImage.from_file(tmp_path / "x.dcbs").dicom_status is image.dicom_status
        with dicube.open(tmp_path / "x.dcbs") as cube:
            assert cube.dicom_status is image.dicom_status
            assert cube[...].tolist() == image.raw_image.tolist()

    def test_values(self, tmp_path: Path, series: list[Dataset]) -> None:
        image = read(tmp_path / "in", series)
        image.to_file(tmp_path / "x.dcbs")
        rescaled = "RescaleSlope" in series[0]
        expected = image.raw_image - (1024.0 if rescaled else 0.0)
        expected[1] = np.nan
        with pytest.warns(UserWarning, match=r"1 of 3 slices are unknown \(NaN\)"):
            assert same(image.get_fdata(), expected)
        with pytest.warns(UserWarning, match="unknown"):
            again = DicomCubeImage.from_file(tmp_path / "x.dcbs", dtype="float32", skip_meta=True)
            assert same(again.get_fdata(), expected)
        with dicube.open(tmp_path / "x.dcbs") as cube, pytest.warns(UserWarning, match="unknown"):
            assert same(cube.get_fdata(np.s_[1:]), expected[1:])
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            image.to_nifti(tmp_path / "x.nii")
        assert any("unknown" in str(warning.message) for warning in given)
        assert same(np.asarray(nibabel.load(tmp_path / "x.nii").get_fdata()).T, expected)

    def test_original_files_come_back(self, tmp_path: Path, series: list[Dataset]) -> None:
        image = read(tmp_path / "in", series)
        image.to_file(tmp_path / "x.dcbs")
        DicomCubeImage.from_file(tmp_path / "x.dcbs").to_dicom_folder(tmp_path / "out", exact=True)
        for path in (tmp_path / "in").iterdir():
            assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()

    def test_a_header_that_is_set_counts(self, tmp_path: Path, series: list[Dataset]) -> None:
        image = read(tmp_path / "in", series)
        image.pixel_header.RescaleSlope, image.pixel_header.RescaleIntercept = 2.5, -1.0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert same(image.get_fdata(), image.raw_image * 2.5 - 1)
            image.to_file(tmp_path / "x.dcbs")
            assert same(
                DicomCubeImage.from_file(tmp_path / "x.dcbs").get_fdata(), image.get_fdata()
            )
        image.to_dicom_folder(tmp_path / "out")
        exported = DicomCubeImage.from_dicom_folder(tmp_path / "out")
        assert exported.dicom_status is DicomStatus.CONSISTENT
        assert same(exported.get_fdata(), image.get_fdata())

    def test_corrected_metadata_count(self, tmp_path: Path, series: list[Dataset]) -> None:
        image = read(tmp_path / "in", series)
        image.dicom_meta.set_shared_item("RescaleSlope", 2.5)
        image.dicom_meta.set_shared_item("RescaleIntercept", -1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert same(image.get_fdata(), image.raw_image * 2.5 - 1)


# ----------------------------------------------------------------------------------- edits


class TestEdits:
    """Editing what defines real values changes them; the most recent change counts."""

    def test_dose(self, tmp_path: Path) -> None:
        image = read(tmp_path / "in", MAPPED["dose"]().datasets)
        meta, samples = image.dicom_meta, image.raw_image
        meta.set_shared_item("DoseGridScaling", 0.5)
        assert image.pixel_header.RescaleSlope == 0.5
        assert same(image.get_fdata(), samples * 0.5)
        meta.set_shared_item("DoseUnits", "RELATIVE")
        assert image.pixel_header.Extras["Units"] == "RELATIVE"
        image.pixel_header.RescaleSlope = 3.0
        assert same(image.get_fdata(), samples * 3.0)
        meta.set_shared_item("DoseGridScaling", 0.25)
        assert same(image.get_fdata(), samples * 0.25)
        meta.set_shared_item("RescaleSlope", 7)
        assert same(image.get_fdata(), samples * 7.0)
        assert "Units" not in image.pixel_header.Extras
        del meta["RescaleSlope"]
        assert same(image.get_fdata(), samples * 0.25)
        del meta["DoseGridScaling"]
        assert same(image.get_fdata(), samples)
        assert "Units" not in image.pixel_header.Extras

    def test_a_mapping(self, tmp_path: Path) -> None:
        image = read(tmp_path / "in", MAPPED["at_the_root"]().datasets)
        image.dicom_meta.set_shared_item(RWVM, [mapping(2.0, 3.0, units="s")])
        assert same(image.get_fdata(), image.raw_image * 2.0 + 3)
        assert image.pixel_header.RescaleIntercept == 3
        assert image.pixel_header.Extras["Units"] == "s"
        image.dicom_meta.set_shared_item("RescaleSlope", 5)
        assert same(image.get_fdata(), image.raw_image * 5.0)
        image.to_dicom_folder(tmp_path / "out")
        again = DicomCubeImage.from_dicom_folder(tmp_path / "out")
        assert same(again.get_fdata(), image.raw_image * 5.0)

    def test_a_mapping_of_frames(self, tmp_path: Path) -> None:
        image = read(tmp_path / "in", MAPPED["of_each_frame"]().datasets)
        image.dicom_meta.set_nonshared_item("RealWorldValueSlope", [1, 2, 3, 4])
        intercepts = -3.0 * np.arange(4)[:, None, None]
        factors = np.array([1, 2, 3, 4])[:, None, None]
        assert same(image.get_fdata(), image.raw_image * factors + intercepts)

    def test_another_order(self, tmp_path: Path) -> None:
        made = MAPPED["dose_of_each_slice"]()
        image = read(tmp_path / "in", made.datasets)
        image.dicom_meta.sort_files(SortMethod.POSITION_LEFT_HAND)
        image.raw_image = image.raw_image[::-1].copy()
        assert same(image.get_fdata(), made.expected[::-1])
        assert image.pixel_header.RescaleSlope == 0.3


def test_volumes_have_the_mappings_of_their_slices(tmp_path: Path) -> None:
    series = without_rescale(4)
    for index, dataset in enumerate(series):
        dataset.ImagePositionPatient = [-10, 20, 2.5 * (index // 2)]
        dataset.EchoNumbers = index % 2 + 1
        dataset.RealWorldValueMappingSequence = [mapping(index + 1.0, units="s")]
    image = read(tmp_path / "in", series)
    first, second = image.volumes()
    assert same(first.get_fdata(), image.get_fdata()[::2])
    assert same(second.get_fdata(), image.get_fdata()[1::2])
    assert second.pixel_header.RescaleSlope == 2
    with pytest.warns(UserWarning, match="float64"):
        image.to_nifti(tmp_path / "x.nii")
    assert same(np.asarray(nibabel.load(tmp_path / "x.nii").get_fdata()).T[1], second.get_fdata())


def test_some_slices_have_a_rescale_and_some_a_mapping(tmp_path: Path) -> None:
    series = with_each(make_series(3), RWVM, mapping(2.0, 1.0))
    del series[1].RescaleSlope, series[1].RescaleIntercept
    image = read(tmp_path / "in", series)
    expected = image.raw_image - 1024.0
    expected[1] = image.raw_image[1] * 2.0 + 1
    assert same(image.get_fdata(), expected)
    assert image.dicom_status is DicomStatus.NON_UNIFORM_RESCALE_FACTOR


def test_a_frame_without_a_mapping_keeps_its_stored_values(tmp_path: Path) -> None:
    dataset = enhanced(
        3,
        groups=lambda i: plane_of(i, **({RWVM: [mapping(2.0)]} if i else {})),
    )
    image = read(tmp_path / "in", [dataset])
    expected = frames_like(3, 100) * np.array([1.0, 2.0, 2.0])[:, None, None]
    assert same(image.get_fdata(), expected)


def test_mappings_in_a_dataset_of_big_endian(tmp_path: Path) -> None:
    made = lut()
    for dataset in made.datasets:
        pixels = pixels_of(dataset.InstanceNumber - 1, SHAPE, "uint16")
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.2"
        table = dataset.ModalityLUTSequence[0].LUTData
        swapped = np.frombuffer(table, "<u2").astype(">u2").tobytes()
        dataset.ModalityLUTSequence[0]["LUTData"].value = swapped
        dataset["PixelData"].value = pixels.astype(">u2").tobytes()
    image = read(tmp_path / "in", made.datasets)
    assert same(image.get_fdata(), made.expected)
