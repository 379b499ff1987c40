"""nested_pixels: icons and other pixels in sequence items keep their samples in every export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from inputs.dicom_series import item, make_series, write_series
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from dicube import DicomCubeImage, verify_file
from dicube.codecs import get_codec
from dicube.dicom import DicomMeta
from dicube.dicom.dcb_streaming import DcbStreamingReader

CREATOR, PRIVATE = 0x20050010, 0x20051001
SIDE = 64  # an icon has 4 KB, which the metadata leave to the originals


def icon_samples(dtype: str = "u1") -> np.ndarray:
    return np.random.default_rng(1).integers(0, 200, (SIDE, SIDE)).astype(dtype)


def icon(pixels: bytes, bits: int = 8) -> Dataset:
    made = item(Rows=SIDE, Columns=SIDE, SamplesPerPixel=1, BitsAllocated=bits, BitsStored=bits)
    made.HighBit, made.PixelRepresentation = bits - 1, 0
    made.PhotometricInterpretation = "MONOCHROME2"
    made.PixelData = pixels
    made["PixelData"].VR = "OB" if bits == 8 else "OW"
    return made


def nested_series(syntax: str = ExplicitVRLittleEndian) -> list[Dataset]:
    """Slices with all that a sequence item can have of the elements of images."""
    series = make_series(2, shape=(70, 66))
    for dataset in series:
        if syntax != ImplicitVRLittleEndian and syntax != ExplicitVRLittleEndian:
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.IconImageSequence = [icon(icon_samples().tobytes())]
        dataset.add_new(CREATOR, "LO", "VENDOR")
        floats = item(FloatPixelData=bytes(range(8)))
        deep = item(DoubleFloatPixelData=bytes(range(16)), ExtendedOffsetTable=bytes(16))
        deep.ExtendedOffsetTableLengths = bytes(range(16))
        deep.add_new(0x60003000, "OW", b"\x0f\xf0" * 20)
        floats.ReferencedImageSequence = [deep]
        dataset.add_new(PRIVATE, "SQ", [item(PatientComments="x", PixelData=b"abcd"), floats])
        dataset[PRIVATE].value[0]["PixelData"].VR = "OB"
    return series


def check_nested(dataset: Dataset) -> None:
    assert dataset.IconImageSequence[0].PixelData == icon_samples().tobytes()
    sequence = dataset[PRIVATE]
    assert sequence.VR == "SQ"
    first, second = sequence.value
    assert first.PixelData == b"abcd"
    assert second.FloatPixelData == bytes(range(8))
    deep = second.ReferencedImageSequence[0]
    assert deep.DoubleFloatPixelData == bytes(range(16))
    assert deep.ExtendedOffsetTable == bytes(16)
    assert deep.ExtendedOffsetTableLengths == bytes(range(16))
    assert deep[0x60003000].value == b"\x0f\xf0" * 20


def written(folder: Path) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def edited(image: DicomCubeImage, out: Path) -> None:
    assert image.dicom_meta is not None
    image.dicom_meta.set_shared_item("PatientName", "NEW^NAME")
    image.to_dicom_folder(out)


EXPORTS: dict[str, Callable[[DicomCubeImage, Path], object]] = {
    "anew": lambda image, out: image.to_dicom_folder(out, exact=False),
    "edited": edited,
    "htj2k": lambda image, out: image.to_dicom_folder(out, transfer_syntax="htj2k"),
    "jpegxl": lambda image, out: image.to_dicom_folder(out, transfer_syntax="jpegxl"),
}


@pytest.mark.parametrize("route", ["folder", ".dcbs", ".dcba"])
@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless])
def test_every_export_keeps_them(tmp_path: Path, syntax: str, export: str, route: str) -> None:
    write_series(tmp_path / "in", nested_series(syntax))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    if route != "folder":
        image.to_file(tmp_path / f"x{route}")
        image = DicomCubeImage.from_file(tmp_path / f"x{route}")
    EXPORTS[export](image, tmp_path / "out")
    for dataset in written(tmp_path / "out"):
        check_nested(dataset)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless])
def test_files_and_verification(tmp_path: Path, syntax: str, exact: bool) -> None:
    write_series(tmp_path / "in", nested_series(syntax))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    exact = exact and not image.why_not_exact()
    image.to_file(tmp_path / "x.dcbs", exact=exact)
    assert verify_file(tmp_path / "x.dcbs", tmp_path / "in").ok
    back = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    assert back.dicom_meta == image.dicom_meta
    assert back.dicom_meta is not None
    check_nested(back.dicom_meta.dataset(1))
    again = DicomMeta.from_json(back.dicom_meta.to_json())
    check_nested(again.dataset(0))
    with DcbStreamingReader(str(tmp_path / "x.dcbs")) as reader:
        (tmp_path / "frame.dcm").write_bytes(reader.get_dicom_for_frame(1))
    check_nested(pydicom.dcmread(tmp_path / "frame.dcm"))


def test_one_multi_frame_file(tmp_path: Path) -> None:
    write_series(tmp_path / "in", nested_series())
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_dicom_file(tmp_path / "out.dcm")
    groups = pydicom.dcmread(tmp_path / "out.dcm").SharedFunctionalGroupsSequence[0]
    check_nested(groups.UnassignedSharedConvertedAttributesSequence[0])


def test_items_given_by_a_caller() -> None:
    meta = DicomMeta.from_datasets(make_series(2))
    meta.set_shared_item("IconImageSequence", [icon(icon_samples().tobytes())])
    assert meta.dataset(1).IconImageSequence[0].PixelData == icon_samples().tobytes()


def coded_icons(syntax: str) -> list[Dataset]:
    """Slices whose icons are coded as they are."""
    samples = icon_samples()
    series = make_series(2, shape=(70, 66))
    for dataset in series:
        small = icon(samples.tobytes())
        small.file_meta = dataset.file_meta
        small.SOPClassUID, small.SOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        for image in (small, dataset):
            image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            if syntax == HTJ2KLossless:
                frame = get_codec("jph").encode(image.pixel_array)
                image.PixelData = encapsulate([frame])
                image["PixelData"].VR = "OB"
                image["PixelData"].is_undefined_length = True
            else:
                image.compress(syntax, generate_instance_uid=False)
        del small.SOPClassUID, small.SOPInstanceUID
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.IconImageSequence = [Dataset(small)]
    return series


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("route", ["folder", ".dcbs", ".dcba"])
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless, HTJ2KLossless])
def test_coded_icons(tmp_path: Path, syntax: str, route: str, undefined: bool) -> None:
    """A file of another transfer syntax has them decoded, as nobody could read them there."""
    series = coded_icons(syntax)
    for dataset in series:
        dataset["IconImageSequence"].is_undefined_length = undefined
        dataset.IconImageSequence[0].is_undefined_length_sequence_item = undefined
    write_series(tmp_path / "in", series)
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    if route != "folder":
        image.to_file(tmp_path / f"x{route}")
        assert verify_file(tmp_path / f"x{route}", tmp_path / "in").ok
        image = DicomCubeImage.from_file(tmp_path / f"x{route}")
    image.to_dicom_folder(tmp_path / "out", exact=False)
    for dataset in written(tmp_path / "out"):
        assert dataset.IconImageSequence[0].PixelData == icon_samples().tobytes()
        assert not dataset.IconImageSequence[0]["PixelData"].is_undefined_length
    if syntax == HTJ2KLossless:
        image.to_dicom_folder(tmp_path / "coded", transfer_syntax="htj2k")
        for dataset in written(tmp_path / "coded"):
            found = dataset.IconImageSequence[0]["PixelData"]
            assert found.value == series[0].IconImageSequence[0].PixelData
            assert found.is_undefined_length


def test_icons_that_nobody_decodes_stay_coded(tmp_path: Path) -> None:
    series = coded_icons(RLELossless)
    damaged = encapsulate([bytes(64)])
    for dataset in series:
        dataset.IconImageSequence[0].PixelData = damaged
    write_series(tmp_path / "in", series)
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    with pytest.warns(UserWarning, match="IconImageSequence: the pixels of an item stay coded"):
        image.to_dicom_folder(tmp_path / "out", exact=False)
    for dataset in written(tmp_path / "out"):
        assert dataset.IconImageSequence[0].PixelData == damaged
