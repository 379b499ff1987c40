"""`dicube convert --all-series`: converts each series of a tree, and goes on after one that fails.

Must not know how a series is converted.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dicube.archive.places import name_of_uid
from dicube.cli.convert.plan import Plan
from dicube.cli.one_line import one_line, text_of
from dicube.cli.options.convert import DICUBE_TARGETS
from dicube.cli.progress_bar import ProgressBar
from dicube.dicom.dicom_tree import SeriesFiles, find_series
from dicube.exceptions import DicomCubeError, LeftOutWarning, MetaDataError, TargetExistsError
from dicube.verify.file_summary import summarize_file


def convert_all(plan: Plan, convert: Callable[[Plan], int]) -> int:
    """Convert each series of the plan's source to a file in its target folder.

    A file that exists is left as it is if it has the slices of the series, so that a conversion
    which was interrupted goes on where it stopped.

    Args:
        plan: for all series.
        convert: carries out the plan of one series, and prints its result.

    Returns:
        The exit status: 0, or 1 if a series or the header of a file couldn't be read, or a dicube
        file lacks objects of its series.

    Raises:
        MetaDataError: the source has no DICOM files.
    """
    folder = Path(plan.target)
    with ProgressBar(f"reading {plan.source}") as bar:
        tree = find_series(plan.source, leave_out=folder, progress=bar)
    if not (tree.series or tree.unreadable):
        raise MetaDataError(f"{plan.source}: no DICOM file among {tree.other_files} files")
    folder.mkdir(parents=True, exist_ok=True)
    failed, incomplete = [], []
    for number, series in enumerate(tree.series, 1):
        target = folder / f"{file_name_of(series.uid)}.{plan.options['to']}"
        one = replace(plan, target=target, files=series.files)
        label = f"series {number} of {len(tree.series)} ({series.files[0].name})"
        try:
            if target.exists() and not plan.options.get("overwrite"):
                _check_same(series, one)
                print(f"{target}: exists, left as it is")
            else:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always", UserWarning)
                    convert(one)
                for warning in caught:
                    _report("warning", f"{label}: {warning.message}")
                left_out = any(issubclass(warning.category, LeftOutWarning) for warning in caught)
                if left_out and plan.target_kind in DICUBE_TARGETS:
                    incomplete.append(str(number))
        except DicomCubeError as error:
            failed.append(str(number))
            _report("error", f"{label}: {text_of(error)}")
        except BrokenPipeError:
            raise
        except (OSError, MemoryError) as error:
            failed.append(str(number))
            _report("error", f"{label}: {error or type(error).__name__}")
    for file in tree.unreadable:
        _report("error", file.reason)
    if tree.dicube_files:
        _report("warning", f"{len(tree.dicube_files)} dicube files in {plan.source} are left out")
    if failed:
        _report("error", f"{len(failed)} of {len(tree.series)} series failed: {', '.join(failed)}")
    if incomplete:
        _report("error", f"objects were left out of series {', '.join(incomplete)}")
    if tree.unreadable:
        _report("error", f"{len(tree.unreadable)} DICOM files or folders can't be read")
    return 1 if failed or incomplete or tree.unreadable else 0


def file_name_of(uid: str) -> str:
    """Return the name of a series' file: its UID, or for an invalid one a digest of it."""
    return name_of_uid(uid, "series")


def _check_same(series: SeriesFiles, plan: Plan) -> None:
    """Raise unless an existing dicube file has the UID and the slices, or files, of a series."""
    if plan.target_kind not in DICUBE_TARGETS:
        return
    summary = summarize_file(plan.target)
    uid = summary.tags.get("SeriesInstanceUID", "")
    files = 0 if summary.originals is None else summary.originals.files
    held, now, what = summary.shape[0], series.slices, "slices"
    if plan.options.get("exact") == "always" or files == len(series.files):  # some are no slices
        held, now, what = files, len(series.files), "files"
    if (uid, held) != (series.uid, now):
        of_another = "" if uid == series.uid else " of another series"
        raise TargetExistsError(
            f"{plan.target} exists with {held} {what}{of_another}, "
            f"and the series now has {now}; --overwrite replaces it"
        )


def _report(kind: str, text: str) -> None:
    print(f"dicube: {kind}: {one_line(text)}", file=sys.stderr)
