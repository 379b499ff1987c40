"""SECURITY.md states the limits of the code."""

from __future__ import annotations

import re

import pytest
from programs.running import ROOT

pytest.importorskip("starlette")

from dicube import strict_json
from dicube.codecs import still
from dicube.core import cube_parts
from dicube.dicom import dicom_meta
from dicube.dicom.elements import counting, values
from dicube.dicom.export import folder
from dicube.dicom.files import archives, volume
from dicube.dicom.metadata import entry_checks, frames, real_world
from dicube.dicom.originals import section
from dicube.dicom.series import colours, csa
from dicube.nifti import nifti_file
from dicube.storage import dcb_reader, http_ranges, packed_text
from dicube.web import matching, responses, retrieval

TEXT = " ".join((ROOT / "SECURITY.md").read_text().split())
SOURCES = "".join(path.read_text() for path in sorted((ROOT / "cpp" / "src").rglob("*.[ch]*")))


def bits_of(pattern: str) -> int:
    """The n of a C++ constant that is written as 1 << n."""
    (found,) = re.findall(pattern.replace("(1 << n)", r"uint64_t\{1\} << (\d+)"), SOURCES)
    return int(found)


@pytest.mark.parametrize(
    "stated",
    [
        f"{(1 << bits_of('default_max_memory = (1 << n)')) >> 30} GiB",
        f"{re.findall(r'most_entries = (.*);', SOURCES)[0]} |",
        f"2^{bits_of('most = .(1 << n)')} - 1 each",
        f"2^{bits_of('columns > .(1 << n)')} pixels",
        f"every {re.findall('count > contents.file_size / (.*)[)]', SOURCES)[0]} bytes",
        f"2^{bits_of('largest_file = (1 << n)')} bytes",
        f"{packed_text._TEXT_ALWAYS_ALLOWED >> 20} MiB, or {packed_text._MOST_TEXT_GROWTH} times",
        f"{strict_json._ALWAYS_ALLOWED >> 20} MiB, or {strict_json._MOST_GROWTH} times the packed",
        f"beyond {dcb_reader._CLAIM_ALWAYS_ALLOWED >> 20} MiB and {dcb_reader._MOST_CLAIM} times "
        "the size of the file",
        f"values of an element of text in DICOM | 2^{values.MOST_VALUES.bit_length() - 1} |",
        f"{matching.MOST_RESULTS}, {retrieval._MOST_FRAMES}, {responses._MOST_WAITING} |",
        f"{section._LONGEST_NAME} characters, {section._MOST_PARTS} parts",
        f"{section._MOST_COPIES} times the frames of the volume, or "
        f"{section._COPIES_ALWAYS_ALLOWED >> 20} MiB",
        f"{section._REPEATED_ALWAYS_ALLOWED >> 20} MiB, or the samples of the volume",
        f"2^{bits_of('table_entries_always_allowed = (1 << n)')} and "
        f"{re.findall(r'most_table_entries = (.*);', SOURCES)[0]} for each pixel",
        f"{cube_parts._SLICES_ALWAYS_ALLOWED}, or one for every {cube_parts._BYTES_OF_SLICE} bytes",
        f"2^{dicom_meta._MOST_SLICES.bit_length() - 1} |",
        f"2^{entry_checks._MOST_NESTED.bit_length() - 1}, or "
        f"{entry_checks._MOST_NESTED_PER_VALUE} for every per-slice value",
        f"2^{counting.ALWAYS_ALLOWED.bit_length() - 1}, or one for every "
        f"{counting.BYTES_OF_ELEMENT} bytes of the file or packed member",
        f"2^{section._PIECES_ALWAYS_ALLOWED.bit_length() - 1}, or {section._MOST_PIECES_OF_FRAME} "
        f"for every frame and {section._MOST_PIECES_OF_FILE} for every file",
        f"{values.MOST_CHARACTER_SETS} values of "
        f"{values.LONGEST_CHARACTER_SET // values.MOST_CHARACTER_SETS} bytes",
        f"have the same element | {frames._MOST_MACROS} |",
        f"mappings to real values | {real_world._MOST_MAPPINGS} |",
        f"segments of a palette | 2^{colours._MOST_SEGMENTS.bit_length() - 1} |",
        f"items of a tag | {csa._MOST_TAGS}, {csa._MOST_ITEMS} |",
        f"{folder._ELEMENTS_ALWAYS_ALLOWED >> 30} GiB, or {folder._MOST_ELEMENTS} times the "
        "samples",
        f"{still._MOST >> 30} GiB | |",
        f"{packed_text._ALWAYS_ALLOWED >> 20} MiB, or {packed_text._MOST_GROWTH} times",
        f"{re.findall(r'most_levels = (.*);', SOURCES)[0]} decompositions",
        re.findall(r"expected at most (\d+ tiles), found", SOURCES)[0],
        f"{nifti_file._MOST_GROWTH} times",
        f"a whole file of {http_ranges.MOST_WHOLE >> 20} MiB",
        f"{http_ranges.WAIT} s to connect and between packets; in total {http_ranges.WAIT} s, and "
        f"1 s for each {http_ranges.SLOWEST >> 10} KiB asked for",
        f"{archives._ALWAYS_ALLOWED_TOGETHER >> 30} GiB, or {archives.MOST_GROWTH} times its size",
        f"{volume._ALWAYS_ALLOWED >> 20} MiB, or {volume._MOST_GROWTH} times the size of the files",
        f"{archives.ALWAYS_ALLOWED >> 20} MiB, or {archives.MOST_GROWTH} times the packed size",
    ],
)
def test_limit(stated: str) -> None:
    assert stated in TEXT
