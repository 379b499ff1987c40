"""Fuzz targets in Python, with atheris: dicube files, their sections, and DICOM files.

    python tests/fuzz/fuzz_python.py files|sections|dicom [libFuzzer's options] FOLDER...
    python tests/fuzz/fuzz_python.py seeds FOLDER

`files` gets whole files, whose content is changed and sealed with right checksums; `sections` gets
the bytes of one section. All that a user does with a stranger's file is then called.
A finding is an exception that is not dicube's; an image that changes when saved and read again;
restored files that differ from what the image shows; an error that quotes a private value; or a
call that leaves its folder, or takes too much memory or disk (`guard`). libFuzzer limits the time.
tests/python/fuzz/test_fuzz_python.py replays the inputs in corpus_python/.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import functools
import hashlib
import importlib
import io
import json
import os
import pickle
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
from file_mutations import crossed, mutated_file
from file_seeds import file_seeds, rich_series
from guard import Guard
from inputs.dicom_frames import enhanced, several_frames
from inputs.dicom_series import item, make_series, write_series
from json_mutations import SLICES, mutated_text

import dicube
from dicube import DicomCubeImage
from dicube.cli import main
from dicube.core.cube_parts import read_originals
from dicube.exceptions import DicomCubeError
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import pack_bytes, pack_text, unpack_bytes

MEMORY = 64 << 20
SHOWN = (
    *("PatientName", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
    *("SOPClassUID", "Modality", "SeriesDescription", "InstanceNumber", "ImagePositionPatient"),
    *("PixelSpacing", "SliceThickness", "RescaleSlope", "RescaleIntercept"),
)
PRIVATE = ("DOE", "JOHN", "4711")  # PatientName and PatientID of the seeds

# The first byte of an input of `sections` is an index into this list; the rest is the section,
# unpacked.
SECTIONS = (
    *("dicom_meta", "pixel_header", "space", "loss", "originals", "nifti"),
    *("dicom_status", "colour_space"),
)
PACKED = {"dicom_meta", "originals", "nifti"}

Target = Callable[[bytes], object]


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
    folder.mkdir(exist_ok=True)
    found = [folder]
    for parent in found:  # grows; deeper than Python can recurse
        found += (
            Path(entry) for entry in os.scandir(parent) if entry.is_dir(follow_symlinks=False)
        )
        for entry in os.scandir(parent):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry)
    for parent in found[:0:-1]:
        parent.rmdir()
    return folder


# ------------------------------------------------------------------------------------- sections


@functools.cache
def good_file() -> tuple[np.ndarray[Any, Any], tuple[bytes, ...], dict[str, bytes]]:
    """Return frames, coded frames and sections of a good file."""
    folder = emptied("good")
    image = DicomCubeImage.from_dicom_folder(write_series(folder, make_series(SLICES)))
    image.to_file(folder / "x.dcbs", num_threads=1)
    with DcbReader(folder / "x.dcbs", num_threads=1) as reader:
        own = ("frame_offsets", "frame_lengths", "frame_checksums", "frame_levels", "Image")
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
    """Read a file with any bytes as one of its sections, in every way."""
    if data:
        image = files(sealed(SECTIONS[data[0] % len(SECTIONS)], data[1:]))
        assert image is None or same_bits(image.raw_image, good_file()[0])


def same_bits(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Return whether two arrays are the same to the bit, including NaNs."""
    return (one.dtype, one.shape) == (other.dtype, other.shape) and one.tobytes() == other.tobytes()


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


# --------------------------------------------------------------------------------------- files


@functools.cache
def guard() -> Guard:
    """Return what watches the uses of a file. Temporary files go to the folder being watched."""
    return Guard(scratch())


def files(data: bytes) -> DicomCubeImage | None:
    """Read any bytes as a dicube file, in every way; return the image, if there is one."""
    path, out = scratch() / "x.dcbs", scratch() / "out"
    path.write_bytes(data)
    images: list[DicomCubeImage] = []
    bounded: dict[str, Any] = {"num_threads": 1, "max_memory": MEMORY}

    def load() -> None:
        images.append(DicomCubeImage.from_file(path, **bounded))

    def restore() -> None:
        dicube.restore_files(path, out, overwrite=True, **bounded)
        check_digests(path, out)
        if images:
            check_one_face(images[0], out)

    def look_into() -> None:
        with dicube.open(path, **bounded) as cube:
            parts = (cube.dicom_meta, cube.space, cube.pixel_header, cube.dicom_status)
            repr((parts, cube.losses, cube.levels))
            np.asarray(cube)
            cube.get_fdata(0)

    uses: dict[str, Callable[[], object]] = {
        "load": load,
        "load without max_memory": lambda: DicomCubeImage.from_file(path, num_threads=1),
        "load without metadata": lambda: DicomCubeImage.from_file(path, skip_meta=True, **bounded),
        "load real values": lambda: DicomCubeImage.from_file(path, dtype="float32", **bounded),
        "load damaged": lambda: DicomCubeImage.from_file(path, on_error="skip", **bounded),
        "load_meta": lambda: dicube.load_meta(path, max_memory=MEMORY),
        "open": look_into,
        "stored_names": lambda: dicube.stored_names(path),
        "restore_files": restore,
        "info": lambda: command("info", "--json", path),
        "verify": lambda: command("verify", path),
        **{
            f"convert to {target}": functools.partial(command, "convert", path, f"{out}/{target}")
            for target in ("", "x.nii", "x.dcba", "x.dcm")
        },
    }
    for name, use in uses.items():
        watched(name, use)
    if not images:
        return None
    use_image(images[0])
    return images[0]


def check_digests(path: Path, folder: Path) -> None:
    """Check that restored files have the digests that the dicube file states."""
    with DcbReader(path, num_threads=1) as reader:
        stored = read_originals(reader)
        assert stored is not None
        for file in stored().all_files:
            assert hashlib.sha256((folder / file.name).read_bytes()).digest() == file.digest


def check_one_face(image: DicomCubeImage, folder: Path) -> None:
    """Check that restored files have the samples and values that the image shows."""
    faces = []
    for one in (image, DicomCubeImage.from_dicom_folder(folder, num_threads=1)):
        assert one.dicom_meta is not None
        frames = sorted(frame.tobytes() for frame in one.raw_image)
        values = (one.dicom_meta.get(key, force_nonshared=True) for key in SHOWN)
        faces.append((frames, *(sorted(map(repr, found)) for found in values)))
    assert faces[0] == faces[1]


def command(verb: str, *arguments: str | Path) -> None:
    """Run a command of `dicube`; issue what it prints to stderr as a warning."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as said,
    ):
        main([verb, *map(str, arguments)])
    warnings.warn(said.getvalue(), stacklevel=2)


def watched(name: str, use: Callable[[], object]) -> None:
    """Let a use write into one empty folder only, and raise only dicube's errors.

    Neither errors nor warnings may quote the private values of the seeds.
    """
    folder, guarding = emptied("out"), guard()
    tempfile.tempdir = str(folder)
    said: list[str] = []
    try:
        with guarding.watching(name, folder), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                use()
            except DicomCubeError as error:
                said.append(str(error))
    finally:
        tempfile.tempdir = None
    said += (str(warning.message) for warning in warned)
    quoted = [text for text in said for value in PRIVATE if value in text]
    assert not quoted, (name, quoted)


def use_image(image: DicomCubeImage) -> None:
    """Use an image, and copies of it that are edited."""
    folder = scratch() / "out"

    def edit() -> None:
        edited = copy.deepcopy(image)
        meta = edited.dicom_meta or edited.init_meta()
        meta.set_shared_item("PatientName", "NEW^NAME")
        meta.set_nonshared_item("ImageComments", list(map(str, range(edited.shape[0]))))
        for key in list(meta.keys())[2::5]:
            del meta[key]
        edited.raw_image[0] = 0
        edited.pixel_header.RescaleSlope = 2.0
        assert edited.why_not_exact()
        edited.to_file(folder / "edited.dcbs", num_threads=1)
        edited.to_dicom_folder(folder / "edited", num_threads=1)

    def parts() -> None:
        for volume in image.volumes():
            volume.get_fdata("float64")
            volume.to_file(folder / "volume.dcba", num_threads=1)

    def look() -> None:
        meta = image.dicom_meta
        repr((image, image.space, image.losses, image.roi_mask, image.pixel_header))
        if meta is not None:
            dicube.check_dicom(meta)
            for key in list(meta.keys())[:40]:
                meta.get_values(key)
            meta.index(0)
            copy.deepcopy(meta).sort_files()

    def save() -> None:
        image.to_file(folder / "again.dcbs", num_threads=1)
        back = DicomCubeImage.from_file(folder / "again.dcbs", num_threads=1)
        assert same_bits(back.raw_image, image.raw_image)
        meta, saved = image.dicom_meta, back.dicom_meta  # compared as text, for NaN
        assert (meta and meta.to_json()) == (saved and saved.to_json())

    uses: dict[str, Callable[[], object]] = {
        "get_fdata": image.get_fdata,
        "get_fdata of a mapping": lambda: image.get_fdata("float64", real_world=0),
        "volumes": parts,
        "look": look,
        "save": save,
        "why_not_exact": lambda: image.why_not_exact(num_threads=1),
        "exact": lambda: image.to_dicom_folder(folder / "dicom", exact=True, num_threads=1),
        "new files": lambda: image.to_dicom_folder(folder / "new", exact=False, num_threads=1),
        "coded files": lambda: image.to_dicom_folder(
            folder / "coded", transfer_syntax="htj2k", num_threads=1
        ),
        "to_dicom_file": lambda: image.to_dicom_file(folder / "x.dcm", num_threads=1),
        "to_nifti": lambda: image.to_nifti(folder / "x.nii"),
        "pickle": lambda: pickle.loads(pickle.dumps(image)),
        "edit": edit,
    }
    for name, use in uses.items():
        watched(name, use)


def mutate_file(data: bytes, most: int, seed: int) -> bytes:
    """Mutate the content of a file; the checksums are right again."""
    mutant = mutated_file(data, random.Random(seed))
    return mutant if len(mutant) <= most else data[:most]


def cross_files(one: bytes, other: bytes, most: int, seed: int) -> bytes:
    """Put a part of one file into another."""
    made = crossed(one, other, random.Random(seed))
    return made if len(made) <= most else one[:most]


# ------------------------------------------------------------------------- mutations of sections


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
        text = mutated_text(head, pick).encode()
    except ValueError:
        return bytes(atheris.Mutate(data, most))
    if rest:
        text = len(text).to_bytes(4, "little") + text + rest
    return (data[:1] + text)[:most]


# ---------------------------------------------------------------------------------------- seeds


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Yield target, name and content of each good input."""
    for name, content in file_seeds(emptied("good")):
        yield "files", name, content
    tomography = several_frames(SLICES)
    tomography.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    tomography.SpacingBetweenSlices = 3
    tomography.GridFrameOffsetVector = [3 * number for number in range(SLICES)]
    tomography.DetectorInformationSequence = [
        item(ImagePositionPatient=[1, 2, 3], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    ]
    of_one_file = (("frames", [enhanced(SLICES)]), ("tomography", [tomography]))
    for kind, datasets in (("several", rich_series()), *of_one_file):
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


TARGETS: dict[str, Target] = {"files": files, "sections": sections, "dicom": dicom}


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
        mutator: dict[str, Any] = {
            "files": {"custom_mutator": mutate_file, "custom_crossover": cross_files},
            "sections": {"custom_mutator": mutate_section},
        }.get(name, {})
        atheris.Setup(sys.argv, functools.partial(run, TARGETS[name]), **mutator)
        atheris.Fuzz()
