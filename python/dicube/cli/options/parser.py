"""The commands and options that `dicube` accepts, and their help. Must not know what they do."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

from dicube.cli.options.archive import add_archive
from dicube.cli.options.convert import (
    DICOM_TARGETS,
    DICUBE_TARGETS,
    OPTIONS,
    SOURCES,
    TARGETS,
    THREADS_HELP,
    ConvertOption,
    TargetKind,
    effort_value,
    text_value,
    whole_number,
)
from dicube.cli.options.places import place

# The packages that --version lists if they are installed: results depend on their versions.
_PACKAGES = ("numpy", "pydicom", "spacetransformer-core", "zstandard", "nibabel")

_EXAMPLES = """\
examples:
  dicube demo                                 try it on a real series
  dicube convert series/ head.dcbs            compress a DICOM series: fast
  dicube convert series/ head.dcba            compress a DICOM series: small
  dicube convert head.dcba restored/          restore the original DICOM files
  dicube convert head.dcba head.nii.gz        export to NIfTI
  dicube info head.dcba                       show what the file contains
  dicube info tree/                           list the series in a folder
  dicube convert tree/ out/ --all-series --to dcba
  dicube preview head.dcba head.png           draw its middle planes and slices
  dicube verify head.dcba --against series/   compare with the original files
  dicube extract head.dcba --instance UID -o one.dcm
  dicube append head.dcba late/               add files that came late
  dicube archive add archive/ tree/           keep many series with a catalogue
  dicube view head.dcbs                       show it in the browser
  dicube serve archive/                       show them in viewers, by DICOMweb

'dicube COMMAND --help' lists the options of a command.
"""

_CONVERT = """\
Convert a medical image series between DICOM, dicube files and NIfTI. The names
of SRC and DST select the formats:

  series/         DICOM files in a folder; SRC may also be a .zip of them
  head.dcm        one DICOM file; as DST a multi-frame file
  head.dcbs       dicube file, HTJ2K: fast
  head.dcba       dicube file, JPEG XL: small
  head.dcbl       dicube file, JPEG XL: lossy
  head.dcbr       dicube file, JPEG XL: lossless in the body, lossy outside
  head.nii[.gz]   NIfTI file (needs the package extra dicube[nifti]); SRC may also
                  be a file of a pair, .hdr or .img

Each file may be at a URL, such as s3://bucket/head.dcba. It is written there
when it is complete.

examples:
  dicube convert series/ head.dcbs                   compress a series
  dicube convert head.dcbs restored/                 restore the DICOM files
  dicube convert head.dcbs head.nii.gz               export to NIfTI
  dicube convert brain.nii.gz dicom/ --modality MR   make DICOM from NIfTI
  dicube convert series/ head.dcba --max-error 2     lossy, error at most 2
  dicube convert head.dcbs out/ --transfer-syntax htj2k
  dicube convert tree/ out/ --all-series --to dcba   each series to a file

A conversion is lossless unless DST is .dcbl or .dcbr, or a lossy option is
given. Each encoded frame is decoded and compared with its source before DST
appears, unless --no-verify is given; dicube files record what was lost.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    command = argparse.ArgumentParser(
        prog="dicube",
        description="Store a DICOM series in one small file that opens fast, and restore the"
        " original files from it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--version", action=_ShowVersion)
    subparsers = command.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )
    _add_convert(subparsers)

    info = subparsers.add_parser(
        "info",
        help="show what a dicube file contains, or the series of a folder",
        description="Show the pixels, series, geometry and sections of a dicube file, without"
        " decoding it. Of a folder with its subfolders, or a .zip, list the series and the dicube"
        " files, and what is wrong with them; only headers are read.",
    )
    info.add_argument(
        "file",
        metavar="FILE",
        type=place,
        help="dicube file, .zip or DICOM file, or its URL; or a folder",
    )
    info.add_argument(
        "--patient",
        action="store_true",
        help="of a folder, .zip or DICOM file, show names and IDs of patients, too; those of a"
        " dicube file are always shown",
    )
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.add_argument(
        "--allow-chained",
        action="store_true",
        help="accept chains of URLs, such as simplecache::s3://bucket/head.dcbs",
    )

    _add_preview(subparsers)

    verify = subparsers.add_parser(
        "verify",
        help="check a dicube file, and compare it with the original files",
        description="Check a dicube file: structure, checksums, whether every frame decodes, and"
        " whether metadata, geometry and counts agree. With --against, also compare it with the"
        " files that it was made from. The exit status is 1 if a check fails, else 0; the last line"
        " lists the checks that could not be made.",
    )
    verify.add_argument("file", metavar="FILE", type=place, help="dicube file, or its URL")
    verify.add_argument(
        "--against",
        metavar="SOURCE",
        type=place,
        help="the original files to compare with: a folder of DICOM files, or a .zip of them or a"
        " NIfTI file, or its URL",
    )
    verify.add_argument(
        "--require-checksums", action="store_true", help="fail if the file has no checksums"
    )
    verify.add_argument(
        "--require-originals",
        action="store_true",
        help="fail unless the original files can be restored to the byte",
    )
    verify.add_argument(
        "--whole-source",
        action="store_true",
        help="with --against: fail if SOURCE has DICOM files of other series, or a DICOMDIR, which"
        " otherwise are only counted",
    )
    verify.add_argument(
        "--show-values",
        action="store_true",
        help="with --against: show the values of elements that differ, which may identify a"
        " patient; otherwise their names and sizes",
    )
    _add_threads(verify)
    verify.add_argument("--json", action="store_true", help="print one JSON object")

    extract = subparsers.add_parser(
        "extract",
        help="restore one DICOM file of a dicube file",
        description="Restore the original DICOM file of one instance, to the byte. Only what this"
        " takes is read, also from a URL.",
    )
    extract.add_argument("file", metavar="FILE", type=place, help="dicube file, or its URL")
    extract.add_argument(
        "--instance",
        metavar="UID",
        type=text_value,
        required=True,
        help="SOPInstanceUID of the instance",
    )
    extract.add_argument(
        "-o", "--output", metavar="OUT", type=place, required=True, help="DICOM file to write"
    )
    extract.add_argument("--overwrite", action="store_true", help="replace an existing file OUT")

    append = subparsers.add_parser(
        "append",
        help="add DICOM files of the same series to a dicube file",
        description="Add instances that came late to the dicube file of their series. The new file"
        " replaces the old one when it has been read back and restores every original file to the"
        " byte. An instance that FILE has already counts once. One that FILE has with other bytes"
        " is refused, and the exit status is then 3.",
    )
    append.add_argument("file", metavar="FILE", type=place, help="dicube file with original files")
    append.add_argument(
        "sources", metavar="SRC", type=place, nargs="+", help="DICOM file, folder or .zip of them"
    )
    append.add_argument(
        "--effort",
        type=effort_value,
        metavar="E",
        help="of JPEG XL, as for convert; a file doesn't tell the one that it was written with",
    )
    _add_threads(append)
    add_archive(subparsers)
    _add_view(subparsers)
    _add_serve(subparsers)

    demo = subparsers.add_parser(
        "demo",
        help="compress a series, restore it, compare, and show sizes and times",
        description="Compress a series to .dcbs and .dcba and restore DICOM from each, in a"
        " temporary folder; compare pixels, elements and geometry; show sizes and times. The exit"
        " status is 1 if anything differs.",
    )
    demo.add_argument(
        "folder",
        metavar="FOLDER",
        type=place,
        nargs="?",
        help="DICOM folder (default: a volume that comes with nibabel or pydicom)",
    )
    _add_threads(demo)
    return command


def _add_view(subparsers: Any) -> None:
    """Add `dicube view`."""
    view = subparsers.add_parser(
        "view",
        help="show dicube files in the browser (needs the package extra dicube[web])",
        description="Serve an archive or dicube files on this machine only, and open the viewer "
        "page in the browser. The page fetches what it shows, by ranges.",
    )
    view.add_argument(
        "sources",
        metavar="SRC",
        nargs="+",
        type=place,
        help="archive, dicube file or its URL, or folder of dicube files",
    )
    view.add_argument("--port", type=_port, default=0, help="port; 0, the default, for a free one")
    view.add_argument(
        "--no-browser",
        dest="browser",
        action="store_false",
        help="print the address and open no browser",
    )


_SERVE = """\
Serve an archive, or dicube files, by DICOMweb under /dicom-web, with a viewer
under /. Only this machine can reach it, unless --host and --token-file are
given; the token doesn't hide what is sent, so put a proxy with TLS before it.

examples:
  dicube serve archive/
  dicube serve head.dcba --port 0
  dicube serve archive/ --ohif package/dist
"""


def _add_serve(subparsers: Any) -> None:
    """Add `dicube serve`."""
    serve = subparsers.add_parser(
        "serve",
        help="serve dicube files by DICOMweb (needs the package extra dicube[web])",
        description=_SERVE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument(
        "sources",
        metavar="SRC",
        nargs="+",
        type=place,
        help="archive, dicube file or its URL, or folder of dicube files",
    )
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)"
    )
    serve.add_argument(
        "--port", type=_port, default=8042, help="port; 0 for a free one (default: 8042)"
    )
    serve.add_argument(
        "--ohif", metavar="DIR", type=place, help="folder dist of the npm package @ohif/app"
    )
    serve.add_argument(
        "--token-file",
        metavar="FILE",
        type=place,
        help="file with a bearer token that requests for DICOM data must have",
    )
    serve.add_argument(
        "--allow-origin",
        metavar="ORIGIN",
        action="append",
        default=[],
        help="let pages of this origin read answers, such as https://viewer.example; repeatable",
    )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError("expected a port from 0 to 65535")
    return int(text)


def _add_convert(subparsers: Any) -> None:
    """Add `dicube convert`; an option that is not given leaves no value behind."""
    convert = subparsers.add_parser(
        "convert",
        help="convert between DICOM, dicube files and NIfTI",
        usage="dicube convert [OPTIONS] SRC DST",
        description=_CONVERT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    convert.add_argument("source", metavar="SRC", type=place, help="file or folder to read")
    convert.add_argument(
        "target", metavar="DST", help="file or folder to write; end the name of a folder in /"
    )
    groups: dict[str, Any] = {"options": convert}
    for option in OPTIONS:
        title, kinds = _place_of(option)
        if title not in groups:
            groups[title] = convert.add_argument_group(title)
        keywords: dict[str, Any] = {"dest": option.name, "help": kinds + option.help}
        if option.metavar is None:
            keywords |= {"action": "store_const", "const": option.switched}
        else:
            keywords |= {"metavar": option.metavar, "choices": option.choices}
            keywords |= {"type": option.convert}
        groups[title].add_argument(option.flag, **keywords)


def _place_of(option: ConvertOption) -> tuple[str, str]:
    """Return the group of the help that lists an option, and the kinds that its text begins with.

    The kinds are '' where the group says them all.
    """
    for title, kinds in (
        ("dicube files", DICUBE_TARGETS),
        ("NIfTI", (TargetKind.NIFTI,)),
        ("DICOM", DICOM_TARGETS),
    ):
        if set(option.targets) <= set(kinds):
            names = ", ".join(kind.value for kind in option.targets)
            return f"writing {title}", "" if option.targets == kinds else f"{names}: "
    assert option.targets == TARGETS
    if option.sources == SOURCES:
        return "options", ""
    return f"reading {', '.join(kind.value for kind in option.sources)}", ""


def _add_preview(subparsers: Any) -> None:
    preview = subparsers.add_parser(
        "preview",
        help="draw the middle planes and slices of a dicube file",
        description="Draw the middle axial, coronal and sagittal plane of a dicube file, and slices"
        " at equal distances below, as a PNG or JPEG file. Letters are the patient's sides (R, L,"
        " A, P, H, F), numbers those of slices. No more is read than the pictures need. Nothing"
        " names the patient, unless the pixels do. Needs Pillow: dicube[notebook].",
    )
    preview.add_argument("file", metavar="FILE", type=place, help="dicube file, or its URL")
    preview.add_argument(
        "output", metavar="OUT", type=place, help="file to write: .png, .jpg or .jpeg"
    )
    preview.add_argument(
        "--level",
        type=whole_number,
        metavar="N",
        help="resolution level to read: 1 for half the rows and columns of a .dcbs file, and so on"
        " (default: the smallest with enough of them)",
    )
    preview.add_argument(
        "--slices",
        type=whole_number,
        metavar="N",
        default=20,
        help="how many slices to draw below the planes (default: 20)",
    )
    preview.add_argument(
        "--window",
        type=_window,
        metavar="C,W",
        help="center and width of the grey values, in real values such as HU; --window=-600,1500"
        " if the center is below 0 (default: as the metadata say)",
    )
    preview.add_argument("--overwrite", action="store_true", help="replace an existing file OUT")


def _window(text: str) -> tuple[float, float]:
    """Return the center and the width of a window."""
    try:
        center, width = map(float, text.split(","))
    except ValueError:
        center = width = math.nan
    if not (math.isfinite(center) and 0 < width < math.inf):
        raise argparse.ArgumentTypeError(
            f"expected center,width with a width above 0, such as 40,400, found {text!r}"
        )
    return center, width


def _add_threads(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--threads", dest="num_threads", type=whole_number, metavar="N", help=THREADS_HELP
    )


class _ShowVersion(argparse.Action):
    """Prints versions and exits; the library is loaded only if this is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show versions and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_arguments: Any) -> None:
        """Print the versions and exit."""
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
