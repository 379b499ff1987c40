"""`dicube convert`: carries out a plan, one function a source and one a target.

Must not know how formats are read or written.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from dataclasses import replace

from dicube import DicomCubeImage, SortMethod
from dicube.cli.convert.all_series import convert_all
from dicube.cli.convert.plan import Plan, make_plan
from dicube.cli.options.convert import DICUBE_TARGETS, SORT_METHODS, SourceKind, TargetKind
from dicube.cli.progress_bar import ProgressBar
from dicube.core.cube_parts import METADATA, ORIGINALS
from dicube.core.dicom_export import export_coded
from dicube.core.instances.stored_files import has_frames, restore_files, store_files
from dicube.dicom.files.sources import Source
from dicube.dicom.transfer_syntaxes import transfer_syntax_of
from dicube.exceptions import DataConsistencyError, NoImagesError
from dicube.storage.formats import codec_of_path
from dicube.storage.url_files import local_copy, size_of
from dicube.verify.file_summary import holds, summarize_file

_PARTLY_DONE = 3  # the exit status
_LOSSY_OPTIONS = ("max_error", "distance", "roi", "foreground", "background")


def run(arguments: argparse.Namespace) -> int:
    """Run `dicube convert`.

    Returns:
        The exit status: 0, 3 if slices of a damaged file were left out, or 1 if some of all series
        failed.
    """
    plan = make_plan(arguments)
    if plan.source_kind is SourceKind.DICUBE:
        return _convert(plan)
    with local_copy(plan.source) as source:
        plan = replace(plan, source=source)
        return convert_all(plan, _convert) if "all_series" in plan.options else _convert(plan)


def _convert(plan: Plan) -> int:
    """Carry out the plan for one image; return the exit status."""
    if "modality" in plan.options and _has_metadata(plan):
        raise DataConsistencyError(
            "--modality applies to images without DICOM metadata, and "
            f"{plan.source_name} has metadata"
        )
    if plan.source_kind is SourceKind.DICUBE and _restores_files(plan):
        _restore_files(plan)
        return 0
    if _copies_frames(plan):
        _copy_frames(plan)
        return 0
    try:
        with ProgressBar(f"reading {plan.source_name}") as bar:
            whole = _READERS[plan.source_kind](plan, bar)
    except NoImagesError as error:
        if plan.target_kind not in (TargetKind.DCBS, TargetKind.DCBA) or _is_lossy(plan):
            raise
        _store_files(plan, error.reasons)
        if error.reasons:
            _note(f"{plan.target_name} holds whole files and no volume: {error.message}")
        return 0
    image = whole.intact_part()
    with ProgressBar(f"writing {plan.target_name}") as bar:
        _WRITERS[plan.target_kind](image, plan, bar)
    _print_result(image, plan)
    if image is not whole:
        _note(f"{plan.target_name} holds only the intact slices of {plan.source_name}")
    elif _lost_originals(plan):
        reason = image.why_not_exact(codec_of_path(plan.target_name))
        _note(
            f"{plan.target_name} holds every element and sample, but can't restore the original "
            f"files to the byte: {reason}"
        )
    return 0 if image is whole else _PARTLY_DONE


# ------------------------------------------------------------------------------------- sources


def _read_dicom(plan: Plan, bar: ProgressBar) -> DicomCubeImage:
    return DicomCubeImage.from_dicom_folder(
        _files_of(plan),
        SortMethod[SORT_METHODS[plan.options.get("sort", "instance")]],
        progress=bar,
        keep_all=plan.options.get("exact") == "always",
        **plan.given("num_threads", "series_uid"),
    )


def _files_of(plan: Plan) -> Source:
    return plan.source if plan.files is None else plan.files


def _read_dicube(plan: Plan, bar: ProgressBar) -> DicomCubeImage:
    return DicomCubeImage.from_file(
        plan.source, progress=bar, **plan.given("num_threads", "on_error")
    )


def _read_nifti(plan: Plan, _bar: ProgressBar) -> DicomCubeImage:
    return DicomCubeImage.from_nifti(plan.source)


_READERS = {
    SourceKind.DICOM: _read_dicom,
    SourceKind.DICUBE: _read_dicube,
    SourceKind.NIFTI: _read_nifti,
}

# ------------------------------------------------------------------------------------- targets


def _write_dicube(image: DicomCubeImage, plan: Plan, bar: ProgressBar) -> None:
    options = plan.given("num_threads", "effort", "block_side", "verify", "exact", *_LOSSY_OPTIONS)
    image.to_file(plan.target, progress=bar, **options)


def _write_nifti(image: DicomCubeImage, plan: Plan, _bar: ProgressBar) -> None:
    image.to_nifti(plan.target, **plan.given("real_world"))


def _write_dicom_file(image: DicomCubeImage, plan: Plan, _bar: ProgressBar) -> None:
    _ensure_metadata(image, plan)
    options = plan.given("num_threads", "overwrite", "transfer_syntax")
    image.to_dicom_file(plan.target, **options)


def _write_dicom_folder(image: DicomCubeImage, plan: Plan, bar: ProgressBar) -> None:
    _ensure_metadata(image, plan)
    options = plan.given("num_threads", "overwrite", "transfer_syntax")
    image.to_dicom_folder(plan.target, progress=bar, **options)


_WRITERS = {
    **dict.fromkeys(DICUBE_TARGETS, _write_dicube),
    TargetKind.NIFTI: _write_nifti,
    TargetKind.DICOM_FILE: _write_dicom_file,
    TargetKind.DICOM_FOLDER: _write_dicom_folder,
}


def _ensure_metadata(image: DicomCubeImage, plan: Plan) -> None:
    """Make the metadata that DICOM needs, unless the image has some."""
    if image.dicom_meta is None:
        image.init_meta(**plan.given("modality"))


def _has_metadata(plan: Plan) -> bool:
    """Return whether the source is a dicube file with DICOM metadata."""
    return plan.source_kind is SourceKind.DICUBE and holds(plan.source, METADATA)


# ------------------------------------------------------------------- frames without decoding


def _copies_frames(plan: Plan) -> bool:
    """Return whether coded frames may go from a dicube file to DICOM without being decoded."""
    name = plan.options.get("transfer_syntax")
    return (
        name is not None
        and plan.target_kind is TargetKind.DICOM_FOLDER
        and plan.options.get("on_error") != "skip"
        and bool(transfer_syntax_of(name).codec)
        and _has_metadata(plan)
    )


def _copy_frames(plan: Plan) -> None:
    """Write DICOM files from a dicube file; frames in another coding are recoded."""
    syntax = transfer_syntax_of(plan.options["transfer_syntax"])
    with ProgressBar(f"writing {plan.target_name}") as bar:
        slices = export_coded(
            plan.source,
            plan.target,
            syntax,
            progress=bar,
            **plan.given("overwrite", "num_threads"),
        )
    print(f"{plan.target_name}: {slices} slices")


# ------------------------------------------------------------------- files without images


def _restores_files(plan: Plan) -> bool:
    """Return whether a dicube file without frames is to be restored to a folder."""
    return plan.target_kind is TargetKind.DICOM_FOLDER and not has_frames(plan.source)


def _restore_files(plan: Plan) -> None:
    if "transfer_syntax" in plan.options:
        raise DataConsistencyError(
            f"--transfer-syntax applies to frames of a volume, and {plan.source_name} has only "
            "whole files, which keep their own"
        )
    with ProgressBar(f"writing {plan.target_name}") as bar:
        paths = restore_files(plan.source, plan.target, progress=bar, **plan.given("overwrite"))
    print(f"{plan.target_name}: {len(paths)} files")


def _store_files(plan: Plan, reasons: Mapping[str, str]) -> None:
    with ProgressBar(f"writing {plan.target_name}") as bar:
        count = store_files(
            _files_of(plan), plan.target, progress=bar, reasons=reasons, **plan.given("series_uid")
        )
    size = size_of(plan.target)
    print(f"{plan.target_name}: {count} files without a volume, {size:,} bytes")


# ------------------------------------------------------------------------------------- output


def _print_result(image: DicomCubeImage, plan: Plan) -> None:
    """Print what was written."""
    result = f"{plan.target_name}: {image.shape[0]} slices"
    if plan.target_kind in (*DICUBE_TARGETS, TargetKind.NIFTI):
        size = size_of(plan.target)
        pixel_size = math.prod(image.shape) * image.dtype.itemsize
        result += f", {size:,} bytes, compression ratio {pixel_size / size:.2f}"
    if plan.options.get("exact") == "always":
        originals = summarize_file(plan.target).originals
        assert originals is not None
        result += f", {size / originals.size:.2f} times the size of its original files"
    print(result)


def _note(text: str) -> None:
    sys.stdout.flush()  # where both go to one file, lines keep their order
    print(f"dicube: {text}", file=sys.stderr)


def _lost_originals(plan: Plan) -> bool:
    """Return whether the source gave its original files and the target, though lossless, can't."""
    return (
        plan.target_kind in (TargetKind.DCBS, TargetKind.DCBA)
        and not _is_lossy(plan)
        and plan.options.get("exact", True)
        and (
            plan.source_kind is SourceKind.DICOM
            or (plan.source_kind is SourceKind.DICUBE and holds(plan.source, ORIGINALS))
        )
        and not holds(plan.target, ORIGINALS)
    )


def _is_lossy(plan: Plan) -> bool:
    """Return whether an option permits losses."""
    return any(plan.given(*_LOSSY_OPTIONS).values())
