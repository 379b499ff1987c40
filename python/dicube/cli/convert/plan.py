"""The plan of a conversion: source, target, and options.

Refuses invalid requests before any data is read. Must not know how a conversion is done.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dicube.cli.options.convert import (
    DICUBE_TARGETS,
    FILE_FORMATS,
    OPTIONS,
    ConvertOption,
    SourceKind,
    TargetKind,
)
from dicube.cli.options.places import expect_single
from dicube.dicom.files.sources import File
from dicube.dicom.transfer_syntaxes import transfer_syntax_of
from dicube.exceptions import CubeFileNotFoundError, DataConsistencyError, TargetExistsError
from dicube.nifti import NIFTI_EXTENSIONS, is_nifti_name
from dicube.storage.formats import ROI, extension_of
from dicube.storage.url_files import exists
from dicube.storage.urls import is_url, name_of_source

_DICUBE_KINDS = {kind.value: kind for kind in DICUBE_TARGETS}
_WRITTEN = f"{', '.join(_DICUBE_KINDS)}, {', '.join(NIFTI_EXTENSIONS)} or .dcm"


@dataclass(frozen=True)
class Plan:
    """A request of `dicube convert` that passed all checks.

    Attributes:
        source, source_kind: the file or folder to read, or a URL, and its kind.
        target, target_kind: the file or folder to write, or a URL, and its kind.
        options: the values of the options that were given, by `ConvertOption.name`.
        files: the files to read; None for all of `source`. With `--all-series`, `target` is the
            folder of all files and `target_kind` the kind of each.
    """

    source: Path | str
    source_kind: SourceKind
    target: Path | str
    target_kind: TargetKind
    options: dict[str, Any]
    files: Sequence[File] | None = None

    @property
    def source_name(self) -> str:
        """The path or the URL of the source for messages, without credentials."""
        return name_of_source(self.source)

    @property
    def target_name(self) -> str:
        """The same of the target."""
        return name_of_source(self.target)

    def given(self, *names: str) -> dict[str, Any]:
        """Return the options of these names that were given, as keyword arguments."""
        return {name: self.options[name] for name in names if name in self.options}


def make_plan(arguments: argparse.Namespace) -> Plan:
    """Return the plan of a request.

    Args:
        arguments: `source` (a path or a URL), `target` (a text), and the given options by name.

    Raises:
        CubeFileNotFoundError: the source does not exist.
        DataConsistencyError: the name of the target selects no format, an option doesn't apply to
            the conversion, or a required option is missing.
        TargetExistsError: the target is an existing file, and --overwrite was not given.
    """
    source: Path | str = arguments.source
    target = arguments.target if is_url(arguments.target) else Path(arguments.target)
    expect_single(source, target)
    if isinstance(source, Path) and not source.exists():
        raise CubeFileNotFoundError(f"{source}: no such file or folder")
    given = vars(arguments)
    plan = Plan(
        source,
        _kind_of_source(source),
        target,
        _kind_of_target(arguments.target),
        {option.name: given[option.name] for option in OPTIONS if option.name in given},
    )
    if plan.target_kind is TargetKind.DICOM_FOLDER and is_url(target):
        raise DataConsistencyError(
            f"{plan.target_name}: a folder is written to a path, and only a file to a URL"
        )
    if "all_series" in plan.options:
        plan = _plan_of_files(plan)
    for option in OPTIONS:
        if option.name in plan.options:
            _check_applies(option, plan)
    _check_together(plan)
    if "all_series" in plan.options:
        return plan
    is_file = plan.target_kind is not TargetKind.DICOM_FOLDER
    if is_file and not plan.options.get("overwrite") and exists(plan.target):
        raise TargetExistsError(f"{plan.target_name} already exists; --overwrite replaces it")
    return plan


def _plan_of_files(plan: Plan) -> Plan:
    """Return a plan for all series as one for files of the kind that --to says."""
    if plan.target_kind is not TargetKind.DICOM_FOLDER:
        raise DataConsistencyError(
            f"--all-series applies when DST is a folder, not {plan.target_kind.value} "
            f"({plan.target_name}); end its name in {os.sep}"
        )
    if "to" not in plan.options:
        raise DataConsistencyError(f"--all-series needs --to, one of {', '.join(FILE_FORMATS)}")
    if "series_uid" in plan.options:
        raise DataConsistencyError("--all-series and --series-uid exclude each other: give one")
    return replace(plan, target_kind=_kind_of_target(f"x.{plan.options['to']}"))


def _kind_of_source(source: Path | str) -> SourceKind:
    """Return the kind of a source, judged by its name."""
    path = Path(name_of_source(source))
    if path.is_dir():
        return SourceKind.DICOM
    if is_nifti_name(path):
        return SourceKind.NIFTI
    return SourceKind.DICUBE if path.suffix.lower() in _DICUBE_KINDS else SourceKind.DICOM


def _kind_of_target(name: str) -> TargetKind:
    """Return the kind of a target, judged by its name and by whether it is an existing folder."""
    name = name_of_source(name)
    path = Path(name)
    extension = path.suffix.lower()
    if not name.endswith(("/", os.sep)):
        if path.name.lower().endswith(NIFTI_EXTENSIONS):
            return TargetKind.NIFTI
        if extension in _DICUBE_KINDS:
            return _DICUBE_KINDS[extension]
        if extension and not path.is_dir():
            if extension == ".dcm":
                return TargetKind.DICOM_FILE
            raise DataConsistencyError(
                f"{name}: unknown format {extension}; expected a name ending in {_WRITTEN}, "
                f"or a folder (end its name in {os.sep})"
            )
    return TargetKind.DICOM_FOLDER


def _check_applies(option: ConvertOption, plan: Plan) -> None:
    """Refuse an option that does not apply to the conversion."""
    if plan.source_kind not in option.sources:
        raise DataConsistencyError(
            f"{option.flag} applies when reading {_listed(option.sources)}, "
            f"not {plan.source_kind.value} ({plan.source_name})"
        )
    if plan.target_kind not in option.targets:
        raise DataConsistencyError(
            f"{option.flag} applies when writing {_listed(option.targets)}, "
            f"not {plan.target_kind.value} ({plan.target_name})"
        )


def _check_together(plan: Plan) -> None:
    """Refuse options that exclude each other, and a conversion without a required option."""
    options = plan.options
    if "to" in options and "all_series" not in options:
        raise DataConsistencyError("--to applies when --all-series is given; DST names the format")
    if "max_error" in options and "distance" in options:
        raise DataConsistencyError("--max-error and --distance exclude each other: give one")
    if "transfer_syntax" in options:
        transfer_syntax_of(options["transfer_syntax"])
    elif (plan.source_kind, plan.target_kind) == (SourceKind.DICOM, TargetKind.DICOM_FOLDER):
        raise DataConsistencyError(
            f"{plan.target_name}: DICOM to a DICOM folder needs --transfer-syntax; "
            f"for another format end the name in {_WRITTEN}"
        )
    has_mask = extension_of(plan.source_name) == ROI.extension or "roi" in options
    if plan.target_kind is TargetKind.DCBR and not has_mask:
        raise DataConsistencyError(
            f"{plan.target_name}: .dcbr needs --roi auto, as {plan.source_name} has no region of "
            "interest"
        )


def _listed(kinds: Sequence[SourceKind | TargetKind]) -> str:
    """Return the names of kinds, as in 'a, b or c'."""
    *names, last = (kind.value for kind in kinds)
    return f"{', '.join(names)} or {last}" if names else last
