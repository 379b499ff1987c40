"""The options of `dicube convert`: one table of what each does and which conversions it applies to.

The plan of a conversion and `dicube convert --help` are made from the table. It must not know how
a conversion is done.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from dicube.codecs.records import JXL, Effort

if TYPE_CHECKING:
    from dicube.core.fidelity.exactness import Exact


class SourceKind(Enum):
    """What a conversion reads; the value names it in messages."""

    DICOM = "DICOM"
    DICUBE = "dicube files"
    NIFTI = "NIfTI"


class TargetKind(Enum):
    """What a conversion writes; the value names it in messages."""

    DCBS = ".dcbs"
    DCBA = ".dcba"
    DCBL = ".dcbl"
    DCBR = ".dcbr"
    NIFTI = "NIfTI"
    DICOM_FILE = ".dcm"
    DICOM_FOLDER = "DICOM folder"


SOURCES = tuple(SourceKind)
TARGETS = tuple(TargetKind)
DICUBE_TARGETS = (TargetKind.DCBS, TargetKind.DCBA, TargetKind.DCBL, TargetKind.DCBR)
DICOM_TARGETS = (TargetKind.DICOM_FILE, TargetKind.DICOM_FOLDER)
FILE_FORMATS = ("dcba", "dcbs", "dcbl", "dcbr", "nii", "nii.gz", "dcm")
_BOUNDED = (TargetKind.DCBA, TargetKind.DCBL)  # one bound for all pixels
_ROI = (TargetKind.DCBR,)

# Slice orders, and the names of their SortMethod.
SORT_METHODS = {
    "instance": "INSTANCE_NUMBER_ASC",
    "instance-reverse": "INSTANCE_NUMBER_DESC",
    "position": "POSITION_RIGHT_HAND",
    "position-reverse": "POSITION_LEFT_HAND",
}


@dataclass(frozen=True)
class ConvertOption:
    """An option of `dicube convert`.

    Attributes:
        flag: as it is typed.
        name: of its value in a plan; where a function takes the value, its parameter.
        sources, targets: the kinds that it applies to.
        help: what it does.
        metavar: stands for its value in the help; None for an option without a value.
        choices: the values that it accepts; None for any that `convert` accepts.
        convert: makes the value from the text.
        switched: the value of an option without one.
    """

    flag: str
    name: str
    sources: tuple[SourceKind, ...]
    targets: tuple[TargetKind, ...]
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    convert: Callable[[str], Any] = str
    switched: bool = True


def whole_number(text: str) -> int:
    """Return a number of 0 or more from the command line."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, found {text!r}")
    return int(text)


def _number(text: str) -> float:
    """Return a number from the command line."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, found {text!r}") from None


THREADS_HELP = "number of threads; 0 for one per available processor (default: 0)"


def effort_value(text: str) -> Effort:
    """Return an effort from the command line."""
    effort: Effort = int(text) if text.isdecimal() else text
    if effort not in (*range(1, 10), *JXL.efforts):
        raise argparse.ArgumentTypeError(
            f"expected 1 to 9 or {', '.join(JXL.efforts)}, found {text}"
        )
    return effort


def _exact(text: str) -> Exact:
    """Return how a file keeps the original files, from the command line."""
    choices: dict[str, Exact] = {"always": "always", "cheap": True, "no": False}
    if text not in choices:
        raise argparse.ArgumentTypeError(f"expected {', '.join(choices)}, found {text}")
    return choices[text]


def _mapping(text: str) -> int | str:
    """Return the number or label of a mapping from the command line."""
    return int(text) if text.isdecimal() else text_value(text)


def text_value(text: str) -> str:
    """Return a text from the command line that is not empty, as an unset shell variable is."""
    if not text:
        raise argparse.ArgumentTypeError("expected a value, found an empty text")
    return text


OPTIONS = (
    ConvertOption(
        "--overwrite",
        "overwrite",
        SOURCES,
        TARGETS,
        "replace an existing file DST, or write into a folder that is not empty",
    ),
    ConvertOption(
        "--threads", "num_threads", SOURCES, TARGETS, THREADS_HELP, "N", convert=whole_number
    ),
    ConvertOption(
        "--series-uid",
        "series_uid",
        (SourceKind.DICOM,),
        TARGETS,
        "convert this series; needed if SRC contains several",
        "UID",
        convert=text_value,
    ),
    ConvertOption(
        "--all-series",
        "all_series",
        (SourceKind.DICOM,),
        TARGETS,
        "convert each series of SRC to a file in the folder DST, named after the SeriesInstanceUID;"
        " go on after a series that fails, and leave existing files as they are; the exit status is"
        " 1 if a series failed or an existing file has other slices",
    ),
    ConvertOption(
        "--to",
        "to",
        (SourceKind.DICOM,),
        TARGETS,
        f"format of each file with --all-series: {', '.join(FILE_FORMATS)}",
        "FORMAT",
        choices=FILE_FORMATS,
    ),
    ConvertOption(
        "--sort",
        "sort",
        (SourceKind.DICOM,),
        TARGETS,
        f"order of the slices: {', '.join(SORT_METHODS)} (default: instance, that is by"
        " InstanceNumber)",
        "ORDER",
        choices=tuple(SORT_METHODS),
    ),
    ConvertOption(
        "--on-error",
        "on_error",
        (SourceKind.DICUBE,),
        TARGETS,
        "raise: stop at damage (default); skip: convert the intact slices, list the damaged ones,"
        " and exit with status 3",
        "MODE",
        choices=("raise", "skip"),
    ),
    ConvertOption(
        "--effort",
        "effort",
        SOURCES,
        (TargetKind.DCBA, TargetKind.DCBL, TargetKind.DCBR),
        f"2 (fast) to 9 (small), 1 means 2; or {', '.join(JXL.efforts)} (default: balanced; best if"
        " a distance applies)",
        "E",
        convert=effort_value,
    ),
    ConvertOption(
        "--block-side",
        "block_side",
        SOURCES,
        (TargetKind.DCBS,),
        "rows and columns of HTJ2K's code blocks, 64 (default) or 32: patches are read a fifth"
        " faster, whole frames a tenth slower, and the file is one per cent larger",
        "N",
        convert=whole_number,
    ),
    ConvertOption(
        "--no-verify",
        "verify",
        SOURCES,
        (TargetKind.DCBS, TargetKind.DCBA),
        "do not decode and compare each encoded frame",
        switched=False,
    ),
    ConvertOption(
        "--exact",
        "exact",
        (SourceKind.DICOM, SourceKind.DICUBE),
        (TargetKind.DCBS, TargetKind.DCBA),
        "what restores the original files to the byte: cheap: keep it if it takes little (default);"
        " always: keep coded frames as they are as well, or fail, so that the file may be larger"
        " than its source; no: leave it out",
        "MODE",
        convert=_exact,
    ),
    ConvertOption(
        "--max-error",
        "max_error",
        SOURCES,
        _BOUNDED,
        "lossy: no stored value changes by more than N",
        "N",
        convert=_number,
    ),
    ConvertOption(
        "--distance",
        "distance",
        SOURCES,
        _BOUNDED,
        "lossy: JPEG XL distance, above 0 and at most 25 (default for .dcbl: 0.5)",
        "D",
        convert=_number,
    ),
    ConvertOption(
        "--roi",
        "roi",
        SOURCES,
        _ROI,
        "detect the body as region of interest; needed unless SRC is a .dcbr file",
        "auto",
        choices=("auto",),
    ),
    ConvertOption(
        "--foreground",
        "foreground",
        SOURCES,
        _ROI,
        "maximum error inside the region (default: 0, lossless)",
        "N",
        convert=_number,
    ),
    ConvertOption(
        "--background",
        "background",
        SOURCES,
        _ROI,
        "maximum error outside the region; inf for a single value per slice (default: 1 percent"
        " of the range of values)",
        "N",
        convert=_number,
    ),
    ConvertOption(
        "--transfer-syntax",
        "transfer_syntax",
        SOURCES,
        DICOM_TARGETS,
        "make new files in explicit, htj2k, htj2k-rpcl, jpegxl, or the UID of one of these; frames"
        " already coded this way are copied (default: restore the original files; for .dcm"
        " explicit)",
        "NAME",
        convert=text_value,
    ),
    ConvertOption(
        "--real-world",
        "real_world",
        (SourceKind.DICOM, SourceKind.DICUBE),
        (TargetKind.NIFTI,),
        "the mapping of stored to real values, if the slices have several: its number or label, as"
        " dicube info shows them",
        "MAPPING",
        convert=_mapping,
    ),
    ConvertOption(
        "--modality",
        "modality",
        (SourceKind.DICUBE, SourceKind.NIFTI),
        DICOM_TARGETS,
        "Modality of an image without DICOM metadata, such as one from NIfTI (default: OT)",
        "CODE",
        convert=text_value,
    ),
)
