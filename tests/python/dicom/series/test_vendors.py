"""vendors: private elements are found by their private creator; mosaics by their image type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from inputs.dicom_series import each, make_series
from pydicom.dataset import Dataset

from dicube.dicom import DicomMeta
from dicube.dicom.dicom_tags import get_tag_key
from dicube.dicom.series.vendors import (
    PRIVATE_ELEMENTS,
    PrivateElement,
    image_counts,
    is_mosaic,
    private_values,
)
from dicube.dicom.series.volumes import series_volumes

SPLITTING = [element for element in PRIVATE_ELEMENTS if element.meaning.isalnum()]
SIEMENS = PRIVATE_ELEMENTS[0]


def diffusion(creators: Sequence[str], group: int, number: int, vr: str = "IS") -> list[Dataset]:
    """Make two volumes of three slices, with one private element of creators' blocks in turn."""
    series = make_series(6)
    for index, dataset in enumerate(series):
        dataset.ImagePositionPatient = [-10, 20, 2.5 * (index % 3)]
        for creator in creators:
            block = dataset.private_block(group, creator, create=True)
            block.add_new(number, vr, 1000 * (index // 3))
    return series


def found_in(series: Sequence[Dataset]) -> dict[str, list[Any]]:
    """Return the values of each private b-value."""
    meta = DicomMeta.from_datasets(series)
    return {key: values for _, key, values in private_values(meta, "DiffusionBValue")}


@pytest.mark.parametrize(
    "element", SPLITTING, ids=lambda e: f"{e.vendor} {e.group}xx{e.number} {e.meaning}"
)
@pytest.mark.parametrize("others", [0, 1, 3])
@pytest.mark.parametrize("change", [str, str.upper, "{} ".format])
def test_private_elements_split_volumes(element: PrivateElement, others: int, change: Any) -> None:
    creators = [*(f"OTHER {index}" for index in range(others)), change(element.creator)]
    group, number = int(element.group, 16), int(element.number, 16)
    meta = DicomMeta.from_datasets(diffusion(creators, group, number))
    key = f"{element.group}{0x10 + others:02X}{element.number}"
    assert [(e, k) for e, k, _ in private_values(meta, element.meaning)] == [(element, key)]
    found = series_volumes(meta)
    assert found is not None
    assert (found.name, found.values) == (f"({key[:4]},{key[4:]})", [0, 1000])
    assert found.slices == [[0, 1, 2], [3, 4, 5]]


def test_the_same_number_of_another_creator_is_something_else() -> None:
    series = diffusion(["OTHER"], 0x0019, 0x0C)
    assert not DicomMeta.from_datasets(series).is_missing("0019100C")
    assert found_in(series) == {}


def test_a_block_has_the_creator_of_its_own_file() -> None:
    series = diffusion([SIEMENS.creator], 0x0019, 0x0C)
    series[4][0x0019, 0x0010].value = "OTHER"
    assert found_in(series) == {"0019100C": [0, 0, 0, 1000, None, 1000]}


def test_files_may_differ_in_the_block() -> None:
    first = diffusion([SIEMENS.creator], 0x0019, 0x0C)
    second = diffusion(["OTHER", SIEMENS.creator], 0x0019, 0x0C)
    assert found_in([*first[:3], *second[3:]]) == {"0019100C": [0, 0, 0, 1000, 1000, 1000]}


def test_slices_may_lack_the_block() -> None:
    series = diffusion([SIEMENS.creator], 0x0019, 0x0C)
    del series[0][0x0019, 0x0010], series[0][0x0019, 0x100C]
    assert found_in(series) == {"0019100C": [None, 0, 0, 1000, 1000, 1000]}


@pytest.mark.parametrize("element", PRIVATE_ELEMENTS, ids=lambda e: f"{e.vendor} {e.meaning}")
def test_the_table_is_of_private_groups(element: PrivateElement) -> None:
    assert int(element.group, 16) % 2 == 1
    assert element not in SPLITTING or get_tag_key(element.meaning)


@pytest.mark.parametrize(
    ("image_type", "expected"),
    [(["ORIGINAL", "PRIMARY", "MOSAIC"], True), ("MOSAIC", True), (["ORIGINAL", "PRIMARY"], False)],
)
def test_mosaics(image_type: str | list[str], expected: bool) -> None:
    series = each(make_series(2), "ImageType", [image_type] * 2)
    assert is_mosaic(DicomMeta.from_datasets(series)) is expected


@pytest.mark.parametrize(
    ("creator", "group", "number", "vr", "value"),
    [
        ("SIEMENS MR HEADER", 0x0019, 0x0A, "US", 25),
        ("SIEMENS MR HEADER", 0x0019, 0x0A, "UN", b"\x19\0"),
        ("Image Private Header", 0x0065, 0x50, "DS", "25"),
        ("Image Private Header", 0x0065, 0x50, "UN", b"25"),
    ],
)
def test_images_in_a_mosaic(creator: str, group: int, number: int, vr: str, value: Any) -> None:
    series = make_series(2)
    series[1].private_block(group, creator, create=True).add_new(number, vr, value)
    assert image_counts(DicomMeta.from_datasets(series)) == [0, 25]
