"""The commands: each takes its options, has `core` or `demo` do it, shows what came of it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dicube.cli.one_line import one_line
from dicube.cli.progress_bar import ProgressBar
from dicube.exceptions import CubeFileNotFoundError, DataConsistencyError, TargetExistsError

SORT_METHODS = {
    "instance": "INSTANCE_NUMBER_ASC",
    "instance-reverse": "INSTANCE_NUMBER_DESC",
    "position": "POSITION_RIGHT_HAND",
    "position-reverse": "POSITION_LEFT_HAND",
}

_MODALITY = "--modality is for DICOM made from images without metadata only, such as NIfTI"
_PARTLY_DONE = 3  # the exit status
_LOSSY_OPTIONS = ("max_error", "distance", "roi", "foreground", "background")


def convert(options: argparse.Namespace) -> int:
    """Run `dicube convert`."""
    from dicube import DicomCubeImage, SortMethod
    from dicube.core.cube_parts import METADATA, ORIGINALS
    from dicube.core.image import FILE_EXTENSIONS
    from dicube.core.recoding import export_coded
    from dicube.dicom.transfer_syntaxes import transfer_syntax_of
    from dicube.nifti import NIFTI_EXTENSIONS
    from dicube.storage.formats import FORMATS, codec_of_path
    from dicube.verify.file_summary import holds

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
    if options.modality is not None and (to_file or from_dicom):
        raise DataConsistencyError(_MODALITY)
    if to_file and options.transfer_syntax is not None:
        raise DataConsistencyError("--transfer-syntax is for DICOM only")
    if (to_file or to_multiframe) and target.exists() and not options.overwrite:
        raise TargetExistsError(f"{target}: is there already; --overwrite replaces it")

    if options.transfer_syntax is not None and to_folder:
        syntax = transfer_syntax_of(options.transfer_syntax)
        is_whole = not from_dicom and not from_nifti and options.on_error == "raise"
        if syntax.codec and is_whole and holds(source, METADATA):
            if options.modality is not None:
                raise DataConsistencyError(_MODALITY)
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
                SortMethod[SORT_METHODS[options.sort or "instance"]],
                num_threads=options.threads,
                series_uid=options.series_uid,
                progress=bar,
            )
        elif from_nifti:
            image = DicomCubeImage.from_nifti(source)
        else:
            image = DicomCubeImage.from_file(
                source, num_threads=options.threads, progress=bar, on_error=options.on_error
            )
    whole = image
    image = whole.intact_part()
    if not to_file and image.dicom_meta is None:
        image.init_meta(modality=options.modality or "OT")
    elif options.modality is not None:
        raise DataConsistencyError(_MODALITY)
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
    is_exact = target.suffix.lower() in (".dcbs", ".dcba") and not lossy
    is_from_file = not from_dicom and not from_nifti and image is whole
    had_originals = from_dicom or (is_exact and is_from_file and holds(source, ORIGINALS))
    if is_exact and had_originals and not holds(target, ORIGINALS):
        reason = image.why_not_exact(codec_of_path(target))
        print(
            f"dicube: {target} holds every element and sample, not the original files: {reason}",
            file=sys.stderr,
        )
    return 0 if image is whole else _PARTLY_DONE


def info(options: argparse.Namespace) -> int:
    """Run `dicube info`."""
    from dicube.verify.file_summary import summarize_file

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
        print(f"{name:{width}}{one_line(str(value))}")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Run `dicube verify`."""
    from dicube.verify.verification import verify_file

    with ProgressBar(f"checking {options.file}") as bar:
        report = verify_file(
            options.file, options.against, num_threads=options.threads, progress=bar
        )
    if options.json:
        told = dataclasses.asdict(report) | {"ok": report.ok}
        print(json.dumps(told, indent=2, default=lambda outcome: outcome.value))
    else:
        for check in report.checks:
            print(f"{check.outcome.value:9}{check.name:19}{one_line(check.message)}")
            for problem in check.problems:
                print(f"{'':9}  {one_line(problem)}")
        print(f"{report.path}: {'all holds' if report.ok else 'FAILED'}")
    return 0 if report.ok else 1


def demo(options: argparse.Namespace) -> int:
    """Run `dicube demo`."""
    from dicube.demo import run_demo

    return 0 if run_demo(options.folder, options.threads) else 1


def _names_a_folder(name: str) -> bool:
    """Return whether a target is a folder that is there, or named like one that is to be made."""
    path = Path(name)
    return path.is_dir() or name.endswith(("/", os.sep)) or not path.suffix


def _numbers(values: Sequence[float]) -> str:
    """Return numbers as text."""
    return ", ".join(f"{value:.6g}" for value in values)
