"""De-identification: nothing of what the profile changes is left anywhere, and runs agree."""

from __future__ import annotations

import copy
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("dicomanonymizer")

from inputs.dicom_series import item, write_series
from inputs.series_trees import Inline, add, files_in, objects_of, series_of
from pydicom import dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID, CTImageStorage

from dicube import Archive
from dicube.archive.deidentify import BasicProfile, _rules, transform_of
from dicube.archive.pseudonyms import SecretKey, read_key
from dicube.exceptions import CubeFileAccessError, DataConsistencyError, InvalidCubeFileError
from dicube.storage import DcbReader
from dicube.storage.packed_text import unpack_bytes

KEY = SecretKey(b"a secret key of 16 bytes or more")
# Structure that tests below need: what images and series are.
_KEPT = {0x00080016, 0x00080018, 0x0020000D, 0x0020000E}


def planted(tag: int, number: int) -> tuple[str, Any] | None:
    """Return a VR and a value of eight characters or more for a tag; None if it can have none."""
    vr = dictionary_VR(tag)
    text = f"PLANTED{number:05}"
    values = {
        **dict.fromkeys(("SH", "LO", "ST", "LT", "UT", "UC", "PN", "UR", "AE"), text),
        "CS": text,
        "DA": f"19{number % 90 + 10:02}{number % 12 + 1:02}{number % 28 + 1:02}",
        "TM": f"1{number % 10}{number % 60:02}{number % 60:02}.7{number:05}",
        "DT": f"1987{number % 12 + 1:02}{number % 28 + 1:02}1{number % 10}3456.8{number:05}",
        "UI": f"1.2.77777.9{number:08}",
        "OB": text.encode(),
        "UN": text.encode(),
        "OW": text.encode(),
        "DS": f"7.654{number:05}",
        "IS": f"7654{number:05}",
    }
    vr = vr.split(" or ")[-1]
    return (vr, values[vr]) if vr in values else None


def changed_tags() -> list[int]:
    """Return the tags that the profile changes."""
    single, repeating = _rules()
    tags = [tag for tag in single if dictionary_has_tag(tag)]
    return tags + [value for value, _, _ in repeating if dictionary_has_tag(value)]


def plant(dataset: Dataset, texts: list[bytes]) -> None:
    """Give a dataset each element that the profile changes, and one of each in a sequence."""
    nested = Dataset()
    for number, tag in enumerate(changed_tags()):
        found = planted(tag, number)
        if found is None or tag in _KEPT or tag >> 16 in (0, 2):
            continue
        vr, value = found
        dataset[Tag(tag)] = DataElement(Tag(tag), vr, value, validation_mode=0)
        nested[Tag(tag)] = DataElement(Tag(tag), vr, value, validation_mode=0)
        texts.append(value if isinstance(value, bytes) else value.encode())
    # A sequence without a rule of its own, at two levels.
    dataset.ReferencedStudySequence = [item(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1")]
    dataset.ReferringPhysicianIdentificationSequence = [copy.deepcopy(nested)]
    dataset.ProcedureCodeSequence = [nested, item(CodeValue="1", ContextGroupExtensionFlag="N")]
    nested.PurposeOfReferenceCodeSequence = [copy.deepcopy(nested)]
    dataset.add_new(0x00090010, "LO", "PLANTED PRIVATE")
    dataset.add_new(0x00091001, "LO", "PLANTED PRIVATE TOO")
    for tag, vr, value in (
        (0x00020016, "AE", "PLANTEDTITLE"),
        (0x00020100, "UI", "1.2.77777.899999999"),
        (0x00020102, "OB", b"PLANTED INFORMATION!"),
    ):
        dataset.file_meta.add_new(tag, vr, value)
        texts.append(value if isinstance(value, bytes) else value.encode())
    texts += [b"PLANTED PRIVATE", b"1.2.77777."]


def everything(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield all that an archive holds: sections unpacked, the catalogue, and names."""
    for path in archive.rglob("*"):
        yield "name", str(path.relative_to(archive)).encode()
        if path.is_file() and path.suffix in (".dcba", ".dcbs"):
            yield "file", path.read_bytes()
            with DcbReader(path) as reader:
                for name in reader.sections:
                    data = reader.sections[name]
                    yield name, data
                    try:
                        yield name, bytes(unpack_bytes(data))
                    except InvalidCubeFileError:
                        continue
        elif path.is_file():
            yield "other file", path.read_bytes()


@pytest.fixture
def planted_tree(tmp_path: Path) -> tuple[Path, list[bytes]]:
    """A series and three objects with planted values, in folders that name a patient."""
    texts: list[bytes] = []
    datasets = series_of(1)
    for dataset in datasets:
        plant(dataset, texts)
    others = objects_of(7)
    for dataset in others.values():
        plant(dataset, texts)
    folder = tmp_path / "PLANTEDFOLDER"
    write_series(folder / "ct", datasets, ["PLANTED1", "PLANTED2", "PLANTED3"])
    write_series(folder / "others", list(others.values()), [f"PLANTED-{name}" for name in others])
    # Known to be there: else the test could not fail.
    assert any(b"PLANTED00" in path.read_bytes() for path in (folder / "ct").iterdir())
    for dataset in (*datasets, *others.values()):
        texts += [dataset[tag].value.encode() for tag in (0x00080018, 0x0020000E, 0x0020000D)]
    return folder, [*set(texts), b"PLANTED", b"DOE^JOHN"]


def test_nothing_that_the_profile_changes_is_left(
    planted_tree: tuple[Path, list[bytes]], tmp_path: Path
) -> None:
    folder, texts = planted_tree
    assert len(texts) > 300
    archive, report = Archive(tmp_path / "archive"), tmp_path / "report.ndjson"
    result = add(archive, folder, deidentify="basic", report=report)
    assert result.counts == {"added": 4}
    found = [*everything(tmp_path / "archive"), ("report", report.read_bytes())]
    assert {"dicom_meta", "originals", "name", "other file", "report"} <= {w for w, _ in found}
    left = {(where, text) for where, data in found for text in texts if text in data}
    assert left == set()


def test_what_identifies_images_is_consistent_and_marked(tmp_path: Path) -> None:
    datasets = series_of(1)
    for dataset in datasets:
        dataset.FrameOfReferenceUID = "1.2.3"
        dataset.ReferencedImageSequence = [
            item(
                ReferencedSOPClassUID=CTImageStorage,
                ReferencedSOPInstanceUID=datasets[0].SOPInstanceUID,
            )
        ]
    write_series(tmp_path / "a", datasets)
    archive = Archive(tmp_path / "archive")
    add(archive, tmp_path / "a", deidentify="basic")
    (series,) = archive.series()
    image = series.image()
    meta = image.dicom_meta
    assert meta is not None
    assert meta.get("PatientIdentityRemoved") == "YES"
    method, key = meta.get("DeidentificationMethod")
    assert "Basic Profile" in method
    assert key == f"dicube key {read_key(tmp_path / 'archive.key').fingerprint}"
    assert (
        meta.get("SOPInstanceUID")[0]
        == meta.get("ReferencedImageSequence")[0]["00081155"]["Value"][0]
    )
    referenced = meta.get("ReferencedImageSequence")[0]["00081150"]["Value"][0]
    assert referenced == meta.get("SOPClassUID") == CTImageStorage
    assert all(UID(uid).is_valid for uid in meta.get("SOPInstanceUID"))
    assert len(set(meta.get("SOPInstanceUID"))) == 3
    assert meta.get("PatientName") == "" or meta.get("PatientName") is None
    assert series["transformed"] is True
    assert series["has_originals"] is False
    pixels = [dataset.pixel_array for dataset in datasets]
    assert (image.raw_image == pixels).all()  # pixels are not touched


def test_runs_with_the_same_key_agree_and_resume(tmp_path: Path) -> None:
    for number in (1, 2):
        write_series(tmp_path / "tree" / str(number), series_of(number))
    key = tmp_path / "key"
    one, other = Archive(tmp_path / "one"), Archive(tmp_path / "other")
    add(one, tmp_path / "tree", deidentify="basic", key=key)
    add(other, tmp_path / "tree" / "1", deidentify="basic", key=key)
    assert files_in(tmp_path / "other").items() < files_in(tmp_path / "one").items()
    executor = Inline()
    report = one.add(tmp_path / "tree", executor=executor, deidentify="basic", key=key)
    assert report.counts == {"present": 2}
    assert executor.tasks == []
    (tmp_path / "one" / "catalogue.sqlite").unlink()
    assert add(one, tmp_path / "tree", deidentify="basic", key=key).counts == {"present": 2}
    assert {row["PatientID"] for row in one.rows()} == {KEYED_ID(key)}
    third = Archive(tmp_path / "third")
    add(third, tmp_path / "tree", deidentify="basic")  # with a key of its own
    assert not files_in(tmp_path / "third").keys() & files_in(tmp_path / "one").keys()


def KEYED_ID(key: Path) -> str:  # noqa: N802
    return read_key(key).digest("patient", "4711").hex()[:16]


def test_the_key_is_made_beside_the_archive_and_private(tmp_path: Path) -> None:
    write_series(tmp_path / "a", series_of(1))
    add(Archive(tmp_path / "archive"), tmp_path / "a", deidentify="basic")
    key = tmp_path / "archive.key"
    assert len(key.read_bytes()) == 32
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_keys(tmp_path: Path) -> None:
    with pytest.raises(CubeFileAccessError):
        read_key(tmp_path / "none")
    (tmp_path / "short").write_bytes(b"short")
    with pytest.raises(DataConsistencyError, match="16 bytes"):
        read_key(tmp_path / "short")
    assert "secret" not in repr(KEY)
    assert KEY.uid_of("1.2.3") == KEY.uid_of("1.2.3") != KEY.uid_of("1.2.4")
    assert UID(KEY.uid_of("1.2.3")).is_valid
    assert SecretKey(b"another key of 16 bytes or more").uid_of("1.2.3") != KEY.uid_of("1.2.3")


def test_unknown_profiles_and_two_transforms(tmp_path: Path) -> None:
    with pytest.raises(DataConsistencyError, match="'basic'"):
        transform_of("thorough", KEY)
    with pytest.raises(DataConsistencyError, match="exclude each other"):
        add(Archive(tmp_path / "a"), tmp_path, deidentify="basic", transform=print)


def test_failures_name_neither_paths_nor_values(
    planted_tree: tuple[Path, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, texts = planted_tree
    (folder / "ct" / "PLANTED4").write_bytes((folder / "ct" / "PLANTED1").read_bytes()[:700])

    def fails(self: Any, dataset: Any) -> None:
        raise ValueError(str(dataset))

    monkeypatch.setattr(BasicProfile, "_clean", fails)
    path = tmp_path / "report.ndjson"
    report = add(Archive(tmp_path / "archive"), folder, deidentify="basic", report=path)
    assert report.counts == {"failed": 4}
    (damaged,) = report.damaged
    assert damaged.why.startswith("MetaDataError: ")
    assert damaged.path == read_key(tmp_path / "archive.key").name_of(str(folder / "ct/PLANTED4"))
    written = path.read_bytes() + repr(report).encode()
    assert [text for text in texts if text in written] == []
    assert b"PLANTED" not in written


def test_identities_never_mix(tmp_path: Path) -> None:
    """A forgotten option would name every patient in an archive that was made to name none."""
    for number in (1, 2):
        write_series(tmp_path / str(number), series_of(number))
    first, second = tmp_path / "1", tmp_path / "2"
    without = Archive(tmp_path / "without")
    add(without, first, deidentify="basic")
    for dry_run in (True, False):
        with pytest.raises(DataConsistencyError, match="expected deidentify='basic'"):
            add(without, second, dry_run=dry_run)
    with pytest.raises(DataConsistencyError, match="another key"):
        add(without, second, deidentify="basic", key=tmp_path / "other.key")
    (tmp_path / "without" / "catalogue.sqlite").unlink()  # the files tell
    with pytest.raises(DataConsistencyError, match="expected deidentify='basic'"):
        add(without, second)
    without.index(executor=Inline())
    with pytest.raises(DataConsistencyError, match="expected deidentify='basic'"):
        add(without, second)
    named = Archive(tmp_path / "named")
    add(named, first)
    (tmp_path / "named" / "catalogue.sqlite").unlink()
    with pytest.raises(DataConsistencyError, match="not de-identified"):
        add(named, second, deidentify="basic")
    assert add(named, second).counts == {"added": 1}
    named.index(executor=Inline())
    named.remove(patient="4711")
    assert add(named, second, deidentify="basic").counts == {"added": 1}  # it was empty


def test_titles_of_documents_are_removed(tmp_path: Path) -> None:
    """They are free text that the profile doesn't list."""
    pdf = objects_of(7)["pdf"]
    pdf.DocumentTitle = "PLANTED TITLE"
    write_series(tmp_path / "in", [pdf])
    archive = Archive(tmp_path / "archive")
    add(archive, tmp_path / "in", deidentify="basic")
    assert not any(b"PLANTED" in data for _, data in everything(tmp_path / "archive"))
    (path,) = archive.restore(tmp_path / "out", series=archive.rows()[0]["SeriesInstanceUID"])
    assert dcmread(path).DocumentTitle == ""


def test_late_files_of_a_series_tell_what_to_do(tmp_path: Path) -> None:
    datasets = series_of(1, 4)
    write_series(tmp_path / "a", datasets[:3])
    write_series(tmp_path / "b", datasets[3:])
    archive = Archive(tmp_path / "archive")
    add(archive, tmp_path / "a", deidentify="basic")
    (failed,) = add(archive, tmp_path / "b", deidentify="basic").failed
    assert "remove the series, and add all its files together" in failed.text


def test_what_it_writes_other_programs_read(tmp_path: Path) -> None:
    write_series(tmp_path / "a", [objects_of(7)["pdf"]])
    archive = Archive(tmp_path / "archive")
    add(archive, tmp_path / "a", deidentify="basic")
    (series,) = archive.series()
    (path,) = series.restore(tmp_path / "out")
    dataset = dcmread(path)
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert b"%PDF" not in dataset.get("EncapsulatedDocument", b"")
