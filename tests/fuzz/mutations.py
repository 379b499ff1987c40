"""Mutate good files in many ways, and count the outcomes.

    python tests/fuzz/mutations.py [--times N] [--folders N] [--opens N] [--seed N]

The kinds are those with which the faults of the published package 0.3.0 were counted: truncation;
bit flips in header, tables, metadata, geometry, pixel header, status, frame headers and frame
bodies; overwritten frame bodies; changed header fields; changed codestream sizes. `--times 10`
tries ten times as many of each. They are applied to `.dcbs` and `.dcba` files, both without and
with corrected checksums, and to a file without checksums in the layout of published writers. A
crash, a hang or an exception that is not dicube's is always a fault; a wrong result is one if the
file has checksums.

`--folders N` tries each kind of `folder_mutations.py` N times: bad folders of DICOM files, and
targets that can't be written.

`--opens N` opens N bad files in one process; resident memory and open handles must not grow.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import folder_mutations
import numpy as np
from inputs.dicom_series import make_series, set_pixels, write_series
from inputs.sealing import HEADER, entries, sealed, table

from dicube import DicomCubeImage
from dicube.exceptions import DicomCubeError
from dicube.storage import DcbReader

MEMORY = 256 << 20
SLOW = 1.0  # seconds
OUTCOMES = ("error", "equal", "wrong pixels", "wrong metadata")

Span = tuple[int, int]
PUBLISHED_HEADER = struct.Struct("<8sI13Q")


def good_files(folder: Path, side: int) -> dict[str, bytes]:
    """Return a file of each kind: six compressible slices, metadata, geometry and originals."""
    datasets = make_series(6, shape=(side, side))
    ramp = np.add.outer(np.arange(side), np.arange(side)) * 7
    for number, dataset in enumerate(datasets):
        noise = np.random.default_rng(number).integers(0, 40, (side, side))
        set_pixels(dataset, (ramp + noise + 100 * number).astype(np.uint16))
    image = DicomCubeImage.from_dicom_folder(write_series(folder / "dicom", datasets))
    files = {}
    for extension in (".dcbs", ".dcba"):
        image.to_file(folder / f"x{extension}", num_threads=1)
        files[extension] = (folder / f"x{extension}").read_bytes()
    files["published"] = as_published(files[".dcbs"])
    return files


def as_published(file: bytes) -> bytes:
    """Return the file in the layout of published writers: no directory, no checksums."""
    found = entries(file)
    names = ("dicom_status", "dicom_meta", "space", "pixel_header")
    parts = [file[found[name][0] : sum(found[name][:2])] for name in names]
    frames = [
        file[at : at + size]
        for at, size in zip(table(file, "frame_offsets"), table(file, "frame_lengths"), strict=True)
    ]
    at, extents = PUBLISHED_HEADER.size, []
    for size in [*map(len, parts), 8 * len(frames), 8 * len(frames)]:
        extents += [at, size]
        at += size
    offsets = [at + sum(map(len, frames[:index])) for index in range(len(frames))]
    tables = struct.pack(f"<{2 * len(frames)}Q", *offsets, *map(len, frames))
    header = PUBLISHED_HEADER.pack(b"DCMCUBES", 1, *extents, len(frames))
    return header + b"".join(parts) + tables + b"".join(frames)


def spans_of(file: bytes, published: bool) -> dict[str, list[Span]]:
    """Return the byte ranges of the parts to mutate."""
    if published:
        numbers = PUBLISHED_HEADER.unpack_from(file)[2:]
        names = ("dicom_status", "dicom_meta", "space", "pixel_header", "offsets", "lengths")
        found = {name: (numbers[2 * i], numbers[2 * i + 1]) for i, name in enumerate(names)}
        tables = [found["offsets"], found["lengths"]]
        count = numbers[-1]
        offsets, lengths = (struct.unpack_from(f"<{count}Q", file, at) for at, _ in tables)
    else:
        found = {name: entry[:2] for name, entry in entries(file).items()}
        tables = [found[f"frame_{name}"] for name in ("offsets", "lengths")]
        offsets, lengths = table(file, "frame_offsets"), table(file, "frame_lengths")
    frames = [(at, at + size) for at, size in zip(offsets, lengths, strict=True)]

    def span(name: str) -> list[Span]:
        return [(found[name][0], sum(found[name]))]

    return {
        "header": [(0, HEADER)],
        "tables": [(at, at + size) for at, size in tables],
        "metadata": span("dicom_meta"),
        "space": span("space"),
        "pixel header": span("pixel_header"),
        "status": span("dicom_status"),
        "frame header": [(first, min(first + 120, last)) for first, last in frames],
        "frame body": [(min(first + 120, last - 1), last) for first, last in frames],
    }


def flipped(file: bytes, spans: list[Span], pick: random.Random) -> bytes:
    """Flip one bit of a span."""
    bad = bytearray(file)
    bad[pick.randrange(*pick.choice(spans))] ^= 1 << pick.randrange(8)
    return bytes(bad)


def overwritten(file: bytes, spans: list[Span], pick: random.Random) -> bytes:
    """Replace 8 to 2000 bytes of a span with noise."""
    first, last = pick.choice(spans)
    at = pick.randrange(first, last)
    size = min(pick.randrange(8, 2000), last - at)
    return file[:at] + pick.randbytes(size) + file[at + size :]


def truncated(file: bytes, _spans: list[Span], pick: random.Random) -> bytes:
    """Truncate the file anywhere, or near its end."""
    return file[: pick.choice((pick.randrange(len(file)), len(file) - pick.randrange(1, 200)))]


def numbered(file: bytes, spans: list[Span], pick: random.Random) -> bytes:
    """Set a 64-bit number of a span to an extreme, or to the value of another."""
    first, last = pick.choice(spans)
    places = range(12 if first == 0 else first, last - 7, 8)
    at, other = pick.choice(places), pick.choice(places)
    values = (0, 1, 1 << 20, 1 << 31, 1 << 32, 1 << 40, 1 << 63, (1 << 64) - 1, len(file))
    value = struct.pack("<Q", pick.choice(values))
    return file[:at] + pick.choice((value, value, file[other : other + 8])) + file[at + 8 :]


def resized(file: bytes, spans: list[Span], pick: random.Random) -> bytes:
    """Replace a number in the first 40 bytes of a codestream, where HTJ2K has its sizes."""
    at = pick.choice(spans)[0] + pick.randrange(4, 44)
    value = pick.choice((0, 1, 255, 65535, 1 << 31, (1 << 31) - 1, (1 << 32) - 1))
    return file[:at] + struct.pack(">L", value) + file[at + 4 :]


Mutate = Callable[[bytes, list[Span], random.Random], bytes]

# Name, part to mutate, function, and number of tries made with the published package.
KINDS: tuple[tuple[str, str, Mutate, int], ...] = (
    ("truncation", "header", truncated, 29),
    ("header, flips", "header", flipped, 232),
    ("header, numbers", "header", numbered, 35),
    ("tables, flips", "tables", flipped, 192),
    ("tables, numbers", "tables", numbered, 16),
    ("metadata, flips", "metadata", flipped, 150),
    ("space, flips", "space", flipped, 150),
    ("pixel header, flips", "pixel header", flipped, 150),
    ("status, flips", "status", flipped, 10),
    ("frame headers, flips", "frame header", flipped, 120),
    ("frame bodies, flips", "frame body", flipped, 250),
    ("frame bodies, overwritten", "frame body", overwritten, 30),
    ("codestream sizes", "frame header", resized, 12),
)


def outcome_of(bad: bytes, good: DicomCubeImage) -> str:
    """Open a file; return 'error', 'equal', or the part of the result that is wrong."""
    try:
        image = DicomCubeImage.from_file(bad, num_threads=1, max_memory=MEMORY)
    except DicomCubeError:
        return "error"
    if image.dtype != good.dtype or not np.array_equal(image.raw_image, good.raw_image):
        return "wrong pixels"
    same = image.dicom_meta == good.dicom_meta and image.pixel_header == good.pixel_header
    same = same and image.space == good.space and image.dicom_status == good.dicom_status
    return "equal" if same else "wrong metadata"


def mutations(
    file: bytes, published: bool, times: float, pick: random.Random
) -> Iterator[tuple[str, bytes]]:
    """Yield all mutations of a file, with their kind."""
    spans = spans_of(file, published)
    for name, what, mutate, count in KINDS:
        for _ in range(max(1, int(count * times))):
            yield name, mutate(file, spans[what], pick)


def survey(files: dict[str, bytes], times: float, seed: int) -> dict[str, Counter[str]]:
    """Try all mutations; return the number of each outcome, by file and treatment.

    Raises:
        Exception: any exception that is not one of dicube's.
    """
    pick = random.Random(seed)
    found: dict[str, Counter[str]] = {}
    for extension, file in files.items():
        good = DicomCubeImage.from_file(file, num_threads=1)
        published = extension == "published"
        for treatment in ("as it is",) if published else ("as it is", "sealed"):
            counts = found[f"{extension} {treatment}"] = Counter()
            for kind, bad in mutations(file, published, times, pick):
                if bad == file:
                    continue
                start = time.perf_counter()
                outcome = outcome_of(sealable(bad) if treatment == "sealed" else bad, good)
                counts[outcome] += 1
                counts[f"{outcome}: {kind}"] += 1
                if time.perf_counter() - start > SLOW:
                    counts["slow"] += 1
    return found


def sealable(bad: bytes) -> bytes:
    """Return bad bytes with correct checksums, if they still have a directory for them."""
    return sealed(bad) if len(bad) > 400 and bad[116:124] == b"DCUBEEXT" else bad


def wrong_results(found: dict[str, Counter[str]]) -> int:
    """Return the number of wrong results for files with checksums, which must be 0."""
    checked = (
        counts for name, counts in found.items() if name in (".dcbs as it is", ".dcba as it is")
    )
    return sum(counts["wrong pixels"] + counts["wrong metadata"] for counts in checked)


def open_many(files: dict[str, bytes], opens: int, seed: int) -> list[tuple[int, int, int]]:
    """Open bad files in this process; return ten samples of opens, resident bytes and handles."""
    pick = random.Random(seed)
    noted: list[tuple[int, int, int]] = []
    done = 0
    sources = list(files.items())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        while done < opens:
            name, file = pick.choice(sources)
            published = name == "published"
            for _, bad in mutations(file, published, 0.01, pick):
                path.write_bytes(bad)
                for source in (path, sealable(bad)):
                    try:
                        with DcbReader(source, num_threads=1, max_memory=MEMORY) as reader:
                            for section in reader.sections:
                                reader.sections[section]
                            reader.read_frames()
                    except DicomCubeError:
                        pass
                    done += 1
            if done >= opens * (len(noted) + 1) / 10:
                noted.append((done, *resources()))
    return noted


def resources() -> tuple[int, int]:
    """Return resident bytes and open handles of this process (Linux)."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd"))


def main(arguments: list[str] | None = None) -> int:
    """Run the mutations and print the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=float, default=10, help="factor on the numbers of tries")
    parser.add_argument("--folders", type=int, default=100, help="tries of each kind of folder")
    parser.add_argument("--opens", type=int, default=0, help="bad files to open in this process")
    parser.add_argument("--side", type=int, default=64, help="side of the slices, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        files = good_files(Path(folder), options.side)
    if options.opens:
        for done, resident, handles in open_many(files, options.opens, options.seed):
            print(f"{done} opens: {resident >> 10} KiB resident, {handles} handles", flush=True)
    found = survey(files, options.times, options.seed) if options.times else {}
    for name, counts in found.items():
        total = sum(counts[outcome] for outcome in OUTCOMES)
        print(f"{name}: {total} tried", dict(sorted(counts.items())), flush=True)
    print(f"{wrong_results(found)} wrong results of files with checksums")
    with tempfile.TemporaryDirectory() as work:
        of_folders = folder_mutations.survey(Path(work), options.folders, options.seed)
    for name, counts in of_folders.items():
        print(f"{name}: {counts.total()} tried", dict(sorted(counts.items())), flush=True)
    wrong = folder_mutations.wrong_results(of_folders)
    print(f"{wrong} wrong results of folders and targets")
    return int(wrong + wrong_results(found) > 0)


if __name__ == "__main__":
    sys.exit(main())
