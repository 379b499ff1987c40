"""Files with random elements are restored byte for byte, and exported element for element."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pydicom
import pytest
from inputs.random_elements import RandomElements
from pydicom.dataset import Dataset

from dicube import DicomCubeImage

_PIXEL_REPRESENTATION = 0x00280103  # pydicom converts it when it meets a sequence


def elements_of(dataset: Dataset, with_vr: bool) -> dict[int, Any]:
    """Return the elements as they stand: value representation, and bytes or items."""
    found: dict[int, Any] = {}
    for tag, element in [(tag, dataset.get_item(tag)) for tag in list(dataset.keys())]:
        if element.VR == "SQ" or (element.VR is None and dataset[tag].VR == "SQ"):
            value = [elements_of(item, with_vr) for item in dataset[tag].value]
        else:
            value = element.value
        found[int(tag)] = element.VR if with_vr else "", value or b""
    return {t: element for t, element in found.items() if t & 0xFFFF and t != _PIXEL_REPRESENTATION}


def with_known_vrs(source: Any, target: Any) -> Any:
    """Return elements of a source with the VRs of a target where the source says UN.

    What was sent as UN may go out as the VR that the dictionary knows (PS3.5 6.2.2).
    """
    if isinstance(source, list):
        pairs = zip(source, target, strict=False)
        return [*(with_known_vrs(*pair) for pair in pairs), *source[len(target) :]]
    return {
        tag: (
            target[tag][0] if vr == "UN" and tag in target else vr,
            with_known_vrs(value, target[tag][1])
            if tag in target and isinstance(value, list) and isinstance(target[tag][1], list)
            else value,
        )
        for tag, (vr, value) in source.items()
    }


@pytest.mark.parametrize("seed", range(40))
def test_there_and_back(tmp_path: Path, seed: int) -> None:
    made = RandomElements(seed)
    files = {f"I{index}": data for index, data in enumerate(made.files())}
    (tmp_path / "in").mkdir()
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
        for exact in (True, False):
            image.to_file(tmp_path / "x.dcbs", exact=exact)
            again = DicomCubeImage.from_file(tmp_path / "x.dcbs")
            assert again.dicom_meta == image.dicom_meta
            again.to_dicom_folder(tmp_path / str(exact))
        restored = {path.name: path.read_bytes() for path in (tmp_path / "True").iterdir()}
        assert restored == files
        names = [os.path.basename(name) for name in image.dicom_meta.filenames]
        for name, path in zip(names, sorted((tmp_path / "False").iterdir()), strict=True):
            read = (pydicom.dcmread(file) for file in (tmp_path / "in" / name, path))
            source, target = (elements_of(dataset, not made.implicit) for dataset in read)
            # One slice's sequence where another has something else is kept as UN, of which pydicom
            # makes what its dictionary says if it is empty.
            for tag, (vr, value) in target.items():
                if source[tag][0] == "SQ" and (vr == "UN" or not value):
                    source[tag] = target[tag]
            assert target == with_known_vrs(source, target)
            assert list(target) == list(source)
