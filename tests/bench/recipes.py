"""Count the files and coded frames that recipes give again, to the byte.

usage: python tests/bench/recipes.py [FILE OR FOLDER ...] [--streams N]

Stores each DICOM file whose frames are coded in a file of its own, restores it, and compares the
bytes. Without arguments, takes the images in pydicom's wheel. Then codes N synthetic frames, of all
bit depths, in gray and colour, smooth, flat and of noise, with each of the encoders that are
installed: imagecodecs (libjpeg-turbo, liblj92, CharLS), GDCM, DCMTK (dcmcjpeg, dcmcjpls, dcmcrle),
pyjpegls, pydicom and pylibjpeg-rle. Prints for each transfer syntax, and for each encoder, how many
there are, how many come back, and the bytes of recipes as a share of those of the coded frames. All
others are listed with what was found.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import struct
import subprocess
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.pixels.encoders.native import _encode_segment
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from dicube import DicomCubeImage
from dicube.codecs.recipes import JPEG_LOSSLESS, JPEG_LS, RLE, code_by_recipe, find_recipe
from dicube.dicom.originals.model import Recoded
from dicube.dicom.originals.section import originals_from_bytes
from dicube.dicom.transfer_syntaxes import RECIPE_KINDS
from dicube.exceptions import DicomCubeError
from dicube.storage import DcbReader
from dicube.storage.packed_text import unpack_bytes

Encoder = Callable[[NDArray[Any], int, np.random.Generator], bytes | None]


class Counts:
    """A row of the table."""

    def __init__(self) -> None:
        self.all = self.exact = self.recipe_bytes = self.coded_bytes = 0

    def add(self, recipe_bytes: int | None, coded_bytes: int) -> None:
        """Count one; None if it does not come back."""
        self.all += 1
        if recipe_bytes is not None:
            self.exact += 1
            self.recipe_bytes += recipe_bytes
            self.coded_bytes += coded_bytes

    def __str__(self) -> str:
        if not self.exact:
            return f"{self.all:6} {self.exact:6}"
        share = 100 * self.recipe_bytes / self.coded_bytes
        return f"{self.all:6} {self.exact:6} {self.recipe_bytes / self.exact:9.0f} {share:8.3f} %"


# ------------------------------------------------------------------------------------------- files


def coded_files(paths: list[Path]) -> Iterator[tuple[Path, str]]:
    """Yield each file whose pixels are coded, once, with its transfer syntax."""
    seen = set()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            try:
                dataset = pydicom.dcmread(file, specific_tags=["PixelData"])
            except (OSError, AttributeError, pydicom.errors.InvalidDicomError):
                continue
            if "PixelData" not in dataset:
                continue
            syntax = dataset.file_meta.get("TransferSyntaxUID")
            data = file.read_bytes()
            if syntax is not None and syntax.is_encapsulated and data not in seen:
                seen.add(data)
                yield file, str(syntax)


def restored_by_recipes(file: Path, work: Path) -> int:
    """Restore a file from a dicube file, and return the bytes of its recipes.

    Raises:
        DicomCubeError, ValueError: it is not restored to the byte by recipes.
    """
    image = DicomCubeImage.from_dicom_folder(file)
    if image.why_not_exact():
        raise ValueError(image.why_not_exact())
    image.to_file(work / "x.dcbs")
    DicomCubeImage.from_file(work / "x.dcbs").to_dicom_folder(work / "out", exact=True)
    (written,) = (work / "out").iterdir()
    if written.read_bytes() != file.read_bytes():
        raise AssertionError(f"{file} is not restored to the byte")
    with DcbReader(work / "x.dcbs") as reader:
        data = unpack_bytes(reader.sections["originals"])
        originals = originals_from_bytes(data, reader.shape, reader.dtype, reader.codec)
    pieces = [p for f in originals.all_files for p in f.pieces if isinstance(p, Recoded)]
    if not pieces:
        raise ValueError("restored, but its frames are not coded by recipes")
    return sum(len(recipe.data) for recipe in {piece.recipe for piece in pieces})


def count_files(paths: list[Path]) -> None:
    """Print the table of files."""
    table: dict[str, Counts] = defaultdict(Counts)
    for file, syntax in coded_files(paths):
        size = len(pydicom.dcmread(file).PixelData)
        with tempfile.TemporaryDirectory() as work:
            try:
                table[syntax].add(restored_by_recipes(file, Path(work)), size)
            except (DicomCubeError, ValueError) as error:
                table[syntax].add(None, 0)
                if syntax in RECIPE_KINDS:
                    print(f"  {file.name}, {syntax}: {str(error).splitlines()[0]}")
    print(f"{'transfer syntax':26} {'files':>6} {'exact':>6} {'bytes':>9} {'of coded':>10}")
    for syntax, counts in sorted(table.items()):
        print(f"{syntax:26} {counts}")


# ----------------------------------------------------------------------------------------- streams


def frame_of(random: np.random.Generator) -> tuple[NDArray[Any], int]:
    """Return a frame of any bit depth, and the depth."""
    bits = int(random.integers(2, 17))
    sides = (1, 40) if random.integers(0, 4) == 0 else (100, 300)
    shape = [int(side) for side in random.integers(*sides, 2)]
    if random.integers(0, 3) == 0:
        shape.append(3)
    kind = random.integers(0, 4)
    samples = np.cumsum(random.integers(-2, 3, shape), axis=1) + random.integers(0, 1 << bits)
    if kind == 0:
        samples = random.integers(0, 1 << bits, shape)
    elif kind == 1:
        samples = samples // 8 * 8
    elif kind == 2:
        samples = np.where(samples % 3 == 0, 0, samples)
    frame = np.clip(samples, 0, (1 << bits) - 1).astype("uint8" if bits <= 8 else "uint16")
    frame.flat[0] = (1 << bits) - 1
    return frame, bits


def libjpeg_turbo(frame: NDArray[Any], bits: int, random: np.random.Generator) -> bytes | None:
    """Code with one of the seven predictors."""
    colours = {} if frame.ndim == 2 else {"colorspace": "RGB", "outcolorspace": "RGB"}
    predictor = int(random.integers(1, 8))
    jpeg = imagecodecs.jpeg8_encode(
        frame, lossless=True, predictor=predictor, bitspersample=bits, **colours
    )
    return bytes(jpeg)


def restarts(frame: NDArray[Any], bits: int, random: np.random.Generator) -> bytes | None:
    """Repeat a JPEG's entropy-coded data as restart intervals, and the rows of the frame itself."""
    jpeg = libjpeg_turbo(frame, bits, random)
    assert jpeg is not None
    count = int(random.integers(2, 12))
    head = jpeg.index(b"\xff\xc3") + 5
    scan = jpeg.index(b"\xff\xda")
    (length,) = struct.unpack_from(">H", jpeg, scan + 2)
    start = scan + 2 + length
    coded, interval = jpeg[start:-2], frame.shape[0] * frame.shape[1]
    if interval > 65535:
        return None
    intervals = [coded + bytes([0xFF, 0xD0 + number % 8]) for number in range(count)]
    rows = struct.pack(">H", frame.shape[0] * count)
    segments = jpeg[:head] + rows + jpeg[head + 2 : scan]
    define = b"\xff\xdd\0\4" + struct.pack(">H", interval)
    whole = segments + define + jpeg[scan:start] + b"".join(intervals)[:-2] + jpeg[-2:]
    frame.resize((frame.shape[0] * count, *frame.shape[1:]), refcheck=False)
    frame.reshape(count, -1)[:] = frame.reshape(count, -1)[0]
    return whole


def liblj92(frame: NDArray[Any], bits: int, _: np.random.Generator) -> bytes | None:
    """Code with predictor 6."""
    if frame.ndim == 3 or bits <= 8:
        return None
    return bytes(imagecodecs.ljpeg_encode(frame, bitspersample=bits))


def charls(frame: NDArray[Any], _: int, __: np.random.Generator) -> bytes | None:
    """Code with interleaved samples."""
    try:
        return bytes(imagecodecs.jpegls_encode(frame))
    except imagecodecs.JpeglsError:  # an image too small for it
        return None


def pyjpegls(frame: NDArray[Any], _: int, random: np.random.Generator) -> bytes | None:
    """Code with lines or samples interleaved."""
    import jpeg_ls

    mode = int(random.integers(1, 3)) if frame.ndim == 3 else 0
    try:
        return bytes(jpeg_ls.encode_array(frame, interleave_mode=mode))
    except RuntimeError:
        return None


def rle_of(segment: Callable[[bytes, int], bytes]) -> Encoder:
    """Return an encoder of RLE that codes segments by a function."""

    def encode(frame: NDArray[Any], _: int, __: np.random.Generator) -> bytes:
        samples = np.atleast_3d(frame)
        rows, columns, count = samples.shape
        segments = []
        for sample in range(count):
            words = np.ascontiguousarray(samples[..., sample]).astype(frame.dtype.newbyteorder(">"))
            planes = words.view("u1").reshape(rows, columns, -1)
            segments += [
                bytes(segment(plane.tobytes(), columns)) for plane in np.rollaxis(planes, 2)
            ]
        offsets = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
        header = struct.pack(f"<{1 + len(segments)}L", len(segments), *offsets)
        return header.ljust(64, b"\0") + b"".join(segments)

    return encode


def written(frame: NDArray[Any], bits: int, path: Path) -> None:
    """Write an uncompressed DICOM file."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    dataset.Rows, dataset.Columns = frame.shape[:2]
    dataset.SamplesPerPixel = 1 if frame.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if frame.ndim == 2 else "RGB"
    if frame.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored = 8 * frame.itemsize, bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.add_new("PixelData", "OW", frame.tobytes() + b"\0" * (frame.nbytes % 2))
    dataset.save_as(path, enforce_file_format=True)


def frame_in(path: Path) -> bytes:
    """Return the coded frame of a file."""
    dataset = pydicom.dcmread(path)
    assert dataset.file_meta.TransferSyntaxUID in RECIPE_KINDS
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    return frame


def dcmtk(program: str, *options: Callable[[np.random.Generator], list[str]]) -> Encoder:
    """Return an encoder that runs a program of DCMTK."""

    def encode(frame: NDArray[Any], bits: int, random: np.random.Generator) -> bytes | None:
        with tempfile.TemporaryDirectory() as work:
            source, target = Path(work, "in.dcm"), Path(work, "out.dcm")
            written(frame, bits, source)
            chosen = [text for option in options for text in option(random)]
            done = subprocess.run([program, *chosen, source, target], capture_output=True)
            return frame_in(target) if done.returncode == 0 and target.exists() else None

    return encode


def dcmtk_process(random: np.random.Generator) -> list[str]:
    """Choose one of the seven predictors, or the transfer syntax of the first."""
    predictor = int(random.integers(0, 8))
    return ["+el", "+sv", str(predictor)] if predictor else ["+e1"]


def gdcm(name: str, least_bits: int = 2) -> Encoder:
    """Return an encoder of GDCM.

    It ends the process for some frames of fewer bits, and of an odd number of bytes.
    """
    import gdcm

    def encode(frame: NDArray[Any], bits: int, _: np.random.Generator) -> bytes | None:
        if frame.nbytes % 2:
            return None
        with tempfile.TemporaryDirectory() as work:
            source, target = Path(work, "in.dcm"), Path(work, "out.dcm")
            written(frame, max(bits, least_bits), source)
            reader = gdcm.ImageReader()
            reader.SetFileName(str(source))
            if not reader.Read():
                return None
            change = gdcm.ImageChangeTransferSyntax()
            change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
            change.SetInput(reader.GetImage())
            if not change.Change():
                return None
            writer = gdcm.ImageWriter()
            writer.SetFile(reader.GetFile())
            writer.SetImage(change.GetOutput())
            writer.SetFileName(str(target))
            return frame_in(target) if writer.Write() else None

    return encode


def encoders() -> dict[str, tuple[str, Encoder]]:
    """Return the installed encoders by name, with their kinds of recipes."""
    found: dict[str, tuple[str, Encoder]] = {
        "JPEG Lossless, libjpeg-turbo": (JPEG_LOSSLESS, libjpeg_turbo),
        "JPEG Lossless, with restarts": (JPEG_LOSSLESS, restarts),
        "JPEG Lossless, liblj92": (JPEG_LOSSLESS, liblj92),
        "JPEG-LS, CharLS": (JPEG_LS, charls),
        "RLE, pydicom": (RLE, rle_of(_encode_segment)),
    }
    if importlib.util.find_spec("jpeg_ls"):
        found["JPEG-LS, pyjpegls"] = JPEG_LS, pyjpegls
    if importlib.util.find_spec("rle"):
        import rle

        found["RLE, pylibjpeg-rle"] = RLE, rle_of(rle.rle.encode_segment)
    if importlib.util.find_spec("gdcm"):
        found["JPEG Lossless, GDCM"] = JPEG_LOSSLESS, gdcm("JPEGLosslessProcess14_1")
        found["JPEG-LS, GDCM"] = JPEG_LS, gdcm("JPEGLSLossless", 8)
        found["RLE, GDCM"] = RLE, gdcm("RLELossless")
    for program, name, kind, option in (
        ("dcmcjpeg", "JPEG Lossless, DCMTK", JPEG_LOSSLESS, dcmtk_process),
        ("dcmcjpls", "JPEG-LS, DCMTK", JPEG_LS, lambda _: ["+el"]),
        ("dcmcrle", "RLE, DCMTK", RLE, lambda _: []),
    ):
        if shutil.which(program):
            found[name] = kind, dcmtk(program, option)
    return found


def given_size(kind: str, frame: NDArray[Any], coded: bytes) -> int | None:
    """Return the size of the recipe that gives a coded frame; None if none does."""
    recipe = find_recipe(kind, frame, coded)
    if recipe is None or coded[recipe.coded_size :].strip(b"\0"):
        return None
    made = code_by_recipe(kind, frame, recipe.data)
    assert made == coded[: recipe.coded_size]
    return len(recipe.data)


def count_streams(count: int) -> None:
    """Print the table of synthetic frames."""
    print(f"\n{'synthetic frames':29} {'all':>6} {'exact':>6} {'bytes':>9} {'of coded':>10}")
    for number, (name, (kind, encode)) in enumerate(encoders().items()):
        random = np.random.default_rng(number)
        counts, refused = Counts(), 0
        while counts.all < count and refused < 5 * count:
            frame, bits = frame_of(random)
            coded = encode(frame, bits, random)
            if coded is None:
                refused += 1
                continue
            size = given_size(kind, frame, coded)
            counts.add(size, len(coded))
            if size is None:
                print(f"  {name}: not given: {frame.shape} of {bits} bits")
        print(f"{name:29} {counts}")


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--streams", type=int, default=200)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    count_files(options.paths or [Path(pydicom.__file__).parent / "data"])
    if options.streams:
        count_streams(options.streams)


if __name__ == "__main__":
    main()
