"""vendors: private elements are found by their private creator; mosaics by their image type."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from inputs.dicom_series import each, make_series
from pydicom.dataset import Dataset

from dicube.dicom import DicomMeta
from dicube.dicom.dicom_tags import get_tag_key
from dicube.dicom.series.vendors import PRIVATE_ELEMENTS, PrivateElement, is_mosaic, private_keys
from dicube.dicom.series.volumes import series_volumes


def diffusion(creators: Sequence[str], group: int, number: int, vr: str = "IS") -> list[Dataset]:
    """Make two volumes of three slices, with one private element of creators' blocks in turn."""
    series = make_series(6)
    for index, dataset in enumerate(series):
        dataset.ImagePositionPatient = [-10, 20, 2.5 * (index % 3)]
        for creator in creators:
            block = dataset.private_block(group, creator, create=True)
            block.add_new(number, vr, 1000 * (index // 3))
    return series


@pytest.mark.parametrize("element", PRIVATE_ELEMENTS, ids=lambda e: f"{e.vendor} {e.keyword}")
@pytest.mark.parametrize("others", [0, 1, 3])
def test_private_elements_split_volumes(element: PrivateElement, others: int) -> None:
    creators = [*(f"OTHER {index}" for index in range(others)), element.creator]
    group, number = int(element.group, 16), int(element.number, 16)
    meta = DicomMeta.from_datasets(diffusion(creators, group, number))
    key = f"{element.group}{0x10 + others:02X}{element.number}"
    assert list(private_keys(meta, element.keyword)) == [key]
    found = series_volumes(meta)
    assert found is not None
    assert (found.name, found.values) == (f"({key[:4]},{key[4:]})", [0, 1000])
    assert found.slices == [[0, 1, 2], [3, 4, 5]]


def test_the_same_number_of_another_creator_is_something_else() -> None:
    meta = DicomMeta.from_datasets(diffusion(["OTHER"], 0x0019, 0x0C))
    assert not meta.is_missing("0019100C")
    assert list(private_keys(meta, "DiffusionBValue")) == []


def test_a_block_of_two_creators_belongs_to_neither() -> None:
    series = diffusion(["SIEMENS MR HEADER"], 0x0019, 0x0C)
    series[4][0x0019, 0x0010].value = "OTHER"
    assert list(private_keys(DicomMeta.from_datasets(series), "DiffusionBValue")) == []


def test_slices_may_lack_the_block() -> None:
    series = diffusion(["SIEMENS MR HEADER"], 0x0019, 0x0C)
    del series[0][0x0019, 0x0010], series[0][0x0019, 0x100C]
    assert list(private_keys(DicomMeta.from_datasets(series), "DiffusionBValue")) == ["0019100C"]


@pytest.mark.parametrize("element", PRIVATE_ELEMENTS, ids=lambda e: f"{e.vendor} {e.keyword}")
def test_the_table_is_of_private_groups_and_standard_keywords(element: PrivateElement) -> None:
    assert int(element.group, 16) % 2 == 1
    assert get_tag_key(element.keyword)


@pytest.mark.parametrize(
    ("image_type", "expected"),
    [(["ORIGINAL", "PRIMARY", "MOSAIC"], True), ("MOSAIC", True), (["ORIGINAL", "PRIMARY"], False)],
)
def test_mosaics(image_type: str | list[str], expected: bool) -> None:
    series = each(make_series(2), "ImageType", [image_type] * 2)
    assert is_mosaic(DicomMeta.from_datasets(series)) is expected
