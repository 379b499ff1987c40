"""Code written for the published package, dicube 0.3.0, runs unchanged.

Its public names can be imported. The real package, where PyPI is in reach, shows that the list of
names is complete and that parameters and results are the same. Differences are listed here, with
the reason, and are tested to exist; the README says what callers have to do about them.
"""

from __future__ import annotations

import json
import re
import subprocess
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from inputs.dicom_series import make_series, write_series
from programs.running import PROGRAMS, run_published, run_python

import dicube

# The modules of 0.3.0 with the names that can be imported from them, but for those of LEFT_OUT.
PUBLIC_NAMES = {
    "dicube": (
        "CommonTags DicomCubeImage DicomCubeImageIO DicomMeta DicomStatus SortMethod "
        "get_dicom_status get_num_threads load load_from_dicom_folder load_from_nifti load_meta "
        "save save_to_dicom_folder save_to_nifti set_num_threads"
    ),
    "dicube.codecs": "ImageCodec get_codec is_codec_available list_codecs register_codec",
    "dicube.codecs.jph": "JphCodec",
    "dicube.codecs.jph.codec": "JphCodec",
    "dicube.core": "DicomCubeImage DicomCubeImageIO PixelDataHeader",
    "dicube.core.image": "DicomCubeImage",
    "dicube.core.io": "DicomCubeImageIO",
    "dicube.core.pixel_header": "PixelDataHeader",
    "dicube.dicom": (
        "CommonTags DcbStreamingReader DicomMeta DicomStatus SortMethod get_dicom_status "
        "get_space_from_DicomMeta"
    ),
    "dicube.dicom.dcb_streaming": "DcbStreamingReader",
    "dicube.dicom.dicom_builder": (
        "DicomBuilder create_file_meta ensure_required_tags save_dicom set_pixel_data_attributes"
    ),
    "dicube.dicom.dicom_meta": "DicomMeta SortMethod",
    "dicube.dicom.dicom_status": "DicomStatus get_dicom_status",
    "dicube.dicom.dicom_tags": "CommonTags get_tag_key",
    "dicube.dicom.merge_utils": "",
    "dicube.dicom.space_from_meta": "get_space_from_DicomMeta",
    "dicube.exceptions": (
        "CodecError DataConsistencyError DicomCubeError InvalidCubeFileError MetaDataError"
    ),
    "dicube.storage": "DcbFile DcbSFile",
    "dicube.storage.dcb_file": "DcbAFile DcbFile DcbLFile DcbSFile",
    "dicube.storage.pixel_utils": (
        "convert_to_minimal_int derive_pixel_header_from_array determine_optimal_nifti_dtype "
        "get_float_data is_lossless_int_convertible"
    ),
    "dicube.validation": (
        "validate_array_shape validate_file_exists validate_folder_exists validate_not_none "
        "validate_numeric_range validate_parameter_type validate_shape_consistency "
        "validate_string_not_empty"
    ),
}

# Public names that are not here.
LEFT_OUT = {
    "dicube.utils": "empty",
    "dicube.codecs.jph.ojph_complete": "compiled, behind JphCodec",
    "dicube.codecs.jph.ojph_decode_complete": "compiled, behind JphCodec",
    "dicube.core.io.prepare_output_dir": "deletes a folder with all that is in it",
    "dicube.dicom.dicom_status.calculate_average_z_gap": "part of a check that is made otherwise",
}

# Parameters that have other defaults.
OTHER_DEFAULTS = {
    "DicomCubeImage(pixel_header)": "may be left out: no rescale",
    "DicomCubeImage(dicom_status)": "None: the status that the metadata have",
    "derive_pixel_header_from_array(preferred_dtype)": "None: fractions are kept, not rounded",
}

# Calls in published_calls.py that give something else.
OTHER_RESULTS = {
    "half_precision": "slope and intercept are applied in float64, and rounded once",
    "init_meta": "there the slice axis is taken for the column axis",
    "init_meta_positions": "there the slice axis is taken for the column axis",
    "dicom_of_an_image_without_metadata": "there the slice axis is taken for the column axis",
    "status_and_space": "one more status: unreadable_rescale",
    "damaged_codestream": "a CodecError; there a RuntimeError",
    "image_without_a_header": "no rescale; there an error",
    "a_name_set_as_text": "in components, like names that were read; there the text",
    "an_empty_series_uid": "means missing; there a UID",
    "nifti_without_space": "a file without position, and a warning; there an error",
    "dataset_of_values_beyond_the_dtype": "an error; there they wrap around",
    "file_in_an_unknown_transfer_syntax": "a DataConsistencyError; there a ValueError",
    "class_of_another_modality": "Secondary Capture; there CT",
    "metadata": "group 2 too, so that it can be removed with all others",
}


def json_of(told: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found


@pytest.mark.parametrize("module", PUBLIC_NAMES)
def test_public_names_can_be_imported(module: str) -> None:
    """In a process of its own: modules that import each other may depend on which comes first."""
    code = f"import {module} as module, sys; [getattr(module, name) for name in sys.argv[1:]]"
    told = run_python("-c", code, *PUBLIC_NAMES[module].split())
    assert told.returncode == 0, told.stderr


@pytest.mark.interop
def test_every_public_name_and_parameter(published_python: Path, tmp_path: Path) -> None:
    published = json_of(run_published(published_python, PROGRAMS / "public_names.py"))
    (tmp_path / "names.json").write_text(json.dumps(published))
    ours = json_of(run_python(PROGRAMS / "public_names.py", tmp_path / "names.json"))
    assert {
        module: " ".join(sorted(name for name in names if f"{module}.{name}" not in LEFT_OUT))
        for module, names in published.items()
        if module not in LEFT_OUT
    } == PUBLIC_NAMES
    missing, other_defaults = set(), set()
    for module, names in published.items():
        if ours[module] is None:
            missing.add(module)
            continue
        for name, members in names.items():
            found = ours[module][name]
            if found is None:
                missing.add(f"{module}.{name}")
                continue
            for member, parameters in members.items():
                place = f"{name}.{member}".removesuffix(".")
                assert member in found, f"{module}.{place}"
                wanted = [one for one in parameters if one[1] != "VAR_KEYWORD"]
                first, rest = found[member][: len(wanted)], found[member][len(wanted) :]
                # By position and by name; and what is new may be left out.
                assert [one[:2] for one in first] == [one[:2] for one in wanted], place
                assert all(default or kind[:3] == "VAR" for _, kind, default in rest), place
                for (one, _, default), (_, _, published_default) in zip(first, wanted, strict=True):
                    if default != published_default:
                        other_defaults.add(f"{place}({one})")
    assert missing == set(LEFT_OUT)
    assert other_defaults == set(OTHER_DEFAULTS)


@pytest.mark.interop
def test_every_call_gives_the_same(published_python: Path, tmp_path: Path) -> None:
    told = {}
    for package in ("published", "ours"):
        series = make_series(4, shape=(48, 40))
        for dataset in series:
            dataset.RescaleIntercept = 0
        write_series(tmp_path / package / "series", series)
        script = PROGRAMS / "published_calls.py", tmp_path / package
        if package == "ours":
            told[package] = json_of(run_python(*script))
        else:
            told[package] = json_of(run_published(published_python, *script))
    differing = set()
    for name, wanted in told["published"].items():
        found = told["ours"][name]
        if isinstance(wanted, dict) and "raises" in wanted:
            same = isinstance(found, dict) and wanted["raises"][0] in found.get("raises", ())
        else:
            same = found == wanted
        if not same:
            differing.add(name)
            print(name, wanted, found, sep="\n")
    assert differing == set(OTHER_RESULTS)


@pytest.mark.interop
def test_the_published_readme_runs(
    published_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = run_published(published_python, "-c", README)
    assert told.returncode == 0, told.stderr
    blocks = re.findall(r"```python\n(.*?)```", told.stdout, re.DOTALL)
    assert len(blocks) == 5
    monkeypatch.chdir(tmp_path)
    for folder in ("path/to/dicom", "dicom_folder", "dicom"):
        write_series(tmp_path / folder, make_series(3))
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), "image.nii.gz")
    dicube.save(dicube.load_from_dicom_folder("dicom"), "scan.dcbs")
    (tmp_path / "corrupted.dcbs").write_bytes(b"corrupted")
    names: dict[str, Any] = {}
    for block in blocks:
        if "warp_image" in block:  # which spacetransformer does not have
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # metadata are made for the NIfTI image
            exec(block, names)
    assert names["patient_name"] == {"Alphabetic": "DOE^JOHN"}
    assert len(names["positions"]) == 3
    assert names["is_uniform_spacing"] is True
    exported = sorted(path.name for path in (tmp_path / "output_dicom").iterdir())
    assert exported == [f"slice_{index:04d}.dcm" for index in range(6)]


README = "import importlib.metadata; print(importlib.metadata.metadata('dicube').get_payload())"
