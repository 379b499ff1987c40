"""Write the golden files of this version: `python tests/golden/make.py`.

Files of a released version must open forever, so golden files are added and never rewritten:
existing ones are skipped. The `expected.json` of each version records shape, dtype and the SHA-256
of the pixels in C order (only of lossless files, because others depend on the machine's rounding),
and the SHA-256 of the original files.

The files effort1_* were written by libjxl's effort 1. Since effort 1 means 2, they can't be written
again.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import imagecodecs
import jpeg_ls
import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import (
    MPEG4HP41,
    BasicTextSRStorage,
    EncapsulatedPDFStorage,
    JPEGLossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

import dicube
from dicube import DicomCubeImage, PixelDataHeader
from dicube.codecs.jph import imdecode_jph, imencode_jph
from dicube.core.fidelity.exactness import Exact
from dicube.dicom.series.geometry import Space
from dicube.storage import DcbReader, DcbWriter

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from inputs.dicom_frames import enhanced
from inputs.dicom_series import make_series, make_slice, raw_data, without_pixels, write_series
from inputs.mapped_series import MAPPED
from inputs.original_files import encapsulated
from inputs.rle_frames import byte_by_byte, dcmtks, gdcms, pydicoms, rle_frame

COD = b"\xff\x52"  # the marker of an HTJ2K codestream's coding style

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
WIDE_DTYPES = ("uint64", "int64", "float16", "float32", "float64")


def synthetic_volume(dtype: str, samples: int) -> NDArray[Any]:
    """Return 3 frames of 13 x 17: a ramp over the type's whole range, and noise."""
    limits = np.iinfo(dtype)
    shape = (3, 13, 17) if samples == 1 else (3, 13, 17, samples)
    ramp = np.linspace(limits.min, limits.max, int(np.prod(shape[1:])))
    random = np.random.default_rng([limits.bits, samples])
    frames = [
        ramp.astype(dtype).ravel(),
        random.integers(limits.min, limits.max, ramp.size, dtype, endpoint=True),
        random.integers(0, 100, ramp.size, dtype),
    ]
    return np.stack(frames).reshape(shape)


def write_wide(path: Path, dtype: str) -> dict[str, Any]:
    """Write 2 frames of 7 x 9: a ramp through 0, and any bits, such as NaNs; return the content."""
    ramp = np.linspace(-9, 9, 63).astype(dtype) if dtype != "uint64" else np.arange(63, dtype=dtype)
    size = ramp.itemsize
    noise = np.frombuffer(np.random.default_rng(size).bytes(63 * size), dtype)
    volume = np.stack([ramp, noise]).reshape(2, 7, 9)
    DicomCubeImage(volume).to_file(path)
    return {
        "shape": volume.shape,
        "dtype": dtype,
        "sha256": hashlib.sha256(volume.tobytes()).hexdigest(),
    }


def write_transformed(path: Path) -> NDArray[Any]:
    """Write a file with one HTJ2K frame that has a component transform; return its pixels."""
    planes = synthetic_volume("uint8", 3)[2:] % 32 + 48
    coded = bytearray(imencode_jph(planes[0]))
    coded[coded.index(COD) + 8] = 1  # SGcod: declares the three planes as Y, Cb and Cr
    pixels = imdecode_jph(bytes(coded))[np.newaxis]
    header = PixelDataHeader(OriginalPixelDtype="uint8", PixelDtype="uint8")
    with DcbWriter(path, pixels.shape, pixels.dtype) as writer:
        writer.write_section("pixel_header", header.to_json().encode())
        writer.write_coded(bytes(coded))
    return pixels


def write_mapped(path: Path, work: Path, name: str) -> dict[str, Any]:
    """Write a file whose real values a mapping gives; return the expected content."""
    image = DicomCubeImage.from_dicom_folder(write_series(work, MAPPED[name]().datasets))
    if name == "at_the_root":  # as 0.4.0 wrote it before it knew mappings
        image.pixel_header = PixelDataHeader(PixelDtype=image.dtype.name)
    image.to_file(path, exact=False)
    real = image.get_fdata("float64")
    return {
        "shape": image.shape,
        "dtype": image.dtype.name,
        "real": hashlib.sha256(real.tobytes()).hexdigest(),
    }


def write_restorable(
    path: Path, source: Path, names: list[str], exact: Exact = True
) -> dict[str, Any]:
    """Write a file from DICOM files in a folder; return the expected content."""
    image = DicomCubeImage.from_dicom_folder(
        [source / name for name in names], keep_all=exact == "always"
    )
    image.to_file(path, exact=exact)
    return {
        "shape": image.shape,
        "dtype": image.dtype.name,
        "originals": {
            name: hashlib.sha256((source / name).read_bytes()).hexdigest() for name in names
        },
    }


def write_nifti(path: Path, end: bytes) -> bytes:
    """Write a file made from NIfTI with these bytes behind the voxels; return the NIfTI file."""
    voxels = synthetic_volume("int16", 1).T.astype(">i2")
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_shape(voxels.shape)
    header.set_data_dtype(voxels.dtype)
    header.set_sform(np.array([[0, 0, 3, -9], [-2, 0, 0, 8], [0, -1, 0, 7], [0, 0, 0, 1]]), 1)
    header["scl_slope"], header["scl_inter"], header["descrip"] = 0.5, -3, b"GOLDEN FILE"
    header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"a comment"))
    written = io.BytesIO()
    header.write_to(written)
    written.write(voxels.tobytes(order="F"))
    source = path.with_suffix(".nii")
    source_bytes = written.getvalue() + end
    source.write_bytes(source_bytes)
    DicomCubeImage.from_nifti(source).to_file(path)
    source.unlink()
    return source_bytes


def write_lossy(path: Path) -> dict[str, Any]:
    """Write a lossy file of the kind given by the path's suffix; return the expected content."""
    volume = synthetic_volume("int16", 1) // 16
    mask = np.indices(volume.shape).sum(axis=0) % 7 < 3
    options: dict[str, Any] = {
        ".dcba": {"max_error": 20},
        ".dcbl": {"distance": 1},
        ".dcbr": {"roi": mask, "background": 50},
    }[path.suffix]
    DicomCubeImage(volume).to_file(path, **options)
    image = DicomCubeImage.from_file(path)
    values = image.raw_image
    expected: dict[str, Any] = {
        "shape": volume.shape,
        "dtype": "int16",
        "max_error": image.losses[0].max_error,
    }
    if path.suffix == ".dcbl":  # decoders may differ in the last digit
        expected["means"] = [float(frame.mean()) for frame in values]
    else:
        expected["sha256"] = hashlib.sha256(values.tobytes()).hexdigest()
    if image.roi_mask is not None:
        expected["mask"] = hashlib.sha256(mask.tobytes()).hexdigest()
    return expected


def write_padded_metadata(path: Path) -> dict[str, Any]:
    """Write a file whose metadata compress so well that they need padding; return its content."""
    volume = synthetic_volume("uint16", 1)[2:]
    image = DicomCubeImage(volume)
    text = "GOLDEN FILE " * (3 << 19)
    image.init_meta(modality="CT").set_shared_item("TextValue", text)
    image.to_file(path)
    with DcbReader(path) as reader:
        packed = reader.sections["dicom_meta"]
    assert len(text) // 1024 < len(packed) and packed.endswith(bytes(1000))
    return {
        "shape": volume.shape,
        "dtype": "uint16",
        "sha256": hashlib.sha256(volume.tobytes()).hexdigest(),
        "TextValue": hashlib.sha256(text.encode()).hexdigest(),
    }


def write_coded_icons(path: Path, work: Path) -> dict[str, Any]:
    """Write a file made of DICOM files with coded icons, which are kept in the metadata."""
    series = make_series(2, shape=(8, 8), dtype="uint8")
    for dataset in series:
        dataset.compress(RLELossless, generate_instance_uid=False)
        icon = Dataset()
        for element in dataset.group_dataset(0x0028):
            icon.add(element)
        icon.add(dataset["PixelData"])
        dataset.IconImageSequence = [icon]
    write_series(work, series)
    image = DicomCubeImage.from_dicom_folder(work)
    image.to_file(path)
    return {
        "shape": image.shape,
        "dtype": "uint8",
        "sha256": hashlib.sha256(image.raw_image.tobytes()).hexdigest(),
        "icons": [hashlib.sha256(dataset.PixelData).hexdigest() for dataset in series],
    }


def write_others(path: Path) -> dict[str, Any]:
    """Write a file from two images and three objects of their series; return its content."""
    noise = np.random.default_rng(2).bytes(66_000)  # two ranges, of which one can't be packed
    objects = [raw_data(1), raw_data(2, noise), raw_data(3, bytes(70_000))]
    with TemporaryDirectory() as work, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*without pixels")
        names = ["I1", "I2", "raw/small", "raw/noise", "raw/zeros"]
        write_series(Path(work), [*make_series(2), *objects], names)
        return write_restorable(path, Path(work), names)


def write_frames_among_files(path: Path) -> dict[str, Any]:
    """Write a file from two images and a multi-frame file; return its content."""
    with TemporaryDirectory() as work:
        names = ["I1", "I2", "frames"]
        write_series(Path(work), [*make_series(2), enhanced(3, 3)], names)
        return write_restorable(path, Path(work), names)


def write_recoded(path: Path) -> dict[str, Any]:
    """Write a file from frames in RLE, by each rule and by none, and in JPEG-LS."""
    series = make_series(6, shape=(16, 24))
    for number, row in enumerate((pydicoms, dcmtks, gdcms, byte_by_byte)):
        frame = series[number].pixel_array % 3 * 257
        encapsulated(series[number], [rle_frame(frame, row)])
        series[number].file_meta.TransferSyntaxUID = RLELossless
    encapsulated(series[4], [bytes(jpeg_ls.encode_array(series[4].pixel_array))])
    series[4].file_meta.TransferSyntaxUID = JPEGLSLossless
    names = [f"I{number}" for number in range(1, 7)]
    with TemporaryDirectory() as work:
        write_series(Path(work), series)
        return write_restorable(path, Path(work), names)


def write_kept(path: Path) -> dict[str, Any]:
    """Write a file that keeps frames in HTJ2K and in near-lossless JPEG-LS as they are."""
    series = make_series(5, shape=(16, 24))
    for dataset in series[:2]:
        encapsulated(dataset, [imencode_jph(dataset.pixel_array)], fragments_per_frame=2)
    for dataset in series[2:4]:
        coded = bytes(jpeg_ls.encode_array(dataset.pixel_array, lossy_error=2))
        encapsulated(dataset, [coded])
        dataset.file_meta.TransferSyntaxUID = JPEGLSNearLossless
    names = [f"I{number}" for number in range(1, 6)]
    with TemporaryDirectory() as work:
        write_series(Path(work), series)
        return write_restorable(path, Path(work), names, exact="always")


def write_recoded_jpeg_lossless(path: Path) -> dict[str, Any]:
    """Write a file from frames in JPEG Lossless by each predictor, and one that is not coded."""
    series = make_series(8, shape=(16, 24))
    for predictor, dataset in enumerate(series[1:], 1):
        coded = imagecodecs.jpeg8_encode(
            dataset.pixel_array, lossless=True, predictor=predictor, bitspersample=16
        )
        encapsulated(dataset, [coded])
        dataset.file_meta.TransferSyntaxUID = JPEGLossless
    names = [f"I{number}" for number in range(1, 9)]
    with TemporaryDirectory() as work:
        write_series(Path(work), series)
        return write_restorable(path, Path(work), names)


def write_whole_files(path: Path) -> dict[str, Any]:
    """Write a file from two images, one of another shape and a video; return its content."""
    video = make_slice(4, shape=(6, 5, 3), dtype="uint8")
    encapsulated(video, [np.random.default_rng(3).bytes(70_000), b"the end."])
    video.file_meta.TransferSyntaxUID = MPEG4HP41
    with TemporaryDirectory() as work, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*outside the volume")
        series = [*make_series(2), make_slice(3, shape=(9, 4)), video]
        write_series(Path(work), series, names := ["I1", "I2", "scout", "video"])
        return write_restorable(path, Path(work), names, exact="always")


def write_without_frames(path: Path) -> dict[str, Any]:
    """Write a file without frames from two reports; return its content."""
    document = b"%PDF-1.4" + bytes(70_000)
    reports = [
        without_pixels(BasicTextSRStorage, 1, PatientName="GOLDEN^FILE"),
        without_pixels(EncapsulatedPDFStorage, 2, EncapsulatedDocument=document),
    ]
    with TemporaryDirectory() as work:
        source = write_series(Path(work), reports, ["sr", "pdf"])
        dicube.store_files(source, path)
        return {
            "files": {
                file.name: hashlib.sha256(file.read_bytes()).hexdigest()
                for file in sorted(source.iterdir())
            }
        }


def write_levels(path: Path) -> dict[str, Any]:
    """Write a file with a section `frame_levels`; return its content."""
    ramp = np.add.outer(np.arange(150), np.arange(200)) * 5 - 900
    noise = np.random.default_rng(5).integers(0, 4, (2, *ramp.shape))
    volume = (ramp + noise).astype(np.int16)
    DicomCubeImage(volume).to_file(path)
    with DcbReader(path) as reader:
        assert len(reader.sections["frame_levels"]) == 8 + 2 * 2 * 16
        levels = [reader.read_frames(level=level) for level in range(1, 6)]
    return {
        "shape": volume.shape,
        "dtype": "int16",
        "sha256": hashlib.sha256(volume.tobytes()).hexdigest(),
        "levels": [hashlib.sha256(level.tobytes()).hexdigest() for level in levels],
    }


def write_not_finite(path: Path) -> dict[str, Any]:
    """Write a file with NaN and infinities in metadata and header; return its content."""
    series = make_series(3)
    numbers = [math.nan, math.inf, -math.inf]
    for dataset, number in zip(series, numbers, strict=True):
        dataset.add_new(0x00189328, "FD", [1.0, number])
    image = DicomCubeImage.from_dicom_folder(series)
    image.pixel_header.MaxVal = math.inf
    image.to_file(path)
    return {
        "shape": image.shape,
        "dtype": image.dtype.name,
        "sha256": hashlib.sha256(image.raw_image.tobytes()).hexdigest(),
        "00189328": str([[1.0, number] for number in numbers]),
        "MaxVal": "inf",
    }


def make(folder: Path) -> None:
    """Write the files that are missing in the folder of this version."""
    folder.mkdir(exist_ok=True)
    record = folder / "expected.json"
    expected: dict[str, Any] = json.loads(record.read_text()) if record.exists() else {}
    for extension in (".dcbs", ".dcba"):
        for dtype in DTYPES:
            for samples in (1, 3):
                name = f"{dtype}x{samples}{extension}"
                if name in expected:
                    continue
                volume = synthetic_volume(dtype, samples)
                space = Space(
                    shape=volume.shape[:3], origin=(1.5, -2.0, 3.25), spacing=(2.5, 0.75, 0.5)
                )
                image = DicomCubeImage(volume, space=space)
                image.init_meta(modality="CT", patient_name="GOLDEN^FILE", patient_id="1")
                image.to_file(folder / name)
                expected[name] = {
                    "shape": volume.shape,
                    "dtype": dtype,
                    "sha256": hashlib.sha256(volume.tobytes()).hexdigest(),
                    "origin": space.origin,
                    "spacing": space.spacing,
                    "PatientName": "GOLDEN^FILE",
                }
    for dtype in WIDE_DTYPES:
        for name in (f"{dtype}.dcbs", f"{dtype}.dcba"):
            if name not in expected:
                expected[name] = write_wide(folder / name, dtype)
    name = "transformed.dcbs"
    if name not in expected:
        pixels = write_transformed(folder / name)
        expected[name] = {
            "shape": pixels.shape,
            "dtype": "uint8",
            "sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
        }
    for name in ("bounded.dcba", "distance.dcbl", "mask.dcbr"):
        if name not in expected:
            expected[name] = write_lossy(folder / name)
    name = "padded_metadata.dcbs"
    if name not in expected:
        expected[name] = write_padded_metadata(folder / name)
    for name, end in (("nifti.dcbs", b""), ("nifti_end.dcba", b"behind the voxels")):
        if name not in expected:
            nifti = write_nifti(folder / name, end)
            expected[name] = {
                "shape": (3, 13, 17),
                "dtype": "int16",
                "nifti": hashlib.sha256(nifti).hexdigest(),
            }
    name = "unmarked_jpeg.dcba"
    if name not in expected:
        source = Path(str(get_testdata_file("SC_jpeg_no_color_transform.dcm")))
        expected[name] = write_restorable(folder / name, source.parent, [source.name])
    name = "copies.dcbs"
    if name not in expected:
        with TemporaryDirectory() as work:
            series = make_series(3)
            write_series(Path(work), series)
            write_series(Path(work) / "copies", series[1:])
            names = ["I1", "I2", "I3", "copies/I1", "copies/I2"]
            expected[name] = write_restorable(folder / name, Path(work), names)
    name = "coded_icons.dcbs"
    if name not in expected:
        with TemporaryDirectory() as work:
            expected[name] = write_coded_icons(folder / name, Path(work))
    for name, write in (
        ("others.dcbs", write_others),
        ("without_frames.dcba", write_without_frames),
        ("frames_among_files.dcbs", write_frames_among_files),
        ("recoded.dcbs", write_recoded),
        ("kept.dcba", write_kept),
        ("recoded_jpeg_lossless.dcbs", write_recoded_jpeg_lossless),
        ("whole_files.dcbs", write_whole_files),
        ("not_finite.dcbs", write_not_finite),
        ("levels.dcbs", write_levels),
    ):
        if name not in expected:
            expected[name] = write(folder / name)
    for name, source in (("dose.dcbs", "dose"), ("unsaid_mapping.dcba", "at_the_root")):
        if name not in expected:
            with TemporaryDirectory() as work:
                expected[name] = write_mapped(folder / name, Path(work), source)
    record.write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    make(Path(__file__).parent / dicube.__version__)
