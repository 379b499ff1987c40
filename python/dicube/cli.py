"""The `dicube` command: argument parsing, messages, exit status.

What the commands do is done by `core` and `demo`; here is how it is asked for and shown.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from dicube.codecs.efforts import EFFORTS, Effort
from dicube.exceptions import (
    CubeFileNotFoundError,
    DataConsistencyError,
    DicomCubeError,
    TargetExistsError,
)

_SORT_METHODS = {
    "instance": "INSTANCE_NUMBER_ASC",
    "instance-reverse": "INSTANCE_NUMBER_DESC",
    "position": "POSITION_RIGHT_HAND",
    "position-reverse": "POSITION_LEFT_HAND",
}

# Whose versions matter to what the commands do; told where they are installed.
_PACKAGES = ("numpy", "pydicom", "spacetransformer-core", "zstandard", "nibabel")
_OPTION_OF_ARGUMENT = {"overwrite=True": "--overwrite", "series_uid=": "--series-uid"}
_PARTLY_DONE = 3  # the exit status
_LOSSY_OPTIONS = ("max_error", "distance", "roi", "foreground", "background")

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0, or 1 after one line on the standard error output, or 3 where damaged
        parts were left out as asked for. Wrong usage ends in SystemExit with status 2.
    """
    options = _parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _show_warning
        try:
            return int(options.run(options))
        except DicomCubeError as error:
            message = error.message if error.suggestion is None else _with_suggestion(error)
            return _fail(message)
        except BrokenPipeError:
            # Whoever read the output has gone; Python must not try to write the rest at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            return _fail(str(error))
        except MemoryError as error:
            return _fail(f"out of memory: {error}")
        except KeyboardInterrupt:
            return _fail("interrupted")


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="dicube",
        description="Store a series of medical images in one small file that opens fast.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_ShowVersion)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    convert = commands.add_parser(
        "convert",
        help="convert between DICOM, dicube files and NIfTI",
        description="Convert between a DICOM folder, dicube files and NIfTI.",
        epilog=_CONVERT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert.add_argument(
        "source", metavar="SRC", type=Path, help="DICOM folder, DICOM file, dicube or NIfTI file"
    )
    convert.add_argument(
        "target", metavar="DST", help="dicube, NIfTI or DICOM file, or DICOM folder"
    )
    convert.add_argument(
        "--effort",
        type=_effort,
        metavar="1..9",
        help=f"of JPEG XL: 1 is fast, 9 small; or {', '.join(EFFORTS)}"
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
        choices=_SORT_METHODS,
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
        "--modality", metavar="CODE", help="of DICOM made from NIfTI, such as MR (default: OT)"
    )
    convert.set_defaults(run=_convert)

    info = commands.add_parser(
        "info",
        help="show what is in a file",
        description="Show what is in a dicube file: pixels, series, geometry, sections.",
    )
    info.add_argument("file", metavar="FILE", help="dicube file, or a URL of one")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.set_defaults(run=_info)

    verify = commands.add_parser(
        "verify",
        help="check a file, and compare it with its originals",
        description="Check a dicube file: structure, checksums, that every frame decodes, that"
        " metadata, geometry and counts agree; and compare what it restores with the originals."
        " Exit status 0 only if all holds.",
    )
    verify.add_argument("file", metavar="FILE", type=Path, help="dicube file")
    verify.add_argument(
        "--against",
        metavar="FOLDER",
        type=Path,
        help="compare with the DICOM files that it was made from",
    )
    verify.add_argument(
        "--threads", type=_thread_count, metavar="N", help="default: one for each processor"
    )
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    verify.set_defaults(run=_verify)

    demo = commands.add_parser(
        "demo",
        help="convert a series there and back, compare, and show sizes and times",
        description="Convert a series to .dcbs and .dcba and back to DICOM, in a temporary folder;"
        " compare it pixel by pixel and element by element; show sizes and times."
        " Exit status 1 if anything differs.",
    )
    demo.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        help="DICOM folder (default: a small real CT series that comes with pydicom)",
    )
    demo.add_argument(
        "--threads", type=_thread_count, metavar="N", help="default: one for each processor"
    )
    demo.set_defaults(run=_demo)
    return parser


def _convert(options: argparse.Namespace) -> int:
    """Run `dicube convert`."""
    from dicube import DicomCubeImage, SortMethod
    from dicube.core.image import FILE_EXTENSIONS
    from dicube.core.recoding import export_coded
    from dicube.dicom.transfer_syntaxes import transfer_syntax_of
    from dicube.nifti import NIFTI_EXTENSIONS
    from dicube.storage.dcb_file import FORMATS

    source: Path = options.source
    target = Path(options.target)
    known = " or ".join(FILE_EXTENSIONS)
    from_nifti = source.name.lower().endswith(NIFTI_EXTENSIONS) and not source.is_dir()
    to_nifti = target.name.lower().endswith(NIFTI_EXTENSIONS)
    from_dicom = not from_nifti and (
        source.is_dir() or source.suffix.lower() not in FILE_EXTENSIONS
    )
    to_file = to_nifti or target.suffix.lower() in FILE_EXTENSIONS
    to_folder = _names_a_folder(options.target)
    to_multiframe = target.suffix.lower() == ".dcm" and not to_folder
    if not source.exists():
        raise CubeFileNotFoundError(f"{source}: no such file or folder")
    to_new_dicom = to_multiframe or options.transfer_syntax is not None
    if from_dicom and not to_file and not to_new_dicom:
        raise DataConsistencyError(f"{options.target}: expected a name ending in {known} or .dcm")
    if not to_file and not to_multiframe and not to_folder:
        raise DataConsistencyError(
            f"{options.target}: expected a name ending in {known} or .dcm, "
            f"or a folder (end its name in {os.sep})"
        )
    if options.effort is not None and FORMATS.get(target.suffix.lower()) != "jxl":
        raise DataConsistencyError("--effort is for .dcba, .dcbl and .dcbr only")
    lossy = {name: getattr(options, name) for name in _LOSSY_OPTIONS if getattr(options, name)}
    if lossy and (to_nifti or not to_file):
        option = next(iter(lossy)).replace("_", "-")
        raise DataConsistencyError(f"--{option} is for .dcba, .dcbl and .dcbr only")
    if not from_dicom and (options.series_uid or options.sort):
        raise DataConsistencyError("--series-uid and --sort are for DICOM only")
    if (from_dicom or from_nifti) and options.on_error != "raise":
        raise DataConsistencyError("--on-error is for dicube files only")
    if options.modality is not None and (to_file or not from_nifti):
        raise DataConsistencyError("--modality is for DICOM made from NIfTI only")
    if to_file and options.transfer_syntax is not None:
        raise DataConsistencyError("--transfer-syntax is for DICOM only")
    if (to_file or to_multiframe) and target.exists() and not options.overwrite:
        raise TargetExistsError(f"{target}: is there already; --overwrite replaces it")

    if options.transfer_syntax is not None and to_folder:
        syntax = transfer_syntax_of(options.transfer_syntax)
        if syntax.codec and not from_dicom and not from_nifti and options.on_error == "raise":
            with ProgressBar(f"writing {target}") as bar:
                slices = export_coded(
                    source, target, syntax, options.overwrite, options.threads, progress=bar
                )
            print(f"{target}: {slices} slices")
            return 0

    with ProgressBar(f"reading {source}") as bar:
        if from_dicom:
            image = DicomCubeImage.from_dicom_folder(
                source,
                SortMethod[_SORT_METHODS[options.sort or "instance"]],
                num_threads=options.threads,
                series_uid=options.series_uid,
                progress=bar,
            )
        elif from_nifti:
            image = DicomCubeImage.from_nifti(source)
            if not to_file:
                image.init_meta(modality=options.modality or "OT")
        else:
            image = DicomCubeImage.from_file(
                source, num_threads=options.threads, progress=bar, on_error=options.on_error
            )
    whole = image
    image = whole.intact_part()
    with ProgressBar(f"writing {target}") as bar:
        if to_nifti:
            image.to_nifti(target)
        elif to_file:
            image.to_file(
                target,
                num_threads=options.threads,
                effort=options.effort,
                verify=options.verify,
                progress=bar,
                **{name: getattr(options, name) for name in _LOSSY_OPTIONS},
            )
        elif to_multiframe:
            image.to_dicom_file(
                target,
                options.transfer_syntax or "explicit",
                overwrite=options.overwrite,
                num_threads=options.threads,
            )
        else:
            image.to_dicom_folder(
                target,
                overwrite=options.overwrite,
                progress=bar,
                transfer_syntax=options.transfer_syntax,
                num_threads=options.threads,
            )
    if to_file:
        size = target.stat().st_size
        print(
            f"{target}: {len(image.raw_image)} slices, {size:,} bytes, "
            f"{image.raw_image.nbytes / size:.2f} times smaller than its pixels"
        )
    else:
        print(f"{target}: {len(image.raw_image)} slices")
    if image is not whole:
        print(f"dicube: {target} holds what is intact of {source}", file=sys.stderr)
    return 0 if image is whole else _PARTLY_DONE


def _info(options: argparse.Namespace) -> int:
    """Run `dicube info`."""
    from dicube.core.file_summary import summarize_file

    summary = summarize_file(options.file)
    if options.json:
        # JSON knows all that is in a summary but the statuses.
        told = json.dumps(dataclasses.asdict(summary), indent=2, default=lambda s: s.value)
        print(told)
        return 0
    codec = {"jph": "HTJ2K", "jxl": "JPEG XL"}[summary.codec]
    lines: list[tuple[str, Any]] = [
        ("file", summary.path),
        ("format", f"{codec}, container version {summary.format_version}"),
        ("shape", " x ".join(map(str, summary.shape)) + f" {summary.dtype}"),
        (
            "size",
            f"{summary.file_size:,} bytes, {summary.ratio:.2f} times smaller than "
            f"{summary.raw_size:,} bytes of pixels",
        ),
        ("checksums", "yes" if summary.has_checksums else "no (a published writer's file)"),
        ("rescale", f"stored value * {summary.rescale[0]:g} + {summary.rescale[1]:g}"),
        *(("lost", str(loss)) for loss in summary.losses),
        ("status", summary.status),
        *(("finding", str(finding)) for finding in summary.findings),
    ]
    if summary.space is None:
        lines.append(("space", "not known"))
    else:
        lines += [
            ("spacing", _numbers(summary.space["spacing"]) + " mm (slice, row, column)"),
            ("origin", _numbers(summary.space["origin"]) + " mm (LPS)"),
        ]
    lines += list(summary.tags.items())
    lines += [(f"[{name}]", f"{size:,} bytes") for name, size in summary.sections.items()]
    width = max(len(name) for name, _ in lines) + 2
    for name, value in lines:
        print(f"{name:{width}}{value}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    """Run `dicube verify`."""
    from dicube.core.verification import verify_file

    with ProgressBar(f"checking {options.file}") as bar:
        report = verify_file(
            options.file, options.against, num_threads=options.threads, progress=bar
        )
    if options.json:
        told = dataclasses.asdict(report) | {"ok": report.ok}
        print(json.dumps(told, indent=2, default=lambda outcome: outcome.value))
    else:
        for check in report.checks:
            print(f"{check.outcome.value:9}{check.name:19}{check.message}")
            for problem in check.problems:
                print(f"{'':9}  {problem}")
        print(f"{report.path}: {'all holds' if report.ok else 'FAILED'}")
    return 0 if report.ok else 1


def _demo(options: argparse.Namespace) -> int:
    """Run `dicube demo`."""
    from dicube.demo import run_demo

    return 0 if run_demo(options.folder, options.threads) else 1


class ProgressBar:
    """A line on the terminal that shows how far something is; nothing where there is no terminal.

    Called as `bar(done, total)`. As a context manager it leaves an empty line behind.
    """

    _WIDTH = 30
    _SECONDS = 0.1  # between two updates

    def __init__(self, label: str) -> None:
        self._label = label
        self._shown = sys.stderr.isatty()
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        now = time.monotonic()
        if not self._shown or (done < total and now - self._last < self._SECONDS):
            return
        self._last = now
        filled = self._WIDTH * done // max(total, 1)
        bar = "#" * filled + "." * (self._WIDTH - filled)
        print(f"\r\x1b[K{self._label}  [{bar}] {done}/{total}", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


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


def _names_a_folder(name: str) -> bool:
    """Return whether a target is a folder that is there, or named like one that is to be made."""
    path = Path(name)
    return path.is_dir() or name.endswith(("/", os.sep)) or not path.suffix


def _numbers(values: Sequence[float]) -> str:
    """Return numbers as text."""
    return ", ".join(f"{value:.6g}" for value in values)


def _with_suggestion(error: DicomCubeError) -> str:
    """Return message and suggestion of an error on one line."""
    suggestion = str(error.suggestion)
    for argument, option in _OPTION_OF_ARGUMENT.items():
        suggestion = suggestion.replace(argument, option)
    return f"{error.message} ({suggestion})"


def _fail(message: str) -> int:
    """Print one line of error; return the exit status."""
    print(f"dicube: error: {' '.join(message.split())}", file=sys.stderr)
    return 1


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print one line of warning."""
    print(f"dicube: warning: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
