"""Copies, pickles and files of an image have nothing of what was edited away."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from inputs.dicom_series import make_slice, write_series

import dicube
from dicube import DicomCubeImage
from dicube.storage import DcbReader
from dicube.storage.opened_file import OpenedFile

NAME, COMMENT, TITLE = "ZZNAME", "ZZCOMMENT", "ZZTITLE"
SECRETS = (NAME, COMMENT, TITLE)
PIXELS = b"ZZPIXELS"


def series(folder: Path, **elements: Any) -> Path:
    datasets = [make_slice(number, (8, 8)) for number in range(1, 4)]
    for dataset in datasets:
        dataset.PatientName = f"{NAME}^{NAME}"
        dataset.PatientComments = COMMENT * 30
        dataset.file_meta.SourceApplicationEntityTitle = TITLE
        dataset.add_new(0x00091001, "OB", (NAME.encode() + bytes(range(256))) * 40)  # long binary
        dataset.add_new(0x00090010, "LO", "TEST")
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
    return write_series(folder, datasets)


def everything_in(thing: Any, known: set[int] | None = None) -> Iterator[bytes]:
    """Yield all bytes and texts that objects refer to, unpacked if they are packed."""
    known = set() if known is None else known
    if id(thing) in known:
        return
    known.add(id(thing))
    if isinstance(thing, str):
        yield thing.encode("utf-8", "surrogateescape")
    elif isinstance(thing, (bytes, bytearray, memoryview, np.ndarray)):
        data = bytes(thing) if not isinstance(thing, np.ndarray) else thing.tobytes()
        yield data
        for place in range(len(data)):
            if data.startswith(b"\x28\xb5\x2f\xfd", place):
                yield zstandard.ZstdDecompressor().decompressobj().decompress(data[place:])
    elif isinstance(thing, OpenedFile):
        yield from everything_in(thing.__getstate__(), known)
    elif isinstance(thing, dict):
        for pair in thing.items():
            for one in pair:
                yield from everything_in(one, known)
    elif isinstance(thing, io.BytesIO):
        yield from everything_in(thing.getvalue(), known)
    elif isinstance(thing, (list, tuple, set, frozenset)):
        for one in thing:
            yield from everything_in(one, known)
    elif hasattr(thing, "__dict__"):
        yield from everything_in(vars(thing), known)
    if callable(thing):
        yield from everything_in(getattr(thing, "__self__", None), known)
        for cell in getattr(thing, "__closure__", None) or ():
            yield from everything_in(cell.cell_contents, known)


def secrets_in(thing: Any) -> set[str]:
    found = list(everything_in(thing))
    return {secret for secret in SECRETS if any(secret.encode() in data for data in found)}


def copies_of(thing: Any) -> Iterator[Any]:
    yield copy.deepcopy(copy.copy(thing))  # a shallow one shares the metadata's parsed elements
    yield copy.deepcopy(thing)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.loads(pickle.dumps(thing, protocol))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return series(tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="module")
def stored(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "x.dcbs"
    DicomCubeImage.from_dicom_folder(folder).to_file(path)
    return path


def damaged(path: Path) -> DicomCubeImage:
    """Read a file with a damaged frame."""
    data = bytearray(path.read_bytes())
    with DcbReader(path) as reader:
        offset, size = reader._file.reader.coded_range(1)
    data[offset + size - 1] ^= 1
    with pytest.warns(UserWarning, match="damaged"):
        return DicomCubeImage.from_file(bytes(data), on_error="skip")


SOURCES: dict[str, Callable[[Path, Path], DicomCubeImage]] = {
    "folder": lambda folder, _: DicomCubeImage.from_dicom_folder(folder),
    "file": lambda _, file: DicomCubeImage.from_file(file),
    "bytes": lambda _, file: DicomCubeImage.from_file(file.read_bytes()),
    "object": lambda _, file: DicomCubeImage.from_file(io.BytesIO(file.read_bytes())),
    "real": lambda _, file: DicomCubeImage.from_file(file.read_bytes(), dtype="float32"),
    "damaged": lambda _, file: damaged(file),
}


def edit(image: DicomCubeImage) -> None:
    meta = image.dicom_meta
    assert meta is not None
    meta.get("PatientName"), meta.get("00091001"), meta.dataset(0), meta.index(1)
    dicube.check_dicom(meta)
    meta.set_shared_item("PatientName", "X")
    del meta["PatientComments"]
    del meta["SourceApplicationEntityTitle"]
    meta.set_nonshared_item("00091001", [b"1", b"2", b"3"])


def remove(image: DicomCubeImage) -> None:
    assert image.dicom_meta is not None
    for key in image.dicom_meta.keys():  # noqa: SIM118 (not a mapping)
        del image.dicom_meta[key]


def leave_out(image: DicomCubeImage) -> None:
    image.dicom_meta = None


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("change", [edit, remove, leave_out])
@pytest.mark.parametrize("source", SOURCES)
def test_copies_have_nothing_of_what_was_edited_away(
    source: str, change: Callable[[DicomCubeImage], None], used: bool, folder: Path, stored: Path
) -> None:
    image = SOURCES[source](folder, stored)
    if used:
        image.why_not_exact()
        assert image.raw_image.shape
    for one in copies_of(image):
        assert secrets_in(one) == set(SECRETS)
        assert one.why_not_exact() == image.why_not_exact()
    change(image)
    for one in copies_of(image):
        assert not secrets_in(one)
        assert one.why_not_exact() == image.why_not_exact() != ""
        assert one.damaged_frames == image.damaged_frames
    if image.dicom_meta is not None:
        for one in (*copies_of(image.dicom_meta), *copies_of(image.dicom_meta.fork())):
            assert not secrets_in(one)
            assert one == image.dicom_meta


@pytest.mark.parametrize("change", [edit, remove, leave_out])
def test_files_have_nothing_of_what_was_edited_away(
    change: Callable[[DicomCubeImage], None], folder: Path, stored: Path, tmp_path: Path
) -> None:
    image = DicomCubeImage.from_file(stored)
    change(image)
    for name in ("x.dcbs", "x.dcba", "x.nii", "x.dcbl"):
        if not name.endswith(".nii"):
            image.to_file(tmp_path / name, distance=1 if name == "x.dcbl" else None)
        elif change is leave_out:
            image.to_nifti(tmp_path / name)
    if change is edit:
        image.to_dicom_folder(tmp_path / "dicom")
        image.to_dicom_file(tmp_path / "x.dcm")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 2
    for path in written:
        assert not secrets_in(path.read_bytes())
        if path.suffix in (".dcbs", ".dcba", ".dcbl"):
            with DcbReader(path) as reader:
                assert not secrets_in([bytes(reader.sections[name]) for name in reader.sections])


@pytest.mark.parametrize("source", ["file", "bytes", "real", "damaged"])
def test_without_metadata_nothing_of_them_is_kept(
    source: str, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = DicomCubeImage.from_file
    monkeypatch.setattr(
        DicomCubeImage, "from_file", lambda path, **given: read(path, skip_meta=True, **given)
    )
    image = SOURCES[source](stored, stored)
    if source != "real":  # whose file is open until its stored values are read
        assert not secrets_in(image)
    for one in copies_of(image):
        assert not secrets_in(one)


def test_copies_have_nothing_of_pixels_that_were_edited_away(tmp_path: Path) -> None:
    """The coded frames of the original files would show them."""
    from pydicom.uid import RLELossless

    datasets = [make_slice(number, (8, 8)) for number in range(1, 4)]
    for dataset in datasets:
        pixels = np.frombuffer(PIXELS * 16, np.uint16).reshape(8, 8)
        dataset.PixelData = pixels.tobytes()
        dataset.compress(RLELossless)
    write_series(tmp_path / "series", datasets)
    image = DicomCubeImage.from_dicom_folder(tmp_path / "series")
    image.to_file(tmp_path / "x.dcbs")
    coded = datasets[0].PixelData[-20:]
    for read in (image, DicomCubeImage.from_file(tmp_path / "x.dcbs")):
        read.raw_image[:] = 0
        for one in copies_of(read):
            found = list(everything_in(one))
            assert not any(PIXELS in data or coded in data for data in found)


def test_copies_say_that_pixels_were_edited(stored: Path) -> None:
    image = DicomCubeImage.from_file(stored)
    image.raw_image[0] += 1
    for one in (image, *copies_of(image)):
        assert one.why_not_exact() == "the pixels of the original file of slice 0 were changed"


def test_all_elements_can_be_listed_and_removed(folder: Path) -> None:
    meta = DicomCubeImage.from_dicom_folder(folder).dicom_meta
    assert meta is not None
    assert "00020016" in meta.keys() and "00020016" in meta  # noqa: SIM118
    assert list(meta) == meta.keys() == sorted(meta.keys()) == [key for key, _ in meta.items()]
    assert "00020003" not in meta  # another element determines it
    assert TITLE in str(dict(meta.items())["00020016"])
    assert not any(key.startswith("0002") for key in (*meta.index(0), *meta.entries))
    for key in meta.keys():  # noqa: SIM118
        del meta[key]
    assert len(meta) == 0 and meta.file_meta == {} and not secrets_in(copy.deepcopy(meta))
