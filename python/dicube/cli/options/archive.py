"""The options of `dicube archive`, and their help. Must not know what they do."""

from __future__ import annotations

import argparse
from typing import Any

from dicube.cli.options.convert import text_value, whole_number

_DESCRIPTION = """\
Keep many series as dicube files, one each, in a folder or an object store, with
a catalogue to search. The files are the truth: 'dicube archive index' makes the
catalogue again from them.

examples:
  dicube archive add archive/ incoming/ more.zip
  dicube archive list archive/ --modality CT --study-date 2024-01-01..2024-03-31
  dicube archive restore archive/ out/ --patient 4711
  dicube archive verify archive/ --sample 5%
"""

_ADD = """\
Add all series of SRC, each in a file of its own. A series is done when its file
has been read back and gives every original file its SHA-256. Run the same
command again after an interruption: what is done is skipped. One bad series
doesn't stop the others, unless --on-error stop is given. The exit status is 3
if a series failed or a DICOM file can't be read.
"""


def add_archive(subparsers: Any) -> None:
    """Add `dicube archive` and its verbs."""
    archive = subparsers.add_parser(
        "archive",
        help="keep many series with a catalogue (needs the package extra dicube[archive])",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = archive.add_subparsers(
        title="verbs",
        metavar="VERB",
        dest="verb",
        required=True,
        help="'dicube archive VERB --help' lists the options of a verb",
    )
    _add_add(verbs)
    _add_list(verbs)
    restore = _verb(
        verbs,
        "restore",
        "restore the original DICOM files, to the byte; new ones of series stored without them",
    )
    restore.add_argument("folder", metavar="OUT", type=text_value, help="folder to write to")
    _add_levels(restore, "patient", "study", "series", "instance")
    restore.add_argument(
        "--overwrite", action="store_true", help="allow folders that are not empty"
    )
    verify = _verb(verbs, "verify", "check the files, and that the catalogue agrees with them")
    _add_workers(verify)
    verify.add_argument(
        "--report", metavar="FILE", type=text_value, help="write a line of JSON for each file"
    )
    verify.add_argument(
        "--sample",
        metavar="N%",
        type=_percentage,
        default=1.0,
        help="check only so many of the files, chosen at random",
    )
    remove = _verb(verbs, "remove", "remove series: files and rows of the catalogue")
    _add_levels(remove, "patient", "study", "series")
    _add_workers(_verb(verbs, "index", "make the catalogue anew from the files"))


def _add_add(verbs: Any) -> None:
    add = _verb(verbs, "add", "add series of DICOM files", _ADD)
    add.add_argument(
        "sources",
        metavar="SRC",
        nargs="+",
        type=text_value,
        help="folder, .zip, DICOMDIR, DICOM or dicube file; @FILE for paths in a file, one a line"
        " (@- for the standard input)",
    )
    add.add_argument("--format", choices=("dcba", "dcbs"), default="dcba", help="default: dcba")
    _add_workers(add).add_argument(
        "--dask", metavar="ADDRESS", help="scheduler of a dask cluster, such as tcp://host:8786"
    )
    add.add_argument(
        "--report",
        metavar="FILE",
        type=text_value,
        help="write a line of JSON for each series; it holds paths of sources, which may name"
        " patients",
    )
    add.add_argument(
        "--exact",
        choices=("always", "cheap", "no"),
        default="always",
        help="keep what restores the original files (default: always)",
    )
    add.add_argument(
        "--deidentify",
        choices=("basic",),
        help="by the Basic Profile of PS3.15 (needs dicube[deidentify]); pixels are not touched",
    )
    add.add_argument(
        "--key",
        metavar="FILE",
        type=text_value,
        help="secret key of --deidentify, made if it is missing (default: ARCHIVE.key)",
    )
    add.add_argument(
        "--on-error",
        choices=("record", "stop"),
        default="record",
        help="after a series fails, go on (default) or stop",
    )
    add.add_argument(
        "--checksum",
        action="store_true",
        help="compare the content of files with what is stored, not path, size and time",
    )
    add.add_argument(
        "--no-restore-check",
        dest="restore_check",
        action="store_false",
        help="don't compare the SHA-256 of each original after writing",
    )
    add.add_argument(
        "--dry-run", action="store_true", help="list what would be done, change nothing"
    )


def _add_list(verbs: Any) -> None:
    command = _verb(
        verbs, "list", "list series; the table shows IDs of patients, csv and json their names, too"
    )
    command.add_argument("--patient", metavar="ID", help="PatientID")
    command.add_argument("--modality", metavar="CODE", help="such as CT")
    command.add_argument(
        "--study-date", metavar="DATE", help="a date, or a range: 2024-01-01..2024-03-31"
    )
    command.add_argument(
        "--filter",
        metavar="KEYWORD=VALUE",
        type=_filter,
        action="append",
        default=[],
        help="a DICOM keyword and its value, which may have the wildcards * and ?; repeatable",
    )
    command.add_argument(
        "--format",
        choices=("table", "csv", "json"),
        default="table",
        help="a table for people (default), or rows with DICOM keywords as keys",
    )


def _verb(verbs: Any, name: str, help_text: str, description: str | None = None) -> Any:
    command = verbs.add_parser(
        name,
        help=help_text,
        description=description or f"{help_text[:1].upper()}{help_text[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "archive", metavar="ARCHIVE", type=text_value, help="folder, or URL that fsspec opens"
    )
    command.add_argument(
        "--catalogue",
        metavar="URL",
        type=text_value,
        help="path of a SQLite database, or URL of SQLAlchemy (default: in the folder);"
        " needed for an archive at a URL",
    )
    return command


def _add_workers(command: argparse.ArgumentParser) -> Any:
    group = command.add_mutually_exclusive_group()
    group.add_argument(
        "--workers",
        type=whole_number,
        metavar="N",
        help="processes (default: one for each processor)",
    )
    return group


def _add_levels(command: argparse.ArgumentParser, *levels: str) -> None:
    group = command.add_mutually_exclusive_group(required=True)
    for level in levels:
        what = "PatientID" if level == "patient" else f"UID of the {level}"
        group.add_argument(f"--{level}", metavar="ID" if level == "patient" else "UID", help=what)


def _percentage(text: str) -> float:
    try:
        number = float(text.removesuffix("%")) / 100
    except ValueError:
        number = 0.0
    if not (text.endswith("%") and 0 < number <= 1):
        raise argparse.ArgumentTypeError(f"expected a percentage such as 5%, found {text!r}")
    return number


def _filter(text: str) -> tuple[str, str]:
    keyword, separator, value = text.partition("=")
    if not (keyword and separator):
        raise argparse.ArgumentTypeError(f"expected KEYWORD=VALUE, found {text!r}")
    return keyword, value
