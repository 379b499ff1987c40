"""dicom_tree: series are found and described by their headers; what can't be read is reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from inputs.dicom_series import each, make_series, make_slice, write_series
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicube import DicomCubeImage
from dicube.dicom.dicom_tree import DicomTree, find_series, problems_of
from dicube.dicom.files.sources import is_tree
from dicube.exceptions import CubeFileNotFoundError


def named(count: int, uid: str, **values: str) -> list[Dataset]:
    """Return a series with its own UIDs and other values."""
    series = make_series(count)
    for dataset in series:
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = uid, generate_uid()
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
    return series


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    write_series(root / "a", named(3, "1.1", SeriesDescription="first"))
    write_series(root / "a" / "b", named(2, "1.2", Modality="MR"))
    (root / "notes.txt").write_text("nothing")
    return root


@pytest.mark.parametrize("packed", [False, True])
def test_series_of_a_tree(tree: Path, packed: bool) -> None:
    source = Path(shutil.make_archive(str(tree), "zip", tree)) if packed else tree
    assert is_tree(source)
    steps: list[tuple[int, int]] = []
    found = find_series(source, progress=lambda *step: steps.append(step))
    assert steps == [(done, 6) for done in range(1, 7)]
    one, other = found.series
    assert (one.uid, one.modality, one.description) == ("1.1", "CT", "first")
    assert (other.uid, other.modality) == ("1.2", "MR")
    assert (one.slices, one.shapes) == (3, {(6, 5)})
    assert one.classes == {"CT Image Storage": 3}
    assert one.size == sum(path.stat().st_size for path in (tree / "a").glob("I*"))
    assert [Path(file.name).name for file in one.files] == ["I1", "I2", "I3"]
    assert found.other_files == 1 and not found.unreadable
    assert problems_of(one) == problems_of(other) == []
    image = DicomCubeImage.from_dicom_folder(one.files)
    assert np.array_equal(
        image.raw_image, DicomCubeImage.from_dicom_folder(tree, series_uid="1.1").raw_image
    )
    image.to_file(tree / "x.dcbs")
    DicomCubeImage.from_file(tree / "x.dcbs").to_dicom_folder(tree / "out")
    assert sorted(path.name for path in (tree / "out").iterdir()) == ["I1", "I2", "I3"]


def test_no_pixels_are_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicube.dicom.dicom_io.read_volume", None)
    for series in find_series(tree).series:
        assert problems_of(series) == []


def test_copies_and_frames(tree: Path) -> None:
    shutil.copytree(tree / "a", tree / "copies")
    multi = make_slice()
    multi.SeriesInstanceUID, multi.SOPInstanceUID, multi.NumberOfFrames = "1.3", "1.3.1", 4
    multi.PixelData = bytes(4 * 6 * 5 * 2)
    write_series(tree / "z", [multi])
    slices = {one.uid: (one.slices, len(one.files)) for one in find_series(tree).series}
    assert slices == {"1.1": (3, 6), "1.2": (2, 4), "1.3": (4, 1)}


def test_a_damaged_file_is_reported(tree: Path) -> None:
    target = tree / "a" / "I2"
    data = target.read_bytes()
    target.write_bytes(data[: data.index(b"\x28\0\x10\0US") + 9])  # within Rows
    found = find_series(tree)
    assert [one.path for one in found.unreadable] == [str(target)]
    assert "I2" in found.unreadable[0].reason and "\n" not in found.unreadable[0].reason
    assert [one.slices for one in found.series] == [2, 2]
    (problem, *_) = problems_of(found.series[0])
    assert problem.startswith("gap_instance_number")


def test_problems(tree: Path) -> None:
    def problems(datasets: list[Dataset]) -> list[str]:
        shutil.rmtree(tree)
        write_series(tree, datasets)
        (one,) = find_series(tree).series
        return problems_of(one)

    series = [make_slice(0), make_slice(1, shape=(7, 5))]
    (problem,) = problems(series)
    assert problem.startswith("can't be read: ") and "differ" in problem
    series[1].Rows = 8
    (problem,) = problems(series)
    assert problem.startswith("can't be read: ") and "truncated" in problem
    series = each(make_series(3), "SOPInstanceUID", ["1.5", "1.5", "1.6"])
    assert "have the same SOPInstanceUID but differ" in problems(series)[0]
    assert problems(make_series(5)[::2])[0].startswith("gap_instance_number")


def test_a_missing_decoder(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(str(get_testdata_file("JPEG2000.dcm")), tree / "j")
    monkeypatch.setattr("dicube.dicom.files.volume._has_decoder", lambda *_, **__: False)
    series = find_series(tree).series[-1]
    (problem,) = problems_of(series)
    assert problem.startswith("can't be read: ") and "no decoder for JPEG 2000" in problem


def test_patients_are_named_only_on_request(tree: Path) -> None:
    write_series(tree / "a", each(named(3, "1.1"), "PatientName", ["A^ONE", "B^TWO", "C^THREE"]))
    series = find_series(tree).series[0]
    text = " ".join(problems_of(series))
    assert "non_uniform_patient" in text and "TWO" not in text
    assert "B^TWO" in " ".join(problems_of(series, with_patients=True))


def test_objects_that_are_no_images(tree: Path) -> None:
    report = make_slice()
    del report.PixelData
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.SeriesInstanceUID, report.Modality = "1.9", "SR"
    write_series(tree / "r", [report])
    series = find_series(tree).series[-1]
    assert (series.slices, series.shapes) == (0, set())
    assert series.classes == {"Basic Text SR Storage": 1}
    assert problems_of(series) == []


def test_a_folder_may_be_left_out(tree: Path) -> None:
    DicomCubeImage.from_dicom_folder(tree, series_uid="1.2").to_file(tree / "x.dcbs")
    assert find_series(tree).dicube_files == [str(tree / "x.dcbs")]
    assert [s.uid for s in find_series(tree, leave_out=tree / "a" / "b").series] == ["1.1"]
    for outside in (tree, tree.parent, tree.parent / "tr"):
        assert len(find_series(tree, leave_out=outside).series) == 2


def test_what_is_a_tree(tree: Path) -> None:
    assert is_tree(tree / "a") and is_tree(tree / "a" / "I1")
    assert not is_tree(tree / "notes.txt") and not is_tree(tree / "none")
    assert find_series(tree / "notes.txt") == DicomTree(other_files=1)
    with pytest.raises(CubeFileNotFoundError):
        find_series(tree / "none")
    assert find_series(tree / "a" / "I1").series[0].slices == 1
