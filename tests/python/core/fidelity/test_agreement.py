"""agreement: files that contradict themselves are refused, though their checksums are right."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_frames import enhanced
from inputs.dicom_series import (
    item,
    make_series,
    make_slice,
    pixels_of,
    raw_data,
    set_pixels,
    write_series,
)
from inputs.original_files import (
    HTJ2K,
    JPEG,
    PYDICOM_FILES,
    SYNTAXES,
    contents,
    encapsulated,
    originals_of,
    packed,
)
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage

import dicube
from dicube import DicomCubeImage, verify_file
from dicube.codecs.jph import imencode_jph
from dicube.codecs.jxl import restore_jpeg
from dicube.core.cube_parts import read_parts
from dicube.core.fidelity.agreement import contradictions
from dicube.dicom import dicom_io
from dicube.dicom.files.instance import Instance
from dicube.dicom.files.series import IDENTITY, ChosenSeries
from dicube.dicom.originals.model import (
    BIG,
    IN_MEMORY,
    LITTLE,
    Coded,
    Original,
    Originals,
    Samples,
    frames_digest,
)
from dicube.dicom.originals.section import originals_to_bytes
from dicube.exceptions import DicomCubeError, InvalidCubeFileError
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import pack_text, unpack_text

pytestmark = pytest.mark.filterwarnings("ignore")

OWN = ("Image", "frame_offsets", "frame_lengths", "frame_checksums", "frame_levels")
PRIVATE = 0x00091001
GOLDEN = Path(__file__).resolve().parents[3] / "golden"
Sections = dict[str, bytes]
Entries = dict[str, dict[str, Any]]


def rewritten(
    path: Path,
    change: Callable[[Sections], object] = lambda sections: None,
    originals: Originals | None = None,
) -> Path:
    """Return a copy of a file with other sections or originals, and right checksums."""
    with DcbReader(path) as reader:
        sections = {name: reader.sections[name] for name in reader.sections if name not in OWN}
        frames, volume = reader.coded_frames(), reader.read_frames()
        codec, extension = reader.codec, reader.extension
    if originals is not None:
        sections["originals"] = packed(originals_to_bytes(originals, volume))
    change(sections)
    target = path.with_name(f"rewritten{extension}")
    with DcbWriter(target, volume.shape, volume.dtype, codec=codec) as writer:
        for name, data in sections.items():
            writer.write_section(name, data)
        writer.write_coded_frames(frames)
    return target


def expect_refused(path: Path, told: str = "") -> None:
    """Check that no call uses the originals of a file."""
    folder = path.parent
    image = DicomCubeImage.from_file(path)
    assert image.why_not_exact() != ""
    before = sorted(folder.rglob("*"))
    for use in (
        lambda: image.to_dicom_folder(folder / "out"),
        lambda: image.to_dicom_folder(folder / "out", exact=True),
        lambda: image.to_dicom_folder(folder / "out", transfer_syntax="htj2k"),
        lambda: image.to_dicom_file(folder / "out.dcm"),
        lambda: image.to_file(folder / f"out{path.suffix}"),
        lambda: dicube.restore_files(path, folder / "out"),
    ):
        with pytest.raises(InvalidCubeFileError, match=told) as caught:
            use()
        assert "SHA-256" not in caught.value.message  # the digests are right
    written = [p for p in folder.rglob("*") if p not in before and not p.is_dir()]
    assert not written
    assert "agreement" in failed_checks(path)
    image.to_file(folder / "new.dcbs", exact=False)
    assert DicomCubeImage.from_file(folder / "new.dcbs").shape == image.shape


def failed_checks(path: Path) -> list[str]:
    return [c.name for c in verify_file(path).checks if c.outcome.value == "failed"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A series of three slices with what can be lied about."""
    folder = tmp_path_factory.mktemp("good")
    datasets = make_series(3)
    for index, dataset in enumerate(datasets):
        dataset.SliceLocation = "0.4200000"
        dataset.WindowCenter, dataset.WindowWidth = 40 + index, 400
        dataset.add_new(0x00090010, "LO", "VENDOR")
        dataset.add_new(PRIVATE, "LO", f"secret {index}")
        dataset.add_new(0x00091002, "OB", b"\1" * 3000)
        dataset.RequestAttributesSequence = [
            item(ScheduledProcedureStepID="STEP", ScheduledProcedureStepDescription=f"no {index}")
        ]
        icon = item(Rows=1, Columns=2, BitsAllocated=8, SamplesPerPixel=1)
        set_pixels(icon, np.array([[1, 2]], np.uint8))
        dataset.IconImageSequence = [icon]
        dataset.file_meta.SourceApplicationEntityTitle = "SCANNER"
    write_series(folder / "in", datasets)
    path = folder / "good.dcbs"
    DicomCubeImage.from_dicom_folder(folder / "in").to_file(path)
    DicomCubeImage.from_file(path).to_dicom_folder(folder / "out", exact=True)
    assert contents(folder / "out") == contents(folder / "in")
    assert verify_file(path)
    return path


@pytest.fixture
def path(good: Path, tmp_path: Path) -> Path:
    """The same in a folder of its own."""
    target = tmp_path / good.name
    target.write_bytes(good.read_bytes())
    return target


def test_a_rewritten_file_is_still_good(path: Path) -> None:
    again = rewritten(path, originals=None)
    DicomCubeImage.from_file(again).to_dicom_folder(path.parent / "out", exact=True)
    assert len(contents(path.parent / "out")) == 3
    assert verify_file(again)


# ------------------------------------------------------------------------------------- metadata


def in_metadata(change: Callable[[Entries], object], key: str = "_merged_data") -> Any:
    """Change the entries of the metadata."""

    def changed(sections: Sections) -> None:
        document = json.loads(unpack_text(sections["dicom_meta"]))
        change(document[key])
        sections["dicom_meta"] = pack_text(json.dumps(document))

    return changed


def entry(key: str, **values: Any) -> Any:
    """Set something of an entry; None removes it."""

    def change(entries: Entries) -> None:
        entries.setdefault(key, {}).update(values)
        entries[key] = {k: v for k, v in entries[key].items() if v is not None or k == "shared"}

    return in_metadata(change)


def nested(key: str, **values: Any) -> Any:
    """Set something of an entry in RequestAttributesSequence."""

    def change(entries: Entries) -> None:
        entries["00400275"]["Value"][0].setdefault(key, {}).update(values)

    return in_metadata(change)


def reverse(entries: Entries) -> None:
    """Reverse all values that differ between slices, at the top level."""
    for one in entries.values():
        for name in ("Value", "InlineBinary", "raw"):
            if one["shared"] is False and name in one:
                one[name] = one[name][::-1]


NAME = {"vr": "PN", "shared": True, "Value": [{"Alphabetic": "ROE^BOB"}]}
METADATA = {
    "patient": entry("00100010", Value=[{"Alphabetic": "ROE^BOB"}]),
    "patient of one slice": entry(
        "00100010",
        shared=False,
        Value=[{"Alphabetic": name} for name in ("DOE^JOHN", "ROE^BOB", "DOE^JOHN")],
    ),
    "patient is missing": in_metadata(lambda entries: entries.pop("00100010")),
    "patient of one slice is missing": entry(
        "00100010",
        shared=False,
        Value=[{"Alphabetic": "DOE^JOHN"}, None, {"Alphabetic": "DOE^JOHN"}],
    ),
    "raw of another name": entry("00100010", Value=[{"Alphabetic": "ROE^BOB"}], raw="DOE^JOHN"),
    "value and binary": entry("00091002", InlineBinary="AQE=", Value=["shown"]),
    "another number with the raw text": entry("00201041", Value=[0.43]),
    "another VR": entry("00100020", vr="PN"),
    "another birth date": entry("00100030", vr="DA", shared=True, Value=["19700101"]),
    "rescale": entry("00281052", Value=[-1000.0]),
    "rows": entry("00280010", Value=[5]),
    "positions in reverse": in_metadata(
        lambda entries: entries["00200032"].update(
            {
                name: entries["00200032"][name][::-1]
                for name in ("Value", "raw")
                if name in entries["00200032"]
            }
        )
    ),
    "all in reverse": in_metadata(reverse),
    "instance numbers": entry("00200013", Value=[3, 2, 1]),
    "private": entry("00091001", Value=["secret 0", "secret 1", "secret 3"]),
    "private is missing": in_metadata(lambda entries: entries.pop("00091001")),
    "private binary": entry("00091002", InlineBinary="AQE="),
    "nested": nested("00400009", Value=["OTHER"]),
    "nested of one slice": nested("00400007", Value=["no 0", "no 9", "no 2"]),
    "nested is missing": in_metadata(lambda e: e["00400275"]["Value"][0].pop("00400009")),
    "nested is added": nested("00100010", **NAME),
    "an item more": in_metadata(
        lambda e: e["00400275"]["Value"].append(copy.deepcopy(e["00400275"]["Value"][0]))
    ),
    "no item": entry("00400275", Value=[]),
    "icon": in_metadata(
        lambda e: e["00880200"]["Value"][0]["7FE00010"].update(InlineBinary="AgE=")
    ),
    "character set": entry("00080005", Value=["ISO_IR 192"]),
    "photometric interpretation": entry("00280004", Value=["MONOCHROME1"]),
    "file meta": in_metadata(lambda e: e["00020016"].update(Value=["OTHER"]), "_file_meta"),
    "file meta that the dataset determines": in_metadata(
        lambda e: e.update({"00020003": {"vr": "UI", "shared": True, "Value": ["1.2.3"]}}),
        "_file_meta",
    ),
    "file meta is missing": in_metadata(lambda e: e.pop("00020016"), "_file_meta"),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_that_lie(name: str, path: Path) -> None:
    expect_refused(rewritten(path, METADATA[name]))


def test_frames_that_are_assigned_to_other_files(tmp_path: Path) -> None:
    write_series(tmp_path / "in", [enhanced(3)])
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    DicomCubeImage.from_file(tmp_path / "x.dcbs").to_dicom_folder(tmp_path / "good", exact=True)

    def swap(sections: Sections) -> None:
        document = json.loads(unpack_text(sections["dicom_meta"]))
        document["frames"] = document["frames"][::-1]
        sections["dicom_meta"] = pack_text(json.dumps(document))

    expect_refused(rewritten(tmp_path / "x.dcbs", swap))


def test_functional_groups_that_lie(tmp_path: Path) -> None:
    write_series(tmp_path / "in", [enhanced(3), enhanced(3, 2)])
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    DicomCubeImage.from_file(tmp_path / "x.dcbs").to_dicom_folder(tmp_path / "good", exact=True)

    def slope(entries: Entries) -> None:
        macro = entries["52009230"]["Value"][2]["00289145"]
        macro["Value"][0]["00281053"] = {"vr": "DS", "shared": True, "Value": [7.0]}

    expect_refused(rewritten(tmp_path / "x.dcbs", in_metadata(slope)))


# --------------------------------------------------------------------------------- other sections


def in_json(name: str, **values: Any) -> Callable[[Sections], None]:
    """Change the JSON of a section."""

    def change(sections: Sections) -> None:
        sections[name] = json.dumps({**json.loads(sections[name]), **values}).encode()

    return change


LOSS = {
    "settings": {"max_error": 2.0},
    **{"max_error": 2, "rmse": 0.5, "least": 0, "greatest": 100, "changed": 0.5, "ratio": 3.0},
}


def nifti_header(sections: Sections) -> None:
    import nibabel

    image = nibabel.Nifti1Image(np.zeros((5, 6, 3), np.uint16), np.diag([5.0, 5.0, 5.0, 1.0]))
    sections["nifti"] = packed(image.to_bytes()[:352])


SECTIONS: dict[str, Callable[[Sections], None]] = {
    "slope": in_json("pixel_header", RescaleSlope=2.0),
    "intercept": in_json("pixel_header", RescaleIntercept=0.0),
    "identity": in_json("pixel_header", RescaleSlope=1.0, RescaleIntercept=0.0),
    "window": in_json("pixel_header", WindowCenter=9999.0),
    "width": in_json("pixel_header", WindowWidth=1.0),
    "units": in_json("pixel_header", Units="GY"),
    "dtype": in_json("pixel_header", OriginalPixelDtype="int16"),
    "greatest": in_json("pixel_header", MaxVal=7),
    "origin": in_json("space", origin=[50.0, 60.0, 70.0]),
    "spacing": in_json("space", spacing=[0.75, 0.5, 2.6]),
    "axes": in_json("space", x_orientation=[0, 1, 0], y_orientation=[1, 0, 0]),
    "other direction": in_json("space", z_orientation=[0, 0, -1]),
    "loss": lambda s: s.update(loss=json.dumps({"version": 1, "losses": [LOSS]}).encode()),
    "nifti": nifti_header,
}


@pytest.mark.parametrize("name", SECTIONS)
def test_sections_that_lie(name: str, path: Path) -> None:
    expect_refused(rewritten(path, SECTIONS[name]))


def test_metadata_and_space_that_lie_together(path: Path) -> None:
    def both(sections: Sections) -> None:
        METADATA["positions in reverse"](sections)
        in_json("space", origin=[-10.0, 20.0, 5.0], z_orientation=[0, 0, -1])(sections)

    expect_refused(rewritten(path, both), "ImagePositionPatient")


def test_words_that_hold_more_than_the_header_states(tmp_path: Path) -> None:
    datasets = make_series(2)
    for dataset in datasets:
        dataset.BitsStored, dataset.HighBit = 12, 11
    write_series(tmp_path / "in", datasets)
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")

    def drop(sections: Sections) -> None:
        header = json.loads(sections["pixel_header"])
        assert header.pop("UnusedBits")
        sections["pixel_header"] = json.dumps(header).encode()

    expect_refused(rewritten(tmp_path / "x.dcbs", drop), "words")


def test_a_status_that_lies(path: Path) -> None:
    lying = rewritten(path, lambda sections: sections.update(dicom_status=b"gap_location"))
    assert failed_checks(lying) == ["status"]


def test_losses_that_exceed_what_was_asked_for(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series(3))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_file(tmp_path / "x.dcba", max_error=3)
    assert verify_file(tmp_path / "x.dcba")

    def exceed(sections: Sections) -> None:
        document = json.loads(sections["loss"])
        document["losses"][0]["max_error"] = 4
        sections["loss"] = json.dumps(document).encode()

    assert failed_checks(rewritten(tmp_path / "x.dcba", exceed)) == ["losses"]


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_nifti_header_beside_an_edited_rescale(scale: float, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), np.eye(4)).to_filename(tmp_path / "x.nii")
    image = DicomCubeImage.from_nifti(tmp_path / "x.nii")
    image.pixel_header.RescaleSlope = scale
    image.to_file(tmp_path / "x.dcbs")
    report = verify_file(tmp_path / "x.dcbs")
    assert report
    (check,) = (c for c in report.checks if c.name == "NIfTI header")
    assert check.outcome.value == ("ok" if scale == 1 else "unknown")


# -------------------------------------------------------------------------------------- originals


def data_of(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def whole(data: bytes, name: str, volume: NDArray[Any], runs: Any) -> Original:
    """A file that is kept as it is, and is said to have frames."""
    return Original(name, hashlib.sha256(data).digest(), (data,), runs, frames_digest(volume, runs))


def with_pieces(file: Original, pieces: Iterable[Any]) -> Original:
    """A file of other pieces, which gets its right digest when it is stored."""
    return replace(file, digest=b"", pieces=tuple(pieces))


def with_first(path: Path, first: Original) -> Originals:
    """The originals of a file with another first file."""
    known = originals_of(path)
    return replace(known, files=(first, *known.files[1:]))


def first_file(path: Path) -> Dataset:
    """The first file of a series, as it is restored."""
    DicomCubeImage.from_file(path).to_dicom_folder(path.parent / "first", overwrite=True)
    return dcmread(path.parent / "first" / "I1")


def evil(dataset: Dataset) -> Dataset:
    set_pixels(dataset, np.full((6, 5), 4000, np.uint16))
    return dataset


def test_a_whole_file_of_the_same_pixels(path: Path) -> None:
    """The control: how a file is kept doesn't matter."""
    volume = DicomCubeImage.from_file(path).raw_image
    data = data_of(first_file(path))
    same = rewritten(path, originals=with_first(path, whole(data, "I1", volume, ((0, 1),))))
    DicomCubeImage.from_file(same).to_dicom_folder(path.parent / "out", exact=True)
    assert contents(path.parent / "out")["I1"] == data


class TestOriginals:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A series whose metadata don't need the originals."""
        write_series(tmp_path / "in", make_series(3))
        DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
        return tmp_path / "x.dcbs"

    def test_of_other_pixels(self, path: Path) -> None:
        volume = DicomCubeImage.from_file(path).raw_image
        lying = whole(data_of(evil(first_file(path))), "I1", volume, ((0, 1),))
        expect_refused(rewritten(path, originals=with_first(path, lying)), "pixels")

    def test_with_another_digest_of_frames(self, path: Path) -> None:
        volume = DicomCubeImage.from_file(path).raw_image
        lying = whole(data_of(first_file(path)), "I1", volume, ((0, 1),))
        lying = replace(lying, frames_digest=bytes(32))
        expect_refused(rewritten(path, originals=with_first(path, lying)))

    @pytest.mark.parametrize("data", [b"#!/bin/sh\n", b"", bytes(200), b"\x7fELF" + bytes(500)])
    def test_that_are_no_dicom(self, data: bytes, path: Path) -> None:
        volume = DicomCubeImage.from_file(path).raw_image
        lying = whole(data, "I1", volume, ((0, 1),))
        expect_refused(rewritten(path, originals=with_first(path, lying)), "no DICOM")

    def test_with_the_samples_in_another_element(self, path: Path) -> None:
        dataset = evil(first_file(path))
        samples = pixels_of(0, (6, 5), "uint16").tobytes()
        dataset.add_new(0x7FE10010, "LO", "VENDOR")
        dataset.add_new(0x7FE11001, "OW", samples)
        data = data_of(dataset)
        at = data.index(samples)
        pieces = (data[:at], Samples(IN_MEMORY, ((0, 1),)), data[at + len(samples) :])
        lying = Original("I1", hashlib.sha256(data).digest(), pieces)
        expect_refused(rewritten(path, originals=with_first(path, lying)))

    def test_with_the_samples_of_another_slice(self, path: Path) -> None:
        known = originals_of(path)
        one, two = known.files[:2]
        swapped = [
            with_pieces(file, [file.pieces[0], other.pieces[1], *file.pieces[2:]])
            for file, other in ((one, two), (two, one))
        ]
        expect_refused(
            rewritten(path, originals=replace(known, files=(*swapped, *known.files[2:])))
        )

    def test_read_in_another_form(self, path: Path) -> None:
        """The samples are those of the volume, but the elements give them another meaning."""
        dataset = first_file(path)
        dataset.Rows, dataset.Columns = 5, 6
        data = data_of(dataset)
        at = data.index(pixels_of(0, (6, 5), "uint16").tobytes())
        pieces = (data[:at], Samples(IN_MEMORY, ((0, 1),)))
        lying = Original("I1", hashlib.sha256(data).digest(), pieces)
        expect_refused(rewritten(path, originals=with_first(path, lying)))

    def test_a_copy_of_another_patient(self, path: Path) -> None:
        dataset = first_file(path)
        dataset.PatientName = "ROE^BOB"
        volume = DicomCubeImage.from_file(path).raw_image
        lying = whole(data_of(dataset), "copy", volume, ((0, 1),))
        expect_refused(
            rewritten(path, originals=replace(originals_of(path), copies=(lying,))), "PatientName"
        )

    @pytest.mark.parametrize("what", ["no DICOM", *IDENTITY])
    @pytest.mark.parametrize("other", [raw_data(1), make_slice(8, shape=(9, 4))])
    def test_others_of_another_patient(self, what: str, other: Dataset, path: Path) -> None:
        dataset = copy.deepcopy(other)
        if what == "SOPInstanceUID":
            dataset.SOPInstanceUID = first_file(path).SOPInstanceUID
        elif what != "no DICOM":
            setattr(dataset, what, "1.2.3")
        data = data_of(dataset) if what != "no DICOM" else b"#!/bin/sh"
        lying = Original("other", hashlib.sha256(data).digest(), (data,), why="no pixels")
        expect_refused(
            rewritten(path, originals=replace(originals_of(path), others=(lying,))), what
        )


def test_files_of_several_series_without_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metadata agree with each of them, but the file shows that of the first."""
    source = write_series(tmp_path / "in", [raw_data(1), raw_data(2, series_uid="1.2.3")])

    def all_of(instances: list[Instance], *_: Any, **__: Any) -> ChosenSeries:
        return ChosenSeries(instances, [], [], [])

    monkeypatch.setattr(dicom_io, "choose_series", all_of)
    dicube.store_files(source, tmp_path / "x.dcbs")
    with pytest.raises(InvalidCubeFileError, match="describe files of several series"):
        dicube.restore_files(tmp_path / "x.dcbs", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "agreement" in failed_checks(tmp_path / "x.dcbs")


class TestCoded:
    @pytest.fixture
    def coded(self, tmp_path: Path) -> Path:
        datasets = make_series(2)
        for index, dataset in enumerate(datasets):
            encapsulated(dataset, [imencode_jph(pixels_of(index, (6, 5), "uint16"))])
        write_series(tmp_path / "in", datasets)
        DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
        DicomCubeImage.from_file(tmp_path / "x.dcbs").to_dicom_folder(tmp_path / "a", exact=True)
        assert contents(tmp_path / "a") == contents(tmp_path / "in")
        return tmp_path / "x.dcbs"

    def test_frames_of_another_slice(self, coded: Path) -> None:
        known = originals_of(coded)
        one, two = known.files
        swapped = []
        for file, other in ((one, two), (two, one)):
            frame = next(p for p in other.pieces if isinstance(p, Coded))
            pieces = [frame if isinstance(p, Coded) else p for p in file.pieces]
            at = next(i for i, p in enumerate(pieces) if p is frame)
            head = bytearray(pieces[at - 1])
            struct.pack_into("<L", head, len(head) - 4, (frame.stop + 1) // 2 * 2)
            pieces[at - 1] = bytes(head)
            held = {"frames": other.frames, "frames_digest": other.frames_digest}
            swapped.append(replace(with_pieces(file, pieces), **held))
        expect_refused(rewritten(coded, originals=replace(known, files=tuple(swapped))))

    def test_with_another_digest_of_frames(self, coded: Path) -> None:
        known = originals_of(coded)
        lying = replace(known.files[0], frames_digest=bytes(32))
        expect_refused(rewritten(coded, originals=replace(known, files=(lying, *known.files[1:]))))

    def test_a_literal_frame_before_it(self, coded: Path) -> None:
        """The first fragment is another image; the frame of the volume follows as padding."""
        known = originals_of(coded)
        file = known.files[0]
        fake = imencode_jph(np.full((6, 5), 4000, np.uint16))
        at = next(i for i, p in enumerate(file.pieces) if isinstance(p, Coded))
        head = bytearray(file.pieces[at - 1])  # type: ignore[arg-type]
        size = len(fake) + len(known.coded[0])
        struct.pack_into("<L", head, len(head) - 4, size + size % 2)
        pieces = list(file.pieces)
        pieces[at - 1 : at] = [bytes(head) + fake]
        end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
        pieces[at + 1 :] = [b"\0" * (size % 2) + end]
        lying = with_pieces(file, pieces)
        expect_refused(rewritten(coded, originals=replace(known, files=(lying, *known.files[1:]))))

    def test_a_jpeg_that_stands_elsewhere(self, tmp_path: Path) -> None:
        """The frame is another JPEG of the same size; that of the volume is a private element."""
        source = PYDICOM_FILES / "SC_rgb_small_odd_jpeg.dcm"
        DicomCubeImage.from_dicom_folder(source).to_file(tmp_path / "x.dcba")
        known = originals_of(tmp_path / "x.dcba")
        (file,) = known.files
        at = next(i for i, p in enumerate(file.pieces) if isinstance(p, Coded))
        jpeg = known.coded_frame(file.pieces[at])  # type: ignore[arg-type]
        assert jpeg is not None
        table = jpeg.index(b"\xff\xdb") + 5  # the first quantisation factor
        fake = jpeg[:table] + bytes([jpeg[table] + 40]) + jpeg[table + 1 :]
        size = len(jpeg) + len(jpeg) % 2
        private = struct.pack("<HH2sHL", 0x7FE1, 0x1001, b"OB", 0, size)
        pieces = list(file.pieces)
        pieces[at] = fake
        pieces += [private, file.pieces[at], b"\0" * (len(jpeg) % 2)]
        lying = with_pieces(file, pieces)
        expect_refused(
            rewritten(tmp_path / "x.dcba", originals=replace(known, files=(lying,))), "pixels"
        )

    def test_a_jpeg_that_is_cut_off(self, tmp_path: Path) -> None:
        source = PYDICOM_FILES / "SC_rgb_small_odd_jpeg.dcm"
        DicomCubeImage.from_dicom_folder(source).to_file(tmp_path / "x.dcba")
        path = tmp_path / "x.dcba"
        DicomCubeImage.from_file(path).to_dicom_folder(tmp_path / "a", exact=True)
        known = originals_of(path)
        (file,) = known.files
        pieces = [p._replace(stop=p.stop - 40) if isinstance(p, Coded) else p for p in file.pieces]
        lying = with_pieces(file, pieces)
        expect_refused(rewritten(path, originals=replace(known, files=(lying,))))


def test_an_offset_table_in_another_order(tmp_path: Path) -> None:
    """Readers that follow the table would show the frames of the restored file in its order."""
    write_series(tmp_path / "in", make_series(3))
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    (tmp_path / "file").mkdir()
    image.to_dicom_file(tmp_path / "file" / "x.dcm", transfer_syntax="htj2k")
    path = tmp_path / "x.dcbs"
    DicomCubeImage.from_dicom_folder(tmp_path / "file").to_file(path)
    known = originals_of(path)
    (file,) = known.files
    pieces = list(file.pieces)
    at = next(index for index, piece in enumerate(pieces) if isinstance(piece, Coded))
    before = bytes(pieces[at - 1])  # type: ignore[arg-type]
    end = before.rindex(b"\xfe\xff\x00\xe0")  # of the table: the item of the first frame
    first, second = before[end - 12 : end - 8], before[end - 8 : end - 4]
    assert first == bytes(4) != second
    pieces[at - 1] = before[: end - 12] + second + first + before[end - 4 :]
    lying = with_pieces(file, pieces)
    expect_refused(rewritten(path, originals=replace(known, files=(lying,))), "another order")


def test_a_jpeg_is_restored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = PYDICOM_FILES / "SC_rgb_small_odd_jpeg.dcm"
    DicomCubeImage.from_dicom_folder(source).to_file(tmp_path / "x.dcba")
    restored: list[bytes] = []

    def restored_once(coded: bytes) -> bytes:
        restored.append(coded)
        return restore_jpeg(coded)

    monkeypatch.setattr("dicube.dicom.originals.model.restore_jpeg", restored_once)
    DicomCubeImage.from_file(tmp_path / "x.dcba").to_dicom_folder(tmp_path / "out", exact=True)
    assert contents(tmp_path / "out") == {source.name: source.read_bytes()}
    assert len(restored) == 1


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_other_encodings(syntax: str, tmp_path: Path) -> None:
    datasets = make_series(3)
    for dataset in datasets:
        dataset.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
        if syntax == "big":
            dataset["PixelData"].VR = "OW"
    write_series(tmp_path / "in", datasets)
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    path = tmp_path / "x.dcbs"
    DicomCubeImage.from_file(path).to_dicom_folder(tmp_path / "good", exact=True)
    assert contents(tmp_path / "good") == contents(tmp_path / "in")
    expect_refused(rewritten(path, METADATA["patient"]), "PatientName")


@pytest.mark.parametrize("syntax", ["little", "big"])
def test_several_frames(syntax: str, tmp_path: Path) -> None:
    dataset = enhanced(4)
    dataset.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    dataset["PixelData"].VR = "OW"
    write_series(tmp_path / "in", [dataset])
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(tmp_path / "x.dcbs")
    known = originals_of(tmp_path / "x.dcbs")
    (file,) = known.files
    swapped = [
        p._replace(runs=((2, 2), (0, 2))) if isinstance(p, Samples) else p for p in file.pieces
    ]
    lying = with_pieces(file, swapped)
    expect_refused(rewritten(tmp_path / "x.dcbs", originals=replace(known, files=(lying,))))
    reordered = [
        p._replace(form=p.form._replace(order=LITTLE if p.form.order == BIG else BIG))
        if isinstance(p, Samples)
        else p
        for p in file.pieces
    ]
    lying = with_pieces(file, reordered)
    expect_refused(rewritten(tmp_path / "x.dcbs", originals=replace(known, files=(lying,))))


class TestFilesWithoutFrames:
    @pytest.fixture
    def stored(self, tmp_path: Path) -> Path:
        reports = [
            raw_data(1, SOPClassUID=BasicTextSRStorage, PatientName="DOE^JOHN"),
            raw_data(2, bytes(200_000), PatientName="DOE^JOHN"),
        ]
        write_series(tmp_path / "in", reports)
        dicube.store_files(tmp_path / "in", tmp_path / "x.dcbs")
        dicube.restore_files(tmp_path / "x.dcbs", tmp_path / "good")
        assert contents(tmp_path / "good") == contents(tmp_path / "in")
        return tmp_path / "x.dcbs"

    def test_metadata_that_lie(self, stored: Path) -> None:
        with DcbReader(stored) as reader:
            sections = {name: reader.sections[name] for name in reader.sections}
        METADATA["patient"](sections)
        lying = stored.with_name("lying.dcbs")
        with DcbWriter(lying, (0, 0, 0), np.uint8, codec="jph") as writer:
            for name, data in sections.items():
                writer.write_section(name, data)
        with pytest.raises(InvalidCubeFileError, match="PatientName"):
            dicube.restore_files(lying, stored.parent / "out")
        assert not (stored.parent / "out").exists()
        assert not verify_file(lying)


def test_without_metadata(path: Path) -> None:
    lying = rewritten(path, lambda sections: sections.pop("dicom_meta"))
    with pytest.raises(InvalidCubeFileError, match="no metadata"):
        dicube.restore_files(lying, path.parent / "out")
    assert "agreement" in failed_checks(lying)


def test_frames_that_are_swapped(path: Path) -> None:
    with DcbReader(path) as reader:
        sections = {name: reader.sections[name] for name in reader.sections if name not in OWN}
        first, *others = reader.coded_frames()
        shape, dtype = reader.shape, reader.dtype
    lying = path.with_name("lying.dcbs")
    with DcbWriter(lying, shape, dtype, codec="jph") as writer:
        for name, data in sections.items():
            writer.write_section(name, data)
        writer.write_coded_frames([*others, first])
    for use in (
        lambda image: image.to_dicom_folder(path.parent / "out", exact=True),
        lambda image: image.to_dicom_folder(path.parent / "out", transfer_syntax="htj2k"),
        lambda image: image.to_dicom_file(path.parent / "out.dcm"),
        lambda image: image.to_file(path.parent / "out.dcbs"),
    ):
        with pytest.raises(InvalidCubeFileError):
            use(DicomCubeImage.from_file(lying))
    assert "original files" in failed_checks(lying)


def test_no_value_is_in_an_error(path: Path) -> None:
    with pytest.raises(InvalidCubeFileError) as raised:
        image = DicomCubeImage.from_file(rewritten(path, METADATA["patient"]))
        image.to_dicom_folder(path.parent / "out")
    assert "BOB" not in str(raised.value)
    assert "JOHN" not in str(raised.value)


def test_pixels_that_a_caller_changed_are_no_contradiction(path: Path) -> None:
    image = DicomCubeImage.from_file(path)
    image.raw_image[0, 0, 0] ^= 1
    assert image.why_not_exact() == "the pixels of the original file of slice 0 were changed"
    image.to_file(path.parent / "new.dcbs")
    image.to_dicom_folder(path.parent / "out")
    assert "slice_0000.dcm" in contents(path.parent / "out")


def test_an_edit_is_no_contradiction(path: Path) -> None:
    image = DicomCubeImage.from_file(rewritten(path, METADATA["patient"]))
    assert image.dicom_meta is not None
    image.dicom_meta.set_shared_item("PatientName", "ANONYMOUS")
    assert image.why_not_exact() == "the metadata were changed"
    image.to_file(path.parent / "new.dcbs")
    image.to_dicom_folder(path.parent / "out")


@pytest.mark.parametrize("uid", [HTJ2K, JPEG])
def test_a_stated_transfer_syntax_that_differs(uid: str, path: Path) -> None:
    change = in_metadata(lambda e: e["00020010"].update(Value=[uid]), "_file_meta")
    expect_refused(rewritten(path, change), "TransferSyntaxUID")


class TestNoFalseRefusals:
    def test_golden_files(self) -> None:
        found = {path.name: problems_of(path) for path in sorted(GOLDEN.glob("*/*.dcb?"))}
        kept = {name: problems for name, problems in found.items() if problems is not None}
        assert kept == dict.fromkeys(kept, ())
        assert {"copies.dcbs", "others.dcbs", "unmarked_jpeg.dcba", "without_frames.dcba"} <= {
            *kept
        }

    def test_images_of_pydicom(self, tmp_path: Path) -> None:
        counted = 0
        for source in sorted(PYDICOM_FILES.rglob("*")):
            try:
                image = DicomCubeImage.from_dicom_folder(source)
            except (DicomCubeError, OSError):  # no image, or one whose decoder is missing
                continue
            for extension, codec in ((".dcbs", "jph"), (".dcba", "jxl")):
                if image.why_not_exact(codec):
                    continue
                path = tmp_path / f"x{extension}"
                image.to_file(path, effort="fast" if extension == ".dcba" else None)
                assert problems_of(path) == (), source
                counted += 1
        assert counted > 50


def problems_of(path: Path) -> tuple[str, ...] | None:
    """What a file contradicts in itself; None if it has no originals."""
    with DcbReader(path) as reader:
        if "originals" not in reader.sections:
            return None
        parts = read_parts(reader)
        assert parts.origin.provenance is not None
        originals = parts.origin.provenance.originals
        volume = reader.read_frames() if reader.shape[0] else None
        return tuple(contradictions(parts, originals, volume))
