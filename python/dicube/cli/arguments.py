"""What the `dicube` command can be asked: commands, options, their help. Does nothing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dicube.cli import commands
from dicube.codecs.efforts import EFFORTS, Effort

# Whose versions matter to what the commands do; told where they are installed.
_PACKAGES = ("numpy", "pydicom", "spacetransformer-core", "zstandard", "nibabel")

_EXAMPLES = """\
examples:
  dicube demo                                 see what it does, on a real series
  dicube convert series/ head.dcbs            DICOM folder to HTJ2K: fast
  dicube convert series/ head.dcba            DICOM folder to JPEG XL: small
  dicube convert head.dcba out/               back to DICOM, to the byte
  dicube convert head.dcba head.dcm           to one multi-frame DICOM file
  dicube convert head.dcba head.nii.gz        to NIfTI, and from it
  dicube info head.dcbs                       what is in a file
  dicube verify head.dcbs --against series/   is all there, bit by bit?

dicube COMMAND --help lists the options of a command.
"""

_CONVERT_EXAMPLES = """\
What SRC and DST are is told from their names:
  a folder        DICOM files, one for each slice
  *.dcm           DICOM; as DST one multi-frame file (CT, MR, PET, secondary capture)
  *.dcbs          HTJ2K, fast
  *.dcba          JPEG XL, small
  *.dcbl          JPEG XL, lossy
  *.dcbr          JPEG XL, lossless inside the body, lossy outside
  *.nii, *.nii.gz NIfTI (needs dicube[nifti])
Conversions are lossless but for .dcbl, .dcbr and where --max-error or --distance is given. Each
frame is decoded and compared before the file takes its name, and what was lost is recorded.

examples:
  dicube convert series/ head.dcbs
  dicube convert series/ head.dcba --effort best --threads 4
  dicube convert series/ head.dcba --max-error 2
  dicube convert series/ head.dcbl --distance 1
  dicube convert series/ head.dcbr --roi auto --background 20
  dicube convert head.dcba head.dcbs
  dicube convert head.dcbs restored/
  dicube convert brain.nii.gz brain.dcba
  dicube convert brain.dcba brain.nii.gz
  dicube convert brain.nii.gz dicom/ --modality MR
  dicube convert head.dcbs htj2k/ --transfer-syntax htj2k   frames as they are
  dicube convert head.dcbs head.dcm --transfer-syntax htj2k
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    command = argparse.ArgumentParser(
        prog="dicube",
        description="Store a series of medical images in one small file that opens fast.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--version", action=_ShowVersion)
    subparsers = command.add_subparsers(title="commands", metavar="COMMAND", required=True)

    convert = subparsers.add_parser(
        "convert",
        help="convert between DICOM, dicube files and NIfTI",
        description="Convert between a DICOM folder, dicube files and NIfTI.",
        epilog=_CONVERT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert.add_argument(
        "source", metavar="SRC", type=_path, help="DICOM folder, DICOM file, dicube or NIfTI file"
    )
    convert.add_argument(
        "target", metavar="DST", help="dicube, NIfTI or DICOM file, or DICOM folder"
    )
    convert.add_argument(
        "--effort",
        type=_effort,
        metavar="1..9",
        help=f"of JPEG XL: 2 is fast, 9 small, 1 means 2; or {', '.join(EFFORTS)}"
        " (default: balanced; with a distance best)",
    )
    convert.add_argument(
        "--max-error",
        type=float,
        metavar="N",
        help=".dcba, .dcbl: how far a stored value may be from what it was",
    )
    convert.add_argument(
        "--distance",
        type=float,
        metavar="D",
        help=".dcba, .dcbl: JPEG XL's, above 0 and up to 25 (default of .dcbl: 0.5)",
    )
    convert.add_argument(
        "--roi",
        choices=["auto"],
        help=".dcbr: find the body, which is the foreground (default: the source's mask)",
    )
    convert.add_argument(
        "--foreground",
        type=float,
        metavar="N",
        default=0.0,
        help=".dcbr: the --max-error of the foreground (default: 0, lossless)",
    )
    convert.add_argument(
        "--background",
        type=float,
        metavar="N",
        help=".dcbr: the --max-error of the background; inf for one value"
        " (default: a hundredth of the range of values)",
    )
    convert.add_argument(
        "--threads", type=_thread_count, metavar="N", help="default: one for each processor"
    )
    convert.add_argument(
        "--overwrite", action="store_true", help="replace DST, or write into a folder in use"
    )
    convert.add_argument(
        "--series-uid", metavar="UID", help="the series to take from a folder that holds several"
    )
    convert.add_argument(
        "--sort",
        choices=commands.SORT_METHODS,
        help="order of a series' slices (default: instance)",
    )
    convert.add_argument(
        "--no-verify",
        dest="verify",
        action="store_false",
        help="don't decode and compare what was encoded",
    )
    convert.add_argument(
        "--transfer-syntax",
        metavar="NAME",
        help="of DICOM files made anew: explicit, htj2k, htj2k-rpcl, jpegxl, or a UID; frames that"
        " are coded so already are not recoded (default: the original files; of one file explicit)",
    )
    convert.add_argument(
        "--on-error",
        choices=["raise", "skip"],
        default="raise",
        help="of a damaged dicube file convert what is intact: damaged slices are left out, named,"
        " and the exit status is 3",
    )
    convert.add_argument(
        "--modality",
        metavar="CODE",
        help="of DICOM made from NIfTI, or from a file without metadata, such as MR (default: OT)",
    )
    convert.set_defaults(run=commands.convert)

    info = subparsers.add_parser(
        "info",
        help="show what is in a file",
        description="Show what is in a dicube file: pixels, series, geometry, sections.",
    )
    info.add_argument("file", metavar="FILE", help="dicube file, or a URL of one")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.set_defaults(run=commands.info)

    verify = subparsers.add_parser(
        "verify",
        help="check a file, and compare it with its originals",
        description="Check a dicube file: structure, checksums, that every frame decodes, that"
        " metadata, geometry and counts agree; and compare what it restores with the originals."
        " Exit status 0 only if all holds.",
    )
    verify.add_argument("file", metavar="FILE", type=_path, help="dicube file")
    verify.add_argument(
        "--against",
        metavar="FOLDER",
        type=_path,
        help="compare with the DICOM files that it was made from",
    )
    verify.add_argument(
        "--threads", type=_thread_count, metavar="N", help="default: one for each processor"
    )
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    verify.set_defaults(run=commands.verify)

    demo = subparsers.add_parser(
        "demo",
        help="convert a series there and back, compare, and show sizes and times",
        description="Convert a series to .dcbs and .dcba and back to DICOM, in a temporary folder;"
        " compare it pixel by pixel and element by element; show sizes and times."
        " Exit status 1 if anything differs.",
    )
    demo.add_argument(
        "folder",
        metavar="FOLDER",
        type=_path,
        nargs="?",
        help="DICOM folder (default: a small real CT series that comes with pydicom)",
    )
    demo.add_argument(
        "--threads", type=_thread_count, metavar="N", help="default: one for each processor"
    )
    demo.set_defaults(run=commands.demo)
    return command


class _ShowVersion(argparse.Action):
    """Print versions and end. An action of its own, as the library is loaded only when asked."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show versions and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_arguments: Any) -> None:
        """Print the versions and end."""
        import platform
        from contextlib import suppress
        from importlib.metadata import PackageNotFoundError, version

        import dicube

        print(dicube.build_info().strip())
        print(f"python {platform.python_version()}")
        for package in _PACKAGES:
            with suppress(PackageNotFoundError):
                print(f"{package} {version(package)}")
        parser.exit()


def _path(text: str) -> Path:
    """Return a path from the command line."""
    if not text:  # an unset variable of the shell, which Path takes for the working folder
        raise argparse.ArgumentTypeError("expected a path, found nothing")
    return Path(text)


def _thread_count(text: str) -> int:
    """Return a number of threads from the command line."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, found {number}")
    return number


def _effort(text: str) -> Effort:
    """Return an effort from the command line."""
    effort: Effort = int(text) if text.isdecimal() else text
    if effort not in (*range(1, 10), *EFFORTS):
        raise argparse.ArgumentTypeError(f"expected 1 to 9, {', '.join(EFFORTS)}, found {text}")
    return effort
