"""Compare decoders of JPEG Lossless.

usage: python tests/bench/lossless_jpeg.py FOLDER [FOLDER ...] [--slices N] [--repeats N]

Codes slices of each folder's series, spread over its length, in transfer syntax JPEG Lossless SV1
with imagecodecs, with optimal Huffman tables.
Decodes them on one thread with dicube and with each peer that is installed, in turns, and checks
that all samples are equal. Prints megabytes of samples per second of processor time: the fastest of
the repeats, and the median. Also prints how fast dicube codes the frames again by their recipes.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1, SecondaryCaptureImageStorage, generate_uid

from dicube import DicomCubeImage
from dicube.codecs.lossless_jpeg import decode_lossless_jpeg
from dicube.codecs.recipes import JPEG_LOSSLESS, code_by_recipe, find_recipe


class Decoder(NamedTuple):
    """A decoder. Only `decode` is timed.

    Attributes:
        prepare: from a JPEG and its samples, makes what `decode` takes.
        decode: decodes that.
        samples: from what `decode` returns, and the samples, makes an array of samples.
    """

    prepare: Callable[[bytes, NDArray[Any]], Any]
    decode: Callable[[Any], Any]
    samples: Callable[[Any, NDArray[Any]], NDArray[Any]]


def of_bytes(decode: Callable[[bytes], NDArray[Any]]) -> Decoder:
    """Return a decoder that takes a JPEG and returns its samples."""
    return Decoder(lambda jpeg, _: jpeg, decode, lambda decoded, _: decoded)


def pylibjpeg() -> Decoder:
    """Return the decoder of pylibjpeg-libjpeg."""
    import libjpeg

    return of_bytes(libjpeg.decode)


def gdcm() -> Decoder:
    """Return the decoder of GDCM, which keeps the samples in memory of its own."""
    import gdcm

    def prepare(jpeg: bytes, samples: NDArray[Any]) -> Any:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
        dataset.Rows, dataset.Columns = samples.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 8 * samples.itemsize
        dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
        dataset.PixelData = encapsulate([jpeg])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "image.dcm")
            dataset.save_as(path, enforce_file_format=True)
            reader = gdcm.ImageReader()
            reader.SetFileName(str(path))
            assert reader.Read()
        image, codec = reader.GetImage(), gdcm.JPEGCodec()
        codec.SetNumberOfDimensions(2)
        codec.SetDimensions((samples.shape[1], samples.shape[0], 1))
        codec.SetPixelFormat(image.GetPixelFormat())
        codec.SetPhotometricInterpretation(image.GetPhotometricInterpretation())
        return codec, image.GetDataElement(), reader

    def decode(prepared: Any) -> Any:
        codec, element, _ = prepared
        decoded = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
        assert codec.Decode(element, decoded)
        return decoded

    def samples(decoded: Any, expected: NDArray[Any]) -> NDArray[Any]:
        data = decoded.GetByteValue().GetBuffer().encode("utf-8", "surrogateescape")
        return np.frombuffer(data, expected.dtype).reshape(expected.shape)

    return Decoder(prepare, decode, samples)


def installed_decoders() -> dict[str, Decoder]:
    """Return the installed decoders by name."""
    found = {
        "dicube": of_bytes(lambda jpeg: decode_lossless_jpeg(jpeg)[0]),
        "libjpeg-turbo (imagecodecs)": of_bytes(imagecodecs.jpeg8_decode),
    }
    for name, module, load in (
        ("pylibjpeg-libjpeg", "libjpeg", pylibjpeg),
        ("GDCM", "gdcm", gdcm),
    ):
        if importlib.util.find_spec(module) is None:
            print(f"{name}: not installed")
        else:
            found[name] = load()
    return found


def rates(actions: dict[str, Callable[[], object]], size: int, repeats: int) -> None:
    """Run the actions in turns, and print megabytes per second of each."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(repeats):
        for name, action in actions.items():
            start = time.process_time()
            action()
            times[name].append(time.process_time() - start)
    for name, taken in times.items():
        fastest, median = size / min(taken) / 1e6, size / statistics.median(taken) / 1e6
        print(f"  {name:28} {fastest:7.0f} MB/s, median {median:.0f}")


def compare(frames: list[NDArray[Any]], decoders: dict[str, Decoder], repeats: int) -> None:
    """Check each decoder and coding by recipe on some frames, and print how fast they are."""
    coded = [
        imagecodecs.jpeg8_encode(
            frame, lossless=True, predictor=1, bitspersample=8 * frame.itemsize
        )
        for frame in frames
    ]
    actions: dict[str, Callable[[], object]] = {}
    for name, decoder in decoders.items():
        inputs = [decoder.prepare(*pair) for pair in zip(coded, frames, strict=True)]
        for given, frame in zip(inputs, frames, strict=True):
            assert np.array_equal(decoder.samples(decoder.decode(given), frame), frame), name
        actions[name] = partial(each, decoder.decode, inputs)
    recipes = []
    for frame, jpeg in zip(frames, coded, strict=True):
        recipe = find_recipe(JPEG_LOSSLESS, frame, jpeg)
        assert recipe is not None
        recipes.append((frame, recipe.data))
    actions["dicube, coding by recipe"] = partial(
        each, lambda given: code_by_recipe(JPEG_LOSSLESS, *given), recipes
    )
    size, coded_size = sum(frame.nbytes for frame in frames), sum(map(len, coded))
    print(f"  {len(frames)} frames, ratio {size / coded_size:.2f}")
    rates(actions, size, repeats)


def each(action: Callable[[Any], object], inputs: list[Any]) -> None:
    """Do something with each input."""
    for given in inputs:
        action(given)


def main(arguments: list[str] | None = None) -> None:
    """Print the table of each folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    decoders = installed_decoders()
    for folder in options.folders:
        volume = DicomCubeImage.from_dicom_folder(folder).raw_image
        chosen = np.linspace(0, len(volume) - 1, min(options.slices, len(volume))).astype(int)
        frames = [volume[index].view(f"u{volume.itemsize}") for index in chosen]
        print(folder)
        compare(frames, decoders, options.repeats)


if __name__ == "__main__":
    main()
