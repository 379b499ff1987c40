"""Edits are in every export and saved file, and no old value remains in any section."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from inputs.dicom_series import item, make_series, write_series
from pydicom import dcmread

from dicube import DicomCubeImage, DicomMeta, SortMethod, read_dicom_dir
from dicube.exceptions import MetaDataError
from dicube.storage import DcbReader

OLD = "SECRET^AGATHE"
Edit = Callable[[DicomCubeImage], Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A series that says the name of its patient in many places, and has long binary."""
    series = make_series(3)
    for number, dataset in enumerate(series):
        dataset.PatientName = OLD
        dataset.WindowCenter, dataset.WindowWidth = 40, 400
        dataset.file_meta.SourceApplicationEntityTitle = "SECRET AE"
        dataset.RequestAttributesSequence = [
            item(RequestedProcedureDescription=f"SECRET plan {number}"),
            item(ScheduledProcedureStepDescription="SECRET step"),
        ]
        block = dataset.private_block(0x29, "CREATOR", create=True)
        block.add_new(1, "OB", b"SECRET in binary" + np.random.default_rng(number).bytes(5000))
    return write_series(tmp_path / "in", series, ["I1", "I2", "SECRET I3"])


def fresh(folder: Path) -> DicomCubeImage:
    """The image as it is read from DICOM files."""
    return DicomCubeImage.from_dicom_folder(folder)


def stored(folder: Path) -> DicomCubeImage:
    """The image as it is read from a dicube file."""
    fresh(folder).to_file(folder.parent / "stored.dcbs")
    image = DicomCubeImage.from_file(folder.parent / "stored.dcbs")
    assert image.why_not_exact() == ""
    return image


def looked_at(folder: Path) -> DicomCubeImage:
    """The image of a dicube file, after all of its metadata were asked for."""
    image = stored(folder)
    assert len(image.dicom_meta.to_json()) > 3 * 5000
    return image


def pickled(folder: Path) -> DicomCubeImage:
    """The image of a dicube file, there and back as a pickle."""
    image: DicomCubeImage = pickle.loads(pickle.dumps(stored(folder)))
    assert image.why_not_exact() == ""
    return image


every_origin = pytest.mark.parametrize("origin", [fresh, stored, looked_at, pickled])


def all_bytes(path: Path) -> bytes:
    """A file's bytes, and those of its sections unpacked."""
    found = [path.read_bytes()]
    with DcbReader(path) as reader:
        for name in reader.sections:
            data = reader.sections[name]
            found.append(data)
            if data[:4] == b"\x28\xb5\x2f\xfd":
                found.append(zstandard.ZstdDecompressor().decompress(data))
    return b"\0".join(found)


def written(image: DicomCubeImage, folder: Path) -> tuple[DicomCubeImage, bytes]:
    """The image as it is read again from a file written, and all bytes of that file."""
    path = folder.parent / "written.dcbs"
    image.to_file(path)
    return DicomCubeImage.from_file(path), all_bytes(path)


def exported(image: DicomCubeImage, folder: Path, name: str) -> list[bytes]:
    """The bytes of the files that an image exports."""
    image.to_dicom_folder(folder.parent / name)
    return [path.read_bytes() for path in sorted((folder.parent / name).iterdir())]


def test_what_is_searched_is_there_before(folder: Path) -> None:
    _, data = written(fresh(folder), folder)
    for secret in (OLD, "SECRET AE", "SECRET plan 1", "SECRET step", "SECRET in b", "SECRET I3"):
        assert secret.encode() in data


# ------------------------------------------------------------------------------------- no trace


def in_place(image: DicomCubeImage) -> None:
    image.dicom_meta._merged_data["00100010"]["Value"][0] = {"Alphabetic": "NEW^NAME"}


def through_entry(image: DicomCubeImage) -> None:
    image.dicom_meta._merged_data["00100010"] = {
        "vr": "PN",
        "shared": True,
        "Value": [{"Alphabetic": "NEW^NAME"}],
    }


def by_copy(image: DicomCubeImage) -> None:
    meta = copy.copy(image.dicom_meta)
    meta.set_shared_item("PatientName", "NEW^NAME")
    image.dicom_meta = meta


REMOVALS: dict[str, tuple[Edit, str, str]] = {
    "set": (lambda i: i.dicom_meta.set_shared_item("PatientName", "NEW^NAME"), OLD, "NEW^NAME"),
    "set per slice": (
        lambda i: i.dicom_meta.set_nonshared_item("PatientName", ["A^1", "NEW^NAME", "C^3"]),
        OLD,
        "NEW^NAME",
    ),
    "set to nothing": (lambda i: i.dicom_meta.set_shared_item("PatientName", None), OLD, ""),
    "delete": (lambda i: i.dicom_meta.__delitem__("PatientName"), OLD, ""),
    "entry": (through_entry, OLD, "NEW^NAME"),
    "entry in place": (in_place, OLD, "NEW^NAME"),
    "entry deleted": (lambda i: i.dicom_meta._merged_data.pop("00100010"), OLD, ""),
    "copy": (by_copy, OLD, "NEW^NAME"),
    "sequence": (
        lambda i: i.dicom_meta.set_shared_item(
            "RequestAttributesSequence", [item(RequestedProcedureDescription="NEW plan")]
        ),
        "SECRET plan",
        "NEW plan",
    ),
    "within a sequence": (
        lambda i: i.dicom_meta._merged_data["00400275"]["Value"][1].pop("00400007"),
        "SECRET step",
        "",
    ),
    "file meta": (
        lambda i: i.dicom_meta.set_shared_item("SourceApplicationEntityTitle", "NEW AE"),
        "SECRET AE",
        "NEW AE",
    ),
    "binary": (
        lambda i: i.dicom_meta.set_shared_item("00291001", b"NEW in binary!"),
        "SECRET in binary",
        "",
    ),
    "init_meta": (lambda i: i.init_meta(patient_name="NEW^NAME"), "SECRET", "NEW^NAME"),
}


@pytest.mark.parametrize("removal", REMOVALS)
@every_origin
def test_no_trace(origin: Callable[[Path], DicomCubeImage], removal: str, folder: Path) -> None:
    image = origin(folder)
    edit, old, new = REMOVALS[removal]
    edit(image)
    assert image.why_not_exact() == "the metadata were changed"
    again, data = written(image, folder)
    assert old.encode() not in data
    assert b"SECRET I3" not in data
    assert new.encode() in data
    assert again.why_not_exact() == "the dicube file holds no original files"
    for one, name in ((image, "out"), (again, "again")):
        files = exported(one, folder, name)
        assert len(files) == 3
        assert not any(old.encode() in file for file in files)
        assert any(new.encode() in file for file in files)
    if old != "SECRET":  # what was not edited is all there
        assert b"SECRET" in b"".join(exported(again, folder, "once more"))
        if removal != "binary":
            assert again.dicom_meta.get("00291001") == fresh(folder).dicom_meta.get("00291001")


@every_origin
def test_exact_false_holds_nothing_but_the_image(
    origin: Callable[[Path], DicomCubeImage], folder: Path
) -> None:
    image = origin(folder)
    path = folder.parent / "x.dcbs"
    image.to_file(path, exact=False)
    assert b"SECRET I3" not in all_bytes(path)
    with DcbReader(path) as reader:
        assert "originals" not in reader.sections


# -------------------------------------------------------------------------------- other changes


def moved(image: DicomCubeImage) -> None:
    image.space = dataclasses.replace(image.space, origin=(1.0, 2.0, 3.0))


def moved_in_place(image: DicomCubeImage) -> None:
    image.space.origin = (1.0, 2.0, 3.0)


def other_pixels(image: DicomCubeImage) -> None:
    image.raw_image = image.raw_image + np.uint16(1)


def unseen_pixels(image: DicomCubeImage) -> None:
    image.raw_image = np.ones(image.shape, image.dtype)


def one_pixel(image: DicomCubeImage) -> None:
    image.raw_image[2, 3, 4] += 1


def flipped(image: DicomCubeImage) -> None:
    image.raw_image[:] = image.raw_image[::-1].copy()


def other_type(image: DicomCubeImage) -> None:
    image.raw_image = image.raw_image.view(np.int16)


def other_slope(image: DicomCubeImage) -> None:
    image.pixel_header.RescaleSlope = 2.5


def other_header(image: DicomCubeImage) -> None:
    image.pixel_header = dataclasses.replace(image.pixel_header, RescaleIntercept=7.0)


def other_window(image: DicomCubeImage) -> None:
    image.pixel_header.WindowCenter, image.pixel_header.WindowWidth = 300.0, 1500.0


def no_window(image: DicomCubeImage) -> None:
    image.pixel_header.WindowCenter = image.pixel_header.WindowWidth = None


def other_names(image: DicomCubeImage) -> None:
    image.dicom_meta.filenames = ["a", "b", "c"]


def entry_in_place(image: DicomCubeImage) -> None:
    image.dicom_meta._merged_data["00200013"]["Value"][0] = 77


def turned_round(image: DicomCubeImage) -> None:
    image.dicom_meta.sort_files(SortMethod.INSTANCE_NUMBER_DESC)


CHANGES: dict[str, tuple[Edit, str, dict[str, Any]]] = {
    "space": (moved, "metadata", {"ImagePositionPatient": [1, 2, 3]}),
    "space in place": (moved_in_place, "space", {"ImagePositionPatient": [1, 2, 3]}),
    "new pixels": (other_pixels, "pixels of the original file of slice 0", {}),
    "pixels that nobody saw": (unseen_pixels, "pixels of the original file of slice 0", {}),
    "one pixel": (one_pixel, "pixels of the original file of slice 2", {}),
    "flipped": (flipped, "pixels of the original file of slice 0", {}),
    "sample type": (
        other_type,
        "pixels of the original file of slice 0",
        {"PixelRepresentation": 1},
    ),
    "slope": (other_slope, "header", {"RescaleSlope": 2.5, "RescaleIntercept": -1024}),
    "header": (other_header, "header", {"RescaleSlope": 1, "RescaleIntercept": 7}),
    "window": (other_window, "header", {"WindowCenter": 300, "WindowWidth": 1500}),
    "no window": (no_window, "header", {"WindowCenter": None, "WindowWidth": None}),
    "names": (other_names, "metadata", {"InstanceNumber": 1}),
    "entry in place": (entry_in_place, "metadata", {"InstanceNumber": 77}),
    "order": (turned_round, "metadata", {"InstanceNumber": 3}),
}


@pytest.mark.parametrize("change", CHANGES)
@every_origin
def test_every_change_is_seen(
    origin: Callable[[Path], DicomCubeImage], change: str, folder: Path
) -> None:
    image = origin(folder)
    edit, told, wanted = CHANGES[change]
    edit(image)
    assert told in image.why_not_exact()
    again, data = written(image, folder)
    assert b"SECRET I3" not in data
    assert again.why_not_exact() == "the dicube file holds no original files"
    assert np.array_equal(again.raw_image, image.raw_image)
    for one, name in ((image, "out"), (again, "again")):
        exported(one, folder, name)
        files = sorted((folder.parent / name).iterdir())
        assert [path.name for path in files] == [f"slice_000{n}.dcm" for n in range(3)]
        first = dcmread(files[0])
        assert {keyword: first.get(keyword) for keyword in wanted} == wanted
        for path, frame in zip(files, image.raw_image, strict=True):
            assert np.array_equal(dcmread(path).pixel_array, frame)


@every_origin
def test_looking_is_no_change(origin: Callable[[Path], DicomCubeImage], folder: Path) -> None:
    image = origin(folder)
    meta = image.dicom_meta
    assert isinstance(meta, DicomMeta)
    meta.to_json()
    for tag in meta:
        meta.get(tag)
        meta.get_values(tag)
    meta.index(0)
    meta.dataset(1)
    image.get_fdata()
    image.raw_image.max()
    image.raw_image = image.raw_image.copy()
    image.space = image.space
    meta.sort_files(SortMethod.INSTANCE_NUMBER_ASC)
    assert image.why_not_exact() == ""
    again, _ = written(image, folder)
    image.to_dicom_folder(folder.parent / "out")
    again.to_dicom_folder(folder.parent / "again")
    for name in ("out", "again"):
        for path in folder.iterdir():
            assert (folder.parent / name / path.name).read_bytes() == path.read_bytes()


@every_origin
def test_undoing_a_change_brings_the_files_back(
    origin: Callable[[Path], DicomCubeImage], folder: Path
) -> None:
    image = origin(folder)
    image.raw_image[0] ^= 0xFFFF
    assert image.why_not_exact() == "the pixels of the original file of slice 0 were changed"
    image.raw_image[0] ^= 0xFFFF
    image.pixel_header.RescaleSlope = 2.0
    assert image.why_not_exact() == "the pixel header was changed"
    image.pixel_header.RescaleSlope = 1.0
    assert image.why_not_exact() == ""


def test_samples_that_bits_cant_hold_are_a_change(tmp_path: Path) -> None:
    series = make_series(2)
    for dataset in series:
        dataset.BitsAllocated = dataset.BitsStored = 1
        dataset.HighBit = dataset.PixelRepresentation = 0
        dataset.add_new(0x7FE00010, "OW", b"\xa5\x5a\x0f\x01")
    image = fresh(write_series(tmp_path / "in", series))
    image.raw_image[1][image.raw_image[1] == 1] = 2
    assert image.why_not_exact() == "the pixels of the original file of slice 1 were changed"


@every_origin
def test_metadata_of_other_files_are_a_change(
    origin: Callable[[Path], DicomCubeImage], folder: Path
) -> None:
    image = origin(folder)
    series = [dcmread(path) for path in sorted(folder.iterdir())]
    for dataset in series:
        dataset.PatientName = "NEW^NAME"
    meta = read_dicom_dir(write_series(folder.parent / "other", series))
    meta.filenames = image.dicom_meta.filenames
    image.dicom_meta = meta
    assert image.why_not_exact() == "the metadata were changed"
    _, data = written(image, folder)
    assert OLD.encode() not in data


def test_a_part_of_an_image_has_no_original_files(folder: Path) -> None:
    image = fresh(folder)
    part = DicomCubeImage(image.raw_image[1:], image.pixel_header, image.dicom_meta.select([1, 2]))
    assert part.why_not_exact() == "the image was not read from files"
    part.to_dicom_folder(folder.parent / "out")
    assert len(list((folder.parent / "out").iterdir())) == 2


def shifted(image: DicomCubeImage) -> list[list[float]]:
    """The positions of an image's slices, 7 mm farther along the columns; set in its metadata."""
    positions = image.dicom_meta.get("ImagePositionPatient", force_nonshared=True)
    there = [[x + 7, y, z] for x, y, z in positions]
    image.dicom_meta.set_nonshared_item("ImagePositionPatient", there)
    return there


def come_back(image: DicomCubeImage, folder: Path) -> DicomCubeImage:
    """The image as it comes back from a dicube file and from DICOM."""
    image.to_file(folder / "again.dcbs")
    DicomCubeImage.from_file(folder / "again.dcbs").to_dicom_folder(folder / "out", overwrite=True)
    image.to_dicom_folder(folder / "direct", overwrite=True)
    again = DicomCubeImage.from_dicom_folder(folder / "out")
    direct = DicomCubeImage.from_dicom_folder(folder / "direct")
    assert again.dicom_meta == direct.dicom_meta
    return again


@pytest.mark.parametrize("origin", [fresh, stored])
class TestEditsOfMetadata:
    """What metadata and header or space both tell: what was set last counts."""

    def test_positions(self, origin: Callable[[Path], DicomCubeImage], folder: Path) -> None:
        image = origin(folder)
        before = image.space
        there = shifted(image)
        assert image.space is not None and before is not None
        assert image.space.origin == (before.origin[0] + 7, *before.origin[1:])
        again = come_back(image, folder.parent)
        assert again.dicom_meta.get("ImagePositionPatient", force_nonshared=True) == there
        assert again.space == image.space

    def test_positions_that_are_removed(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        del image.dicom_meta["ImagePositionPatient"]
        assert image.space is None
        with pytest.warns(UserWarning, match="space is None"):
            again = come_back(image, folder.parent)
        assert again.dicom_meta.is_missing("ImagePositionPatient")

    def test_a_space_set_later(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        assert image.space is not None
        elsewhere = dataclasses.replace(image.space, origin=(1.0, 2.0, 3.0))
        shifted(image)
        image.space = elsewhere
        assert image.space == elsewhere
        assert come_back(image, folder.parent).space == elsewhere

    def test_rescale_and_window(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        image.dicom_meta.set_shared_item("RescaleSlope", 5)
        del image.dicom_meta["WindowCenter"]
        assert image.pixel_header.RescaleSlope == 5
        assert image.pixel_header.WindowCenter is None
        np.testing.assert_array_equal(
            image.get_fdata("float64"),
            image.raw_image * 5.0 + image.pixel_header.RescaleIntercept,
        )
        again = come_back(image, folder.parent)
        assert again.dicom_meta.get("RescaleSlope") == 5
        assert again.dicom_meta.is_missing("WindowCenter")

    def test_a_header_set_by_hand(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        image.pixel_header.RescaleSlope = 3.0
        assert come_back(image, folder.parent).dicom_meta.get("RescaleSlope") == 3
        image.dicom_meta.set_shared_item("RescaleSlope", 5)
        assert image.pixel_header.RescaleSlope == 5
        image.pixel_header = dataclasses.replace(image.pixel_header, RescaleSlope=4.0)
        assert image.pixel_header.RescaleSlope == 4
        image.dicom_meta.set_shared_item("RescaleSlope", 6)
        assert image.pixel_header.RescaleSlope == 6
        assert come_back(image, folder.parent).dicom_meta.get("RescaleSlope") == 6

    def test_a_header_that_was_kept_and_is_set_after_an_edit(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        header = image.pixel_header
        image.dicom_meta.set_shared_item("RescaleSlope", 5)
        header.RescaleSlope = 3.0
        image.dicom_meta.set_shared_item("PatientID", "another edit")
        assert image.pixel_header.RescaleSlope == 3
        assert come_back(image, folder.parent).dicom_meta.get("RescaleSlope") == 3

    def test_center_in_the_header_and_width_in_the_metadata(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        image.pixel_header.WindowCenter = 300.0
        image.dicom_meta.set_shared_item("WindowWidth", 1500)
        assert (image.pixel_header.WindowCenter, image.pixel_header.WindowWidth) == (300, 1500)
        again = come_back(image, folder.parent)
        assert (again.pixel_header.WindowCenter, again.pixel_header.WindowWidth) == (300, 1500)

    def test_metadata_that_are_edited_and_assigned_again(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        meta = image.dicom_meta
        meta.set_shared_item("RescaleSlope", 5)
        there = shifted(image)
        image.dicom_meta = meta
        assert image.pixel_header.RescaleSlope == 5
        again = come_back(image, folder.parent).dicom_meta
        assert again.get("RescaleSlope") == 5
        assert again.get("ImagePositionPatient", force_nonshared=True) == there

    @pytest.mark.parametrize("tag", ["SliceThickness", "PatientID"])
    def test_a_space_changed_in_place_before_an_edit(
        self, tag: str, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        image.space.origin = (1.0, 2.0, 3.0)
        image.dicom_meta.set_shared_item(tag, "7")
        assert image.space.origin == (1, 2, 3)
        again = come_back(image, folder.parent)
        assert again.space.origin == (1, 2, 3)
        assert again.dicom_meta.get(tag) == image.dicom_meta.get(tag)

    def test_a_space_changed_in_place_before_and_after_an_edit(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        image.space.origin = (1.0, 2.0, 3.0)
        there = shifted(image)
        assert image.space.origin == tuple(there[0])
        space = image.space
        shifted(image)
        space.origin = (4.0, 5.0, 6.0)
        assert image.space.origin == (4, 5, 6)
        assert come_back(image, folder.parent).space.origin == (4, 5, 6)

    def test_images_that_share_metadata_have_headers_of_their_own(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        rescaled = DicomCubeImage(image.raw_image, dicom_meta=image.dicom_meta, space=image.space)
        rescaled.pixel_header.RescaleIntercept = 12.0
        assert image.pixel_header.RescaleIntercept == -1024
        for one, intercept in ((image, -1024), (rescaled, 12)):
            (folder.parent / str(intercept)).mkdir()
            again = come_back(one, folder.parent / str(intercept))
            assert again.dicom_meta.get("RescaleIntercept") == intercept

    def test_a_pickle_follows_too(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        image.dicom_meta.set_shared_item("RescaleSlope", 5)
        again = pickle.loads(pickle.dumps(image))
        assert b"HeaderAndSpace" not in pickle.dumps(image.dicom_meta)
        again.pixel_header.WindowCenter = 300.0
        again.dicom_meta.set_shared_item("WindowCenter", 70)
        assert (again.pixel_header.RescaleSlope, again.pixel_header.WindowCenter) == (5, 70)
        assert image.pixel_header.WindowCenter == 40

    def test_a_new_order(self, origin: Callable[[Path], DicomCubeImage], folder: Path) -> None:
        image = origin(folder)
        image.dicom_meta.set_nonshared_item("RescaleSlope", [1, 2, 3])
        image.dicom_meta.set_nonshared_item("WindowCenter", [10, 20, 30])
        values, places = image.get_fdata(), image.dicom_meta.get_values("ImagePositionPatient")
        order = image.dicom_meta.sort_files(SortMethod.INSTANCE_NUMBER_DESC)
        image.raw_image = image.raw_image[order]
        assert order == [2, 1, 0]
        np.testing.assert_array_equal(image.get_fdata(), values[::-1])
        image.to_dicom_folder(folder.parent / "out")
        again = DicomCubeImage.from_dicom_folder(
            folder.parent / "out", SortMethod.INSTANCE_NUMBER_DESC
        )
        assert again.dicom_meta.get_values("ImagePositionPatient") == places[::-1]
        assert again.dicom_meta.get_values("WindowCenter") == [30, 20, 10]
        np.testing.assert_array_equal(again.get_fdata(), values[::-1])
        assert again.space == image.space

    def test_a_new_order_keeps_what_was_set_for_all(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        image.dicom_meta.set_nonshared_item("RescaleSlope", [1, 2, 3])
        image.pixel_header.RescaleSlope, image.pixel_header.WindowCenter = 7.0, 70.0
        image.space = dataclasses.replace(image.space, origin=(1.0, 2.0, 3.0))
        image.dicom_meta.sort_files(SortMethod.INSTANCE_NUMBER_DESC)
        assert image.pixel_header.RescaleSlope == 7
        assert image.pixel_header.WindowCenter == 70

    def test_slices_chosen_by_hand(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        image.dicom_meta.set_nonshared_item("RescaleSlope", [1, 2, 3])
        image.dicom_meta.set_nonshared_item("WindowCenter", [10, 20, 30])
        meta, header = image.dicom_meta.select([1, 2]), image.pixel_header
        part = DicomCubeImage(image.raw_image[1:], header, meta)
        np.testing.assert_array_equal(part.get_fdata(), image.get_fdata()[1:])
        assert (header.RescaleSlope, part.pixel_header.RescaleSlope) == (1, 2)
        assert (header.WindowCenter, part.pixel_header.WindowCenter) == (10, 20)
        for_all = dataclasses.replace(header, RescaleSlope=7.0)
        part = DicomCubeImage(image.raw_image[1:], for_all, meta)
        np.testing.assert_array_equal(
            part.get_fdata("float64"), part.raw_image * 7.0 + header.RescaleIntercept
        )

    def test_other_images_keep_a_header(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        other = DicomCubeImage(image.raw_image, image.pixel_header, copy.deepcopy(image.dicom_meta))
        other.dicom_meta.set_shared_item("RescaleSlope", 5)
        assert (image.pixel_header.RescaleSlope, other.pixel_header.RescaleSlope) == (1, 5)

    def test_an_edit_that_fails_is_none(
        self, origin: Callable[[Path], DicomCubeImage], folder: Path
    ) -> None:
        image = origin(folder)
        with pytest.raises(MetaDataError):
            image.dicom_meta.set_shared_item("ImagePositionPatient", ["nowhere"])
        assert image.dicom_meta.edits == []


@pytest.mark.parametrize("exact", [True, False], ids=["fresh", "of metadata alone"])
@pytest.mark.parametrize("charset", ["ISO_IR 192", "GB18030", None])
def test_another_character_set_of_texts_whose_bytes_are_kept(
    charset: str | None, exact: bool, tmp_path: Path
) -> None:
    """Those with more padding than they need, say."""
    series = make_series(2)
    for dataset in series:
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.PatientName = "M\u00fcller^J\u00fcrgen   "
        dataset.AnatomicRegionSequence = [item(CodeMeaning="Gr\u00f6\u00dfe    ")]
    write_series(tmp_path / "in", series)
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_file(tmp_path / "x.dcbs", exact=exact)
    image = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    assert image.dicom_meta is not None
    if charset is None:
        del image.dicom_meta["SpecificCharacterSet"]
    else:
        image.dicom_meta.set_shared_item("SpecificCharacterSet", charset)
    image.to_dicom_folder(tmp_path / "out")
    written = dcmread(tmp_path / "out" / "slice_0000.dcm")
    assert written.PatientName == "M\u00fcller^J\u00fcrgen"
    assert written.AnatomicRegionSequence[0].CodeMeaning == "Gr\u00f6\u00dfe"


def test_another_character_set_of_bytes_that_were_not_understood(tmp_path: Path) -> None:
    """They stay, whatever set is named: it may be theirs."""
    (dataset,) = make_series(1)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName = "M\u00fcller"
    write_series(tmp_path / "in", [dataset])
    (path,) = (tmp_path / "in").iterdir()
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 192"))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    assert image.dicom_meta is not None
    image.dicom_meta.set_shared_item("SpecificCharacterSet", "ISO_IR 100")
    image.to_dicom_folder(tmp_path / "out")
    assert dcmread(tmp_path / "out" / "slice_0000.dcm").PatientName == "M\u00fcller"
