"""Mutations of a good folder of DICOM files, and of the targets that images are written to.

The cases are those on which the published package 0.3.0 was tested, each in many variations. A
result must match the files: the pixels that pydicom reads, every file to the byte, and every
missing file named. An error must be one of dicube's exceptions, name the damaged file, and leave
the target unchanged.
"""

from __future__ import annotations

import io
import logging
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from inputs.dicom_series import SERIES_UID, make_series, make_slice, write_series
from pydicom.pixels import pixel_array

from dicube import DicomCubeImage
from dicube.exceptions import DicomCubeError

SLICES = 4
OUTCOMES = ("error", "equal", "what the files say", "wrong")

# --------------------------------------------------------------------------------------- folders


def strangers(folder: Path, pick: random.Random) -> str:
    """Add files and folders that are not DICOM."""
    contents = (b"text\n", b"", b"\xff\xd8\xff\xe0" + bytes(300), pick.randbytes(5000), bytes(200))
    for name in pick.sample(("notes.txt", ".DS_Store", "photo.jpg", "I2.bak", "DICOMDIR", "0"), 4):
        (folder / name).write_bytes(pick.choice(contents))
    (folder / "sub" / "sub").mkdir(parents=True)
    return "equal"


def moved_inside(folder: Path, pick: random.Random) -> str:
    """Move the slices, or some of them, into subfolders."""
    for path in sorted(folder.iterdir())[pick.randrange(SLICES) :]:
        inner = folder / "/".join(pick.choices("abc", k=pick.randrange(1, 4)))
        inner.mkdir(parents=True, exist_ok=True)
        path.rename(inner / path.name)
    return "equal"


def no_slices(folder: Path, pick: random.Random) -> str:
    """Leave no slices, only other files, or no folder at all."""
    for path in folder.iterdir():
        path.unlink()
    kind = pick.randrange(4)
    if kind == 0:
        strangers(folder, pick)
    elif kind > 1:
        folder.rmdir()
        if kind == 3:
            folder.write_bytes(pick.randbytes(pick.randrange(2000)))
    return "error"


def other_shape(folder: Path, pick: random.Random) -> str:
    """Replace a slice with one of another shape."""
    shape = pick.choice(((7, 5), (6, 4), (5, 6), (1, 30), (6, 5, 3)))
    one = pick.randrange(SLICES)
    write_series(folder, [make_slice(one, shape=shape)], [f"I{one + 1}"])
    return "error"


def other_series(folder: Path, pick: random.Random) -> str:
    """Add or replace a slice with one of another series, of the same shape."""
    one = pick.randrange(SLICES + 1)
    dataset = make_slice(one)
    dataset.SeriesInstanceUID = f"{SERIES_UID}.{pick.randrange(1, 100)}"
    write_series(folder, [dataset], [f"I{one + 1}"])
    return "error"


def without_pixels(folder: Path, pick: random.Random) -> str:
    """Remove PixelData from a slice."""
    one = pick.randrange(SLICES)
    dataset = make_slice(one)
    del dataset.PixelData
    write_series(folder, [dataset], [f"I{one + 1}"])
    return f"I{one + 1}"


def truncated(folder: Path, pick: random.Random) -> str:
    """Truncate a slice somewhere after its preamble."""
    path = folder / f"I{pick.randrange(SLICES) + 1}"
    data = path.read_bytes()
    path.write_bytes(data[: pick.randrange(132, len(data))])
    return path.name


def flipped(folder: Path, pick: random.Random) -> str:
    """Flip a bit in the header of a slice."""
    path = folder / f"I{pick.randrange(SLICES) + 1}"
    data = bytearray(path.read_bytes())
    data[pick.randrange(132, data.index(b"\xe0\x7f\x10\x00"))] ^= 1 << pick.randrange(8)
    path.write_bytes(data)
    return ""


def unlike_attributes(folder: Path, pick: random.Random) -> str:
    """Change BitsStored of some slices, or remove their InstanceNumber."""
    datasets = make_series(SLICES)
    for dataset in pick.sample(datasets, pick.randrange(1, SLICES + 1)):
        kind = pick.randrange(3)
        if kind < 2:
            dataset.BitsStored = pick.randrange(1, 16)
            dataset.HighBit = dataset.BitsStored - 1
        if kind > 0:
            del dataset.InstanceNumber
    write_series(folder, datasets)
    return ""


Mutate = Callable[[Path, random.Random], str]

# Each returns the required outcome: 'error'; 'equal' to the good folder; the name of a file that an
# error must name; or '' for an error or a result that matches the files.
FOLDERS: dict[str, Mutate] = {
    "strangers": strangers,
    "moved inside": moved_inside,
    "no slices": no_slices,
    "other shape": other_shape,
    "other series": other_series,
    "without pixels": without_pixels,
    "truncated": truncated,
    "header, flips": flipped,
    "unlike attributes": unlike_attributes,
}


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """Capture the log of dicube, which names the files that it skipped."""
    log, text = logging.getLogger("dicube"), io.StringIO()
    handler, level = logging.StreamHandler(text), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield text
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def outcome_of(folder: Path, must: str, good: DicomCubeImage) -> str:
    """Read a folder; return one of OUTCOMES, with details if it is wrong."""
    with logged() as text:
        try:
            image = DicomCubeImage.from_dicom_folder(folder, num_threads=1)
            file = folder.with_name("x.dcbs")
            image.to_file(file, num_threads=1)
            image = DicomCubeImage.from_file(file, num_threads=1)
        except DicomCubeError as error:
            named = must in ("error", "") or must in str(error)
            return "error" if must != "equal" and named else f"wrong: {error}"
    if must == "error":
        return "wrong: no error"
    if must == "equal":
        same = np.array_equal(image.raw_image, good.raw_image)
        return "equal" if same and image.dicom_meta == good.dicom_meta else "wrong: not equal"
    return what_differs(image, folder, text.getvalue()) or "what the files say"


def what_differs(image: DicomCubeImage, folder: Path, log: str) -> str:
    """Return how an image differs from the files of a folder, in pixels and bytes; '' if not."""
    out = folder.with_name("out")
    shutil.rmtree(out, ignore_errors=True)
    if image.why_not_exact():
        return f"wrong: {image.why_not_exact()}"
    image.to_dicom_folder(out, num_threads=1, exact=True)
    held = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    slices = Counter(frame.tobytes() for frame in image.raw_image)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if name not in held:
            if name.name not in log:
                return f"wrong: {name} is missing"
            continue
        if (out / name).read_bytes() != path.read_bytes():
            return f"wrong: {name} is restored with other bytes"
        pixels = by_pydicom(path)
        if pixels is not None:
            slices[pixels] -= 1
    return "wrong: pixels" if min(slices.values()) < 0 else ""


def by_pydicom(path: Path) -> bytes | None:
    """Return the pixels of a file as pydicom reads them; None if it can't."""
    try:
        dataset = pydicom.dcmread(path)
        return bytes(pixel_array(dataset, raw=True, correct_unused_bits=False).tobytes())
    except Exception:  # pydicom raises many kinds for damaged files
        return None


# --------------------------------------------------------------------------------------- targets


def target_of(work: Path, pick: random.Random) -> tuple[str, Path, dict[str, Any]]:
    """Make a target that can't be written; return the method to call, its path and options."""
    (work / "folder.dcbs").mkdir(parents=True)
    (work / "file").write_bytes(b"x")
    name = pick.choice(("none/x.dcbs", "folder.dcbs", "file/x.dcbs", "x", "x.dcbz", "x.nii", "x\0"))
    return pick.choice(
        (
            ("to_file", work / name, {}),
            ("to_file", work / "x.dcbs", {"effort": pick.choice((-1, 99))}),
            ("to_file", work / "x.dcba", {"max_error": pick.choice((-1, "1", float("nan")))}),
            ("to_dicom_folder", work / "file", {"overwrite": pick.random() < 0.5}),
            ("to_dicom_folder", work / "file" / "out", {}),
        )
    )


def outcome_of_target(work: Path, image: DicomCubeImage, pick: random.Random) -> str:
    """Write to a bad target; it must raise a dicube error and change nothing."""
    how, path, options = target_of(work, pick)
    before = sorted(work.rglob("*"))
    try:
        getattr(image, how)(path, num_threads=1, **options)
    except DicomCubeError:
        left = sorted(work.rglob("*")) != before or (work / "file").read_bytes() != b"x"
        return f"wrong: {how} {path.name} changes files" if left else "error"
    return f"wrong: {how} to {path.name} with {options}"


# ----------------------------------------------------------------------------------------- survey


def survey(work: Path, times: int, seed: int) -> dict[str, Counter[str]]:
    """Try each kind `times` times; return the number of each outcome, by kind.

    Raises:
        Exception: any exception that is not one of dicube's.
    """
    pick = random.Random(seed)
    good_folder = write_series(work / "good", make_series(SLICES))
    good = DicomCubeImage.from_dicom_folder(good_folder, num_threads=1)
    found: dict[str, Counter[str]] = {}
    for kind, mutate in FOLDERS.items():
        counts = found[kind] = Counter()
        for _ in range(times):
            case = work / "case"
            shutil.copytree(good_folder, case / "in")
            must = mutate(case / "in", pick)
            counts[outcome_of(case / "in", must, good)] += 1
            shutil.rmtree(case)
    counts = found["targets"] = Counter()
    for _ in range(times):
        counts[outcome_of_target(work / "case", good, pick)] += 1
        shutil.rmtree(work / "case")
    return found


def wrong_results(found: dict[str, Counter[str]]) -> int:
    """Return the number of wrong outcomes, which must be 0."""
    return sum(
        count
        for counts in found.values()
        for outcome, count in counts.items()
        if outcome.startswith("wrong")
    )
