"""Errors, warnings and log records quote no text of a file: neither values nor names in it."""

# ruff: noqa: B023 (each function is called before the next round of its loop)
from __future__ import annotations

import json
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import item, make_series, write_series
from inputs.sealing import with_section
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

import dicube
from dicube import DicomCubeImage
from dicube.cli import main
from dicube.core.instances.stored_files import restore_files
from dicube.exceptions import DicomCubeError
from dicube.storage import DcbReader
from dicube.storage.packed_text import pack_bytes, pack_text, unpack_bytes, unpack_text

MARKER = "ZZMARK"
TEXTS = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI"}
CheckCalls = Callable[[str, Path], None]


def messages_of(call: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    """Yield the texts of the error, the warnings and the log records that a call makes."""
    caplog.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except DicomCubeError as error:
            yield "".join(traceback.format_exception(error)) + repr(error) + str(error.details)
    yield from (str(warning.message) for warning in caught)
    yield from (record.getMessage() for record in caplog.records)


def check(name: str, call: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> None:
    for message in messages_of(call, caplog):
        assert MARKER not in message, f"{name}: {message}"


def check_all_calls(
    name: str, source: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Make all calls that read a file or folder, and those that an image of it has."""
    target = source.parent / f"out_{source.name}"
    images: list[DicomCubeImage] = []
    read = DicomCubeImage.from_dicom_folder if source.is_dir() else DicomCubeImage.from_file
    check(name, lambda: images.append(read(source)), caplog)
    for image in images:
        meta = image.dicom_meta
        for number, call in enumerate(
            (
                image.get_fdata,
                lambda: image.get_fdata(real_world=5),
                lambda: image.get_fdata(real_world="none"),
                image.volumes,
                image.why_not_exact,
                lambda: image.to_file(target / "x.dcbs"),
                lambda: image.to_file(target / "x.dcbl", distance=1),
                lambda: image.to_nifti(target / "x.nii"),
                lambda: image.to_dicom_folder(target / "exact", exact=True),
                lambda: image.to_dicom_folder(target / "new", exact=False, overwrite=True),
                lambda: image.to_dicom_folder(target / "new", overwrite=True),
                lambda: image.to_dicom_folder(target / "coded", transfer_syntax="htj2k"),
                lambda: image.to_dicom_file(target / "x.dcm", overwrite=True),
                lambda: meta and [meta.dataset(index) for index in range(meta.slice_count)],
                lambda: meta and dicube.check_dicom(meta),
                lambda: image.raw_image.fill(1),
                lambda: image.to_dicom_folder(target / "changed", exact=True),
                lambda: image.to_file(target / "changed.dcbs"),
            )
        ):
            target.mkdir(exist_ok=True)
            check(f"{name}, call {number}", call, caplog)
    if source.is_file():
        check(f"{name}, load_meta", lambda: dicube.load_meta(source), caplog)
        check(f"{name}, verify", lambda: dicube.verify_file(source), caplog)
        check(f"{name}, open", lambda: dicube.open(source).get_fdata(), caplog)
        check(f"{name}, restore", lambda: restore_files(source, target / "restored"), caplog)
        commands = [["convert", str(source), f"{target}/command/"], ["verify", str(source)]]
    else:
        commands = [["convert", str(source), str(target / "command.dcbs")]]
        commands += [["convert", str(source), f"{target}/all/", "--all-series", "--to", "dcbs"]]
    for command in (*commands, ["info", str(source)]):
        capsys.readouterr()
        main(command)
        assert MARKER not in capsys.readouterr().err, f"{name}: {command[0]}"


@pytest.fixture
def check_calls(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> CheckCalls:
    """What `check_all_calls` does."""
    caplog.set_level(logging.INFO)
    return partial(check_all_calls, caplog=caplog, capsys=capsys)


def a_series() -> list[Dataset]:
    datasets = make_series(3)
    for dataset in datasets:
        dataset.StudyDate, dataset.StudyTime, dataset.PatientAge = "20200101", "101010", "030Y"
        dataset.PatientComments, dataset.StudyID, dataset.WindowWidth = "c", "1", "40"
        dataset.LossyImageCompression, dataset.FrameOfReferenceUID = "00", "1.2.3"
        dataset.file_meta.SourceApplicationEntityTitle = "AE"
        dataset.RealWorldValueMappingSequence = [
            item(
                LUTLabel="L",
                RealWorldValueFirstValueMapped=0,
                RealWorldValueLastValueMapped=0xFFFF,
                RealWorldValueSlope=slope,
                RealWorldValueIntercept=0.0,
                MeasurementUnitsCodeSequence=[item(CodeValue="mm")],
            )
            for slope in (1.0, 2.0)
        ]
    return datasets


def elements_of(dataset: Dataset) -> Iterator[tuple[str, str]]:
    for element in (*dataset.file_meta, *dataset):
        if element.VR in TEXTS:
            yield element.keyword, element.VR


def with_text(data: bytes, keyword: str, text: str) -> bytes:
    """Return a DICOM file in which the raw value of an element is a text.

    Args:
        data: the file, in explicit little endian encoding.
        keyword: of the element, whose VR is one of `TEXTS`.
        text: the new value.
    """
    tag = tag_for_keyword(keyword)
    assert tag is not None
    head = pack("<HH", tag >> 16, tag & 0xFFFF) + dictionary_VR(tag).encode()
    place = data.index(head)
    size = int.from_bytes(data[place + 6 : place + 8], "little")
    value = text.encode() + b" " * (len(text) % 2)
    changed = data[:place] + head + pack("<H", len(value)) + value + data[place + 8 + size :]
    if tag >> 16 == 2:  # the length of the group
        group = int.from_bytes(changed[140:144], "little") + len(value) - size
        changed = changed[:140] + pack("<L", group) + changed[144:]
    return changed


@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize("keyword", sorted(name for name, _ in elements_of(a_series()[0])))
def test_texts_of_dicom_elements(
    keyword: str, everywhere: bool, tmp_path: Path, check_calls: CheckCalls
) -> None:
    folder = write_series(tmp_path / "in", a_series())
    for number, path in enumerate(sorted(folder.iterdir())):
        if everywhere or number == 1:
            path.write_bytes(with_text(path.read_bytes(), keyword, f"{MARKER}.1"))
    check_calls(keyword, folder)


def coded(dataset: Dataset) -> None:
    """Make the pixels frames that no decoder decodes."""
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([b"\xff\xd8 no JPEG"])
    dataset["PixelData"].VR = "OB"


def test_texts_of_all_elements_in_multi_frame_and_coded_files(
    tmp_path: Path, check_calls: CheckCalls
) -> None:
    for name, change in (
        ("without series", lambda one: one.pop("SeriesInstanceUID")),
        ("coded", coded),
        ("without pixels", lambda one: one.pop("PixelData")),
        ("two descriptions", lambda one: None),
    ):
        datasets = a_series()
        for number, dataset in enumerate(datasets):
            for keyword in ("SeriesDescription", "PatientName", "StudyID", "PatientComments"):
                setattr(dataset, keyword, MARKER)
            dataset.SOPInstanceUID = "1.2" if name == "two descriptions" else f"1.2.{number}"
            change(dataset)
        (tmp_path / name).mkdir()
        check_calls(name, write_series(tmp_path / name / "in", datasets))


# ------------------------------------------------------------------------------- dicube files

SECTIONS: dict[str, tuple[Callable[[bytes], str], Callable[[str], bytes]]] = {
    "dicom_meta": (unpack_text, pack_text),
    "pixel_header": (bytes.decode, str.encode),
    "space": (bytes.decode, str.encode),
    "dicom_status": (
        lambda data: json.dumps(data.decode()),
        lambda text: json.loads(text).encode(),
    ),
    "originals": (
        lambda data: unpack_bytes(data)[4:].decode("latin-1"),
        lambda text: pack_bytes(
            pack("<L", json.JSONDecoder().raw_decode(text)[1]) + text.encode("latin-1")
        ),
    ),
    "loss": (bytes.decode, str.encode),
}


@cache
def stored(lossy: bool) -> bytes:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        image = DicomCubeImage.from_dicom_folder(write_series(Path(folder) / "in", a_series()))
        path = Path(folder) / ("x.dcbl" if lossy else "x.dcbs")
        image.to_file(path)
        return path.read_bytes()


def changed(document: Any) -> Iterator[Any]:
    """Yield copies of a JSON document with the marker in place of each key and each value."""
    yield MARKER
    if isinstance(document, dict):
        for key, value in document.items():
            yield {MARKER if name == key else name: other for name, other in document.items()}
            for new in changed(value):
                yield {**document, key: new}
        yield {**document, MARKER: MARKER}
    elif isinstance(document, list):
        for place, value in enumerate(document[:2]):
            for new in changed(value):
                yield [*document[:place], new, *document[place + 1 :]]


@pytest.mark.parametrize("section", SECTIONS)
def test_texts_of_sections(section: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = stored(section == "loss")
    unpack, pack_ = SECTIONS[section]
    (tmp_path / "x.dcb").write_bytes(file)
    with DcbReader(tmp_path / "x.dcb") as reader:
        text = unpack(bytes(reader.sections[section]))
    document, end = json.JSONDecoder().raw_decode(text)
    several = list(changed(document))
    assert len(several) > 10 or section == "dicom_status"
    # Of the many places in the metadata, every eleventh one.
    for number, new in enumerate(several[:: 11 if section == "dicom_meta" else 1]):
        crafted = with_section(file, section, pack_(json.dumps(new) + text[end:]))
        path = tmp_path / "crafted.dcb"
        path.write_bytes(crafted)
        images: list[DicomCubeImage] = []
        name = f"{section} {number}"
        check(name, lambda: images.append(DicomCubeImage.from_file(path)), caplog)
        check(name, lambda: dicube.load_meta(path), caplog)
        check(name, lambda: dicube.verify_file(path), caplog)
        for image in images:
            for call in (
                image.get_fdata,
                image.volumes,
                image.why_not_exact,
                lambda: image.to_dicom_folder(tmp_path / "exact", exact=True, overwrite=True),
                lambda: image.to_dicom_folder(tmp_path / "new", exact=False, overwrite=True),
                lambda: image.to_file(tmp_path / "y.dcbs"),
            ):
                check(name, call, caplog)


@pytest.mark.parametrize("name", [MARKER, f"{MARKER}/{'x' * 300}", f"../{MARKER}", f"/{MARKER}"])
def test_names_of_original_files(name: str, tmp_path: Path, check_calls: CheckCalls) -> None:
    file = stored(False)
    (tmp_path / "x.dcb").write_bytes(file)
    with DcbReader(tmp_path / "x.dcb") as reader:
        unpack, pack_ = SECTIONS["originals"]
        text = unpack(bytes(reader.sections["originals"]))
    document, end = json.JSONDecoder().raw_decode(text)
    for number, entry in enumerate(document["files"]):
        entry["name"] = name + str(number)
    rest = text[end:]
    for damage, packed in (("", rest), ("damaged", "\0" * 8 + rest[8:]), ("digest", rest[:-9])):
        path = tmp_path / f"x{damage}.dcbs"
        path.write_bytes(with_section(file, "originals", pack_(json.dumps(document) + packed)))
        check_calls(f"names {damage}", path)


def test_numbers_are_shown_and_texts_counted() -> None:
    meta = DicomCubeImage(np.zeros((1, 4, 4), np.uint16)).init_meta()
    with pytest.raises(DicomCubeError, match=r"SliceThickness: .*found a text of 6 characters"):
        meta.set_shared_item("SliceThickness", MARKER)
    with pytest.raises(DicomCubeError, match=r"\[70000\] can't be stored with VR US"):
        meta.set_shared_item("Rows", 70000)
