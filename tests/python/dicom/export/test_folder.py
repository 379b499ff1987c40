"""folder: pydicom and dicube read exported instances, with the same elements and pixels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from inputs.dicom_series import item, make_series, write_series
from pydicom.sequence import Sequence

from dicube import DicomCubeImage
from dicube.dicom import DicomMeta, get_space_from_DicomMeta
from dicube.dicom.dicom_io import read_series
from dicube.dicom.export.folder import write_dicom_folder
from dicube.dicom.series.geometry import Space, same_space
from dicube.exceptions import (
    CubeFileAccessError,
    DataConsistencyError,
    MetaDataError,
    OutOfMemoryError,
    TargetExistsError,
)
from dicube.pixel_header import PixelDataHeader

Series = tuple[DicomMeta, Any, PixelDataHeader]


def loaded(folder: Path, datasets: list[Any]) -> Series:
    return read_series(write_series(folder, datasets))[:3]


@pytest.fixture
def series(tmp_path: Path) -> Series:
    return loaded(tmp_path / "in", make_series(4))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
@pytest.mark.parametrize("shape", [(6, 5), (1, 1), (3, 3, 3)])
def test_round_trip(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    meta, volume, header = loaded(tmp_path / "in", make_series(3, shape=shape, dtype=dtype))
    paths = write_dicom_folder(tmp_path / "out", meta, volume, header)
    assert [os.path.basename(path) for path in paths] == [f"slice_{i:04d}.dcm" for i in range(3)]
    assert sorted(os.listdir(tmp_path / "out")) == [f"slice_{i:04d}.dcm" for i in range(3)]
    for index, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        np.testing.assert_array_equal(dataset.pixel_array, volume[index])
        source = pydicom.dcmread(str(meta.filenames[index]))  # type: ignore[index]
        assert dataset == source
        assert list(dataset.keys()) == sorted(dataset.keys())
    again, values, same_header, _ = read_series(tmp_path / "out")
    assert again == meta
    assert same_header == header
    np.testing.assert_array_equal(values, volume)


def test_everything_in_the_metadata_comes_back(tmp_path: Path) -> None:
    datasets = make_series(3)
    for i, dataset in enumerate(datasets):
        dataset.PatientName = "Müller^Jörg"
        dataset.SliceThickness = "2.50"
        dataset.AccessionNumber = ""
        dataset.ReferencedImageSequence = Sequence(
            [item(ReferencedSOPInstanceUID=f"1.{i}.{k}") for k in range(i)]
        )
        block = dataset.private_block(0x0029, "ACME", create=True)
        block.add_new(1, "OB", bytes([i]) * 20_000)
        block.add_new(2, "UN", b"abc ")
        dataset.add_new(0xFFFCFFFC, "OB", b"\0\0")
        if i == 1:
            dataset.ImageComments = "only here"
    meta, volume, header = loaded(tmp_path / "in", datasets)
    write_dicom_folder(tmp_path / "out", meta, volume, header)
    for i, source in enumerate(datasets):
        written = pydicom.dcmread(tmp_path / "out" / f"slice_{i:04d}.dcm")
        assert written == pydicom.dcmread(str(meta.filenames[i]))  # type: ignore[index]
        assert written.PatientName == source.PatientName
        assert written.SliceThickness.original_string == "2.50"


def test_file_meta(series: Series, tmp_path: Path) -> None:
    meta, volume, header = series
    write_dicom_folder(tmp_path / "out", meta, volume, header)
    found = [pydicom.dcmread(path).file_meta for path in sorted((tmp_path / "out").iterdir())]
    pydicom.dataset.validate_file_meta(found[0])
    assert {info.TransferSyntaxUID for info in found} == {"1.2.840.10008.1.2.1"}
    assert len({info.ImplementationClassUID for info in found}) == 1
    assert found[0].ImplementationClassUID.is_valid
    assert [info.MediaStorageSOPInstanceUID for info in found] == meta.get("SOPInstanceUID")
    raw = (tmp_path / "out" / "slice_0000.dcm").read_bytes()
    end = 144 + found[0].FileMetaInformationGroupLength
    assert raw[128:132] == b"DICM"
    assert raw[end : end + 2] == b"\x08\x00"


def test_source_application_entity_stays(tmp_path: Path) -> None:
    datasets = make_series(2)
    for dataset in datasets:
        dataset.file_meta.SourceApplicationEntityTitle = "SCANNER"
    meta, volume, header = loaded(tmp_path / "in", datasets)
    write_dicom_folder(tmp_path / "out", meta, volume, header)
    written = pydicom.dcmread(tmp_path / "out" / "slice_0001.dcm")
    assert written.file_meta.SourceApplicationEntityTitle == "SCANNER"


def test_a_folder_that_is_not_empty(series: Series, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    (out / "slice_0000.dcm").write_text("old")
    with pytest.raises(TargetExistsError, match="not empty") as caught:
        write_dicom_folder(out, *series)
    assert isinstance(caught.value, FileExistsError)
    assert (out / "slice_0000.dcm").read_text() == "old"
    write_dicom_folder(out, *series, overwrite=True)
    assert (out / "thesis.txt").read_text() == "years of work"
    assert pydicom.dcmread(out / "slice_0000.dcm").InstanceNumber == 1
    assert len(os.listdir(out)) == 5


def test_exporting_onto_the_source_is_refused(series: Series, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in (tmp_path / "in").iterdir()}
    with pytest.raises(TargetExistsError):
        write_dicom_folder(tmp_path / "in", *series)
    assert {path.name: path.read_bytes() for path in (tmp_path / "in").iterdir()} == before


def test_a_target_that_is_a_file(series: Series, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(TargetExistsError):
        write_dicom_folder(tmp_path / "file", *series, overwrite=True)
    with pytest.raises(CubeFileAccessError):
        write_dicom_folder(tmp_path / "file" / "below", *series)


def test_a_failed_write_leaves_the_old_file(
    series: Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "slice_0002.dcm").write_text("old")
    replace = os.replace

    def full(source: str, target: str) -> None:
        if target.endswith("slice_0002.dcm"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CubeFileAccessError, match=r"slice_0002.*No space left"):
        write_dicom_folder(out, *series, overwrite=True)
    assert (out / "slice_0002.dcm").read_text() == "old"
    assert all(name.startswith("slice_") for name in os.listdir(out))  # nothing half-written


def test_progress(series: Series, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    write_dicom_folder(tmp_path / "out", *series, progress=lambda *step: steps.append(step))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_counts_that_do_not_fit(series: Series, tmp_path: Path) -> None:
    meta, volume, header = series
    with pytest.raises(DataConsistencyError, match="metadata of 3 slices, found 4"):
        write_dicom_folder(tmp_path / "out", meta, volume[:3], header)
    with pytest.raises(DataConsistencyError, match="dimensions"):
        write_dicom_folder(tmp_path / "out", meta, volume[0], header)
    with pytest.raises(DataConsistencyError, match="space"):
        write_dicom_folder(tmp_path / "out", meta, volume, header, Space(shape=(4, 5, 6)))
    with pytest.raises(DataConsistencyError, match="int64"):
        write_dicom_folder(tmp_path / "out", meta, volume.astype("int64"), header)
    assert not (tmp_path / "out").exists()


def test_big_endian_and_strided_arrays(series: Series, tmp_path: Path) -> None:
    meta, volume, header = series
    for name, array in {"a": volume.astype(">u2"), "b": np.asfortranarray(volume)}.items():
        write_dicom_folder(tmp_path / name, meta, array, header)
        np.testing.assert_array_equal(read_series(tmp_path / name).volume, volume)


def test_a_space_of_one_s_own(series: Series, tmp_path: Path) -> None:
    meta, volume, header = series
    told = get_space_from_DicomMeta(meta, "zyx")
    write_dicom_folder(tmp_path / "a", meta, volume, header, told)
    assert read_series(tmp_path / "a").meta == meta
    moved = Space(
        shape=(4, 6, 5),
        origin=(1, 2, 3),
        spacing=(4.0, 3.0, 2.0),
        x_orientation=(1, 0, 0),
        y_orientation=(0, 0, -1),
        z_orientation=(0, 1, 0),
    )
    write_dicom_folder(tmp_path / "b", meta, volume, header, moved)
    again = get_space_from_DicomMeta(read_series(tmp_path / "b").meta, "zyx")
    assert again is not None
    assert same_space(again, moved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("of", "name"),
    [
        *(("pixel_header", name) for name in ("RescaleSlope", "WindowCenter", "WindowWidth")),
        ("space", "origin"),
    ],
)
def test_numbers_that_dicom_has_not(of: str, name: str, value: float, tmp_path: Path) -> None:
    image = DicomCubeImage.from_dicom_folder(write_series(tmp_path / "in", make_series(2)))
    setattr(getattr(image, of), name, (0.0, 1.0, value) if of == "space" else value)
    for write, target in ((image.to_dicom_folder, "out"), (image.to_dicom_file, "x.dcm")):
        with pytest.raises(DataConsistencyError, match="DICOM can't store"):
            write(tmp_path / target)
        assert not (tmp_path / target).exists()


def test_instances_without_uids_of_their_own(series: Series, tmp_path: Path) -> None:
    meta, volume, header = series
    meta.set_shared_item("SOPInstanceUID", "1.2.3")
    del meta["SOPClassUID"]
    for name in ("a", "b"):
        write_dicom_folder(tmp_path / name, meta, volume, header)
    uids = [read_series(tmp_path / name).meta.get("SOPInstanceUID") for name in ("a", "b")]
    assert len(set(uids[0])) == 4
    assert uids[0] == uids[1]


def test_a_name_that_its_character_set_has_not_got(series: Series, tmp_path: Path) -> None:
    meta, volume, header = series
    with pytest.raises(MetaDataError, match="ISO_IR 192"):
        meta.set_shared_item("PatientName", "王^小東")
    meta.set_shared_item("SpecificCharacterSet", "ISO_IR 192")
    meta.set_shared_item("PatientName", "王^小東")
    write_dicom_folder(tmp_path / "out", meta, volume, header)
    assert pydicom.dcmread(tmp_path / "out" / "slice_0000.dcm").PatientName == "王^小東"


@pytest.mark.parametrize("in_items", [False, True])
def test_large_elements_that_all_slices_share(in_items: bool, tmp_path: Path) -> None:
    """Metadata of a few KB, packed, must not become gigabytes in many files."""
    count = 200
    large = {"vr": "LT", "shared": True, "Value": ["x" * (6 << 20)]}
    items = [{"00104000": large}, {}]
    counts = [2, *[1] * (count - 1)]  # so that the sequence differs between slices
    entry = {"vr": "SQ", "shared": None, "Value": items, "counts": counts} if in_items else large
    meta = DicomMeta({"00081140" if in_items else "00104000": entry}, slice_count=count)
    volume = np.zeros((count, 8, 8), np.uint16)
    with pytest.raises(OutOfMemoryError, match=r"of 200 files take 12.* more than 107"):
        write_dicom_folder(tmp_path / "out", meta, volume, PixelDataHeader())
    assert not (tmp_path / "out").exists()
    meta = meta.select(range(2))
    assert len(write_dicom_folder(tmp_path / "out", meta, volume[:2], PixelDataHeader())) == 2
