"""Fuzz targets in Python, with atheris: the sections of dicube files, and DICOM files.

    python tests/fuzz/fuzz_python.py sections|dicom [libFuzzer's options] FOLDER...
    python tests/fuzz/fuzz_python.py seeds FOLDER

A finding is an exception that is not dicube's, or an image that changes when saved and read again.
tests/python/fuzz/test_fuzz_python.py replays the inputs in corpus_python/.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import io
import json
import os
import pkgutil
import random
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

if __name__ == "__main__" and sys.argv[1] != "seeds":
    import atheris

    import dicube

    with atheris.instrument_imports(include=["dicube"]):
        for module in pkgutil.walk_packages(dicube.__path__, "dicube."):
            if not module.name.endswith(("__main__", "libdicube")):
                importlib.import_module(module.name)

import numpy as np
from inputs.dicom_frames import enhanced, several_frames
from inputs.dicom_series import each, item, make_series, write_series

import dicube
from dicube import DicomCubeImage
from dicube.exceptions import DicomCubeError
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import pack_bytes, pack_text, unpack_bytes
from dicube.verify.file_summary import summarize_file

MEMORY = 64 << 20
SLICES = 3

# The first byte of an input of `sections` is an index into this list; the rest is the section,
# unpacked.
SECTIONS = (
    *("dicom_meta", "pixel_header", "space", "loss", "originals", "nifti"),
    *("dicom_status", "colour_space"),
)
PACKED = {"dicom_meta", "originals", "nifti"}

Target = Callable[[bytes], None]


@functools.cache
def scratch() -> Path:
    """Return the folder that targets write into: in memory if possible."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    atexit.register(shutil.rmtree, folder, True)
    return folder


def emptied(name: str) -> Path:
    """Return an empty folder in the scratch folder."""
    folder = scratch() / name
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.mkdir(exist_ok=True)
    return folder


# ------------------------------------------------------------------------------------- sections


@functools.cache
def good_file() -> tuple[np.ndarray[Any, Any], tuple[bytes, ...], dict[str, bytes]]:
    """Return frames, coded frames and sections of a good file."""
    folder = emptied("good")
    image = DicomCubeImage.from_dicom_folder(write_series(folder, make_series(SLICES)))
    image.to_file(folder / "x.dcbs", num_threads=1)
    with DcbReader(folder / "x.dcbs", num_threads=1) as reader:
        own = ("frame_offsets", "frame_lengths", "frame_checksums", "Image")
        sections = {name: reader.sections[name] for name in reader.sections if name not in own}
        return reader.read_frames(), reader.coded_frames(), sections


def sealed(name: str, content: bytes) -> bytes:
    """Return a file with any bytes as one of its sections, and correct checksums."""
    frames, coded, sections = good_file()
    if name == "dicom_meta":
        content = pack_text(
            content.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()
        )
    elif name in PACKED:
        content = pack_bytes(content)
    file = io.BytesIO()
    with DcbWriter(file, frames.shape, frames.dtype, codec="jph", num_threads=1) as writer:
        for kind, data in {**sections, name: content}.items():
            writer.write_section(kind, data)
        for frame in coded:
            writer.write_coded(frame)
    return file.getvalue()


def sections(data: bytes) -> None:
    """Read a file with any bytes as one of its sections, and use the image."""
    if not data:
        return
    file = sealed(SECTIONS[data[0] % len(SECTIONS)], data[1:])
    with contextlib.suppress(DicomCubeError):
        dicube.load_meta(file, max_memory=MEMORY)
    path = scratch() / "x.dcbs"
    path.write_bytes(file)
    for use in (summarize_file, dicube.verify_file):
        with contextlib.suppress(DicomCubeError):
            use(path)
    try:
        image = DicomCubeImage.from_file(file, num_threads=1, max_memory=MEMORY)
    except DicomCubeError:
        return
    assert same_bits(image.raw_image, good_file()[0])
    use_image(image)


def same_bits(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Return whether two arrays are the same to the bit, including NaNs."""
    return (one.dtype, one.shape) == (other.dtype, other.shape) and one.tobytes() == other.tobytes()


def use_image(image: DicomCubeImage) -> None:
    """Use an image in many ways; only dicube's errors may be raised."""
    again = scratch() / "again.dcbs"

    def save() -> None:
        image.to_file(again, num_threads=1)
        back = DicomCubeImage.from_file(again, num_threads=1)
        assert same_bits(back.raw_image, image.raw_image)
        assert back.dicom_meta == image.dicom_meta
        assert bool(back.why_not_exact()) == bool(image.why_not_exact())

    def restore(exact: bool) -> None:
        image.to_dicom_folder(emptied("out"), num_threads=1, exact=exact, overwrite=True)

    def look() -> None:
        meta = image.dicom_meta
        if meta is not None:
            list(meta.items())
            dicube.check_dicom(meta)
            for key in list(meta.keys())[:40]:
                meta.get_values(key)
            meta.index(0)

    uses: list[Callable[[], object]] = [
        *(image.get_fdata, image.volumes, image.why_not_exact, look, save),
        *(lambda: restore(True), lambda: restore(False)),
        lambda: image.to_nifti(scratch() / "x.nii"),
        lambda: repr(image) + str(image.space) + str(image.losses),
    ]
    for use in uses:
        with contextlib.suppress(DicomCubeError):
            use()
    outside = {path.name for path in scratch().iterdir()}
    assert outside <= {"good", "out", "in", "x.dcbs", "again.dcbs", "x.nii"}, outside


# --------------------------------------------------------------------------------------- DICOM


def dicom(data: bytes) -> None:
    """Read any bytes as a DICOM file; an exact one must be restored to the byte."""
    source = emptied("in") / "1.dcm"
    source.write_bytes(data)
    try:
        image = DicomCubeImage.from_dicom_folder(source.parent, num_threads=1)
    except DicomCubeError:
        return
    use_image(image)
    if not image.why_not_exact():
        try:
            image.to_file(scratch() / "x.dcbs", num_threads=1)
        except DicomCubeError:  # malformed sequences are detected only on access
            return
        back = DicomCubeImage.from_file(scratch() / "x.dcbs", num_threads=1)
        assert not back.why_not_exact(), back.why_not_exact()
        back.to_dicom_folder(emptied("out"), num_threads=1)
        assert (scratch() / "out" / "1.dcm").read_bytes() == data


# ------------------------------------------------------------------------- mutations of sections

STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, SLICES, 1 << 31, 1 << 32, 1 << 63, 1 << 64, -(1 << 63)),
    *(0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"), -float("inf"), 10**400),
    *("", "a", "0", "None", "nan", "\0", "\\", "1\\2", "\ud800", "é", "x" * 100, "../../x", "AA=="),
    *([], {}, [None], [[]], [{}], {"": None}, {"vr": "SQ"}, {"vr": "US", "shared": True}),
    *("SQ", "OB", "OW", "US", "DS", "PN", "UN", "AT", "UI", "DA", "LO", "FD", "IS"),
)


def paths_in(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to each value in a document."""
    yield path
    if isinstance(document, dict):
        children: Any = document.items()
    elif isinstance(document, list):
        children = enumerate(document)
    else:
        return
    for key, child in children:
        yield from paths_in(child, (*path, key))


def mutated(document: Any, pick: random.Random) -> Any:
    """Return a document with one of its values changed to something strange."""
    paths = list(paths_in(document))
    path = pick.choice(paths)
    if not path:
        return pick.choice(STRANGE) if pick.random() < 0.1 else document
    parent = functools.reduce(lambda value, key: value[key], path[:-1], document)
    key, kind = path[-1], pick.randrange(8)
    value = parent[key]
    if kind == 0:
        del parent[key]
    elif kind == 1:
        other = functools.reduce(lambda value, key: value[key], pick.choice(paths), document)
        parent[key] = json.loads(json.dumps(other))
    elif kind == 2 and isinstance(value, list):
        value.append(pick.choice(STRANGE if not value or pick.random() < 0.5 else value))
    elif kind == 3 and isinstance(parent, dict):
        parent[str(pick.choice(("7FE00010", "00280010", "00080005", "52009230", key, "Value")))] = (
            parent.pop(key)
        )
    elif kind == 4 and isinstance(value, (int, float)) and not isinstance(value, bool):
        parent[key] = pick.choice((value + 1, -value, str(value), float(value), [value]))
    elif kind == 5 and isinstance(value, dict):
        value[
            pick.choice(("Value", "InlineBinary", "raw", "counts", "vrs", "columns", "shared"))
        ] = pick.choice(STRANGE)
    elif kind == 6:
        parent[key] = [value] * pick.choice((1, 2, SLICES, 100))
    else:
        parent[key] = pick.choice(STRANGE)
    return document


def mutate_section(data: bytes, most: int, seed: int) -> bytes:
    """Mutate a section: usually as JSON, or as bytes if it is no JSON."""
    pick = random.Random(seed)
    if len(data) < 2 or pick.random() < 0.2:
        return bytes(atheris.Mutate(data, most))
    head = data[1:]
    rest = b""
    if SECTIONS[data[0] % len(SECTIONS)] == "originals":
        size = int.from_bytes(data[1:5], "little")
        head, rest = data[5 : 5 + size], data[5 + size :]
    try:
        document = json.loads(head)
        for _ in range(pick.choice((1, 1, 1, 2, 3))):
            document = mutated(document, pick)
        text = json.dumps(document).encode()
    except (ValueError, RecursionError, OverflowError):
        return bytes(atheris.Mutate(data, most))
    if rest:
        text = len(text).to_bytes(4, "little") + text + rest
    return (data[:1] + text)[:most]


# ---------------------------------------------------------------------------------------- seeds


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Yield target, name and content of each good input."""
    several = make_series(SLICES)
    each(several, "AcquisitionNumber", [1, 2, 3])
    for dataset in several:
        dataset.ReferencedImageSequence = [item(ReferencedSOPInstanceUID="1.2")]
        dataset.add_new(0x00091001, "OB", b"\1\2\3\4")
        dataset.OtherPatientNames = ["A^B", "C^D=山田^太郎"]
        dataset.SpecificCharacterSet = "ISO_IR 192"
    several[1].ReferencedImageSequence = []
    tomography = several_frames(SLICES)
    tomography.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    tomography.SpacingBetweenSlices = 3
    tomography.GridFrameOffsetVector = [3 * number for number in range(SLICES)]
    tomography.DetectorInformationSequence = [
        item(ImagePositionPatient=[1, 2, 3], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    ]
    of_one_file = (("frames", [enhanced(SLICES)]), ("tomography", [tomography]))
    for kind, datasets in (("several", several), *of_one_file):
        folder = write_series(emptied("in"), datasets)
        for path in sorted(folder.iterdir()):
            yield "dicom", f"{kind}-{path.stem}", path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = DicomCubeImage.from_dicom_folder(folder)
        image.to_file(scratch() / "x.dcbs", num_threads=1)
        with DcbReader(scratch() / "x.dcbs") as reader:
            for place, name in enumerate(SECTIONS):
                data = reader.sections.get(name)
                if data is not None:
                    unpack = unpack_bytes if name in PACKED else bytes
                    yield "sections", f"{kind}-{name}", bytes([place]) + unpack(data)
    loss = {"max_error": 3, "rmse": 1.5, "least": 0, "greatest": 9, "changed": 0.5, "ratio": 4.0}
    losses = {"version": 1, "losses": [{"settings": {"max_error": 3}, **loss}]}
    yield "sections", "loss", bytes([SECTIONS.index("loss")]) + json.dumps(losses).encode()
    image = DicomCubeImage(np.arange(3 * 6 * 5, dtype=np.int16).reshape(3, 6, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.to_nifti(scratch() / "x.nii")
    header = (scratch() / "x.nii").read_bytes()[:352]
    yield "sections", "nifti", bytes([SECTIONS.index("nifti")]) + header


def make_seeds(folder: Path) -> None:
    """Write the seeds into a folder for each target."""
    for target, name, content in seeds():
        (folder / target).mkdir(parents=True, exist_ok=True)
        (folder / target / name).write_bytes(content)


TARGETS: dict[str, Target] = {"sections": sections, "dicom": dicom}


def run(target: Target, data: bytes) -> None:
    """Run a target on one input."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target(data)


if __name__ == "__main__":
    name = sys.argv.pop(1)
    if name == "seeds":
        make_seeds(Path(sys.argv[1]))
    else:
        good_file()
        mutator = {"custom_mutator": mutate_section} if name == "sections" else {}
        atheris.Setup(sys.argv, functools.partial(run, TARGETS[name]), **mutator)
        atheris.Fuzz()
