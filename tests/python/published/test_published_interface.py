"""Code written for the published package, dicube 0.3.0, runs unchanged: against the real one.

What differs is listed here, with the reason, and is tested to differ. What a caller has to do about
it stands in the README.
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

pytestmark = pytest.mark.interop


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
    "damaged_codestream": "a CodecError; there a RuntimeError",
}


def json_of(told: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def test_every_public_name_and_parameter(published_python: Path, tmp_path: Path) -> None:
    published = json_of(run_published(published_python, PROGRAMS / "public_names.py"))
    (tmp_path / "names.json").write_text(json.dumps(published))
    ours = json_of(run_python(PROGRAMS / "public_names.py", tmp_path / "names.json"))
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
