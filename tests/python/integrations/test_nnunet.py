"""nnU-Net plans and preprocesses datasets of dicube files as it does those of NIfTI."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.training import (
    AFFINE,
    SERIES,
    UNKNOWN,
    image_of,
    labels,
    library,
    pair_of,
    placed_pair,
    write_labels,
)
from numpy.typing import NDArray
from programs.running import run_python

import dicube
from dicube.exceptions import DataConsistencyError, InvalidCubeFileError

nib = pytest.importorskip("nibabel")
library("nnunetv2")
nnunet = library("dicube.integrations.nnunet")
nibabel_io = library("nnunetv2.imageio.nibabel_reader_writer")

SHAPE = (12, 30, 28)
NAMES = {".nii.gz": "Dataset701_Nifti", ".dcbs": "Dataset702_Dicube"}

# The processes that nnU-Net starts import this program anew, and so register the reader.
PROGRAM = """
from dicube.integrations.nnunet import register

register()

if __name__ == "__main__":
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints, plan_experiments, preprocess,
    )

    for number in NUMBERS:
        extract_fingerprints([number], num_processes=1, check_dataset_integrity=True)
        plans = plan_experiments([number])
        preprocess([number], plans, configurations=["3d_fullres"], num_processes=[1])
"""


def test_nifti_without_slices_has_one(tmp_path: Path) -> None:
    array = np.arange(30, dtype=np.int16).reshape(5, 6)
    pair = pair_of(image_of(array), tmp_path)
    found, properties = nnunet.DicubeIO().read_images([str(pair.dcbs)])
    assert np.array_equal(found, array[np.newaxis, np.newaxis])
    assert properties["spacing"] == [1, 0.5, 0.75]


def channel(case: int, number: int) -> NDArray[Any]:
    """Return stored values with a bright blob."""
    random = np.random.default_rng((case, number))
    z, y, x = np.indices(SHAPE)
    blob = 300 * np.exp(-((z - 6) ** 2 + (y - 12 - case) ** 2 + (x - 14) ** 2) / 40)
    return (blob + random.normal(50, 20, SHAPE)).clip(0).astype(np.int16)


def write_datasets(folder: Path) -> None:
    """Write the same dataset, of three cases with two channels each, as NIfTI and as dicube."""
    for name in NAMES.values():
        for below in ("imagesTr", "labelsTr"):
            (folder / name / below).mkdir(parents=True)
    for case in range(3):
        volumes = {f"imagesTr/case{case}_000{n}": channel(case, n) for n in range(2)}
        inside = channel(case, 0) > 150
        volumes[f"labelsTr/case{case}"] = inside.astype(np.uint8) + (channel(case, 0) > 250)
        affine = AFFINE.copy()
        affine[2, 2] += 0.25 * case
        for file, array in volumes.items():
            image = image_of(array, affine)
            if "images" in file:
                image.pixel_header.RescaleIntercept = -1024.0
            pair = pair_of(image, folder)
            shutil.move(pair.nifti, folder / NAMES[".nii.gz"] / f"{file}.nii.gz")
            shutil.move(pair.dcbs, folder / NAMES[".dcbs"] / f"{file}.dcbs")
    for ending, name in NAMES.items():
        dataset = {
            "channel_names": {"0": "CT", "1": "MR"},
            "labels": {"background": 0, "edge": 1, "core": 2},
            "numTraining": 3,
            "file_ending": ending,
        }
        (folder / name / "dataset.json").write_text(json.dumps(dataset))


def folders(folder: Path) -> dict[str, str]:
    """Make the folders of nnU-Net's variables, and return these."""
    found = {f"nnUNet_{name}": folder / name for name in ("raw", "preprocessed", "results")}
    for made in found.values():
        made.mkdir(exist_ok=True)
    return {name: str(path) for name, path in found.items()} | {"nnUNet_n_proc_DA": "1"}


@pytest.fixture(scope="module")
def preprocessed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders that nnU-Net made of the datasets, by the extension of their files."""
    folder = tmp_path_factory.mktemp("nnunet")
    write_datasets(folder / "raw")
    program = folder / "program.py"
    program.write_text(PROGRAM.replace("NUMBERS", "(701, 702)"))
    result = run_python(program, **folders(folder))
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return {ending: folder / "preprocessed" / name for ending, name in NAMES.items()}


def test_fingerprint_and_plans_are_the_same(preprocessed: dict[str, Path]) -> None:
    def read(folder: Path, name: str) -> Any:
        return json.loads((folder / name).read_text())

    of_nifti, of_dicube = preprocessed.values()
    fingerprints = [read(folder, "dataset_fingerprint.json") for folder in preprocessed.values()]
    assert fingerprints[0] == fingerprints[1]
    plans = [read(folder, "nnUNetPlans.json") for folder in preprocessed.values()]
    for plan in plans:
        del plan["dataset_name"]
    assert plans[0].pop("image_reader_writer") != "DicubeIO"
    assert plans[1].pop("image_reader_writer") == "DicubeIO"
    assert plans[0] == plans[1]
    assert of_nifti != of_dicube


def test_preprocessed_cases_are_the_same(preprocessed: dict[str, Path]) -> None:
    blosc2 = library("blosc2")
    of_nifti, of_dicube = (folder / "nnUNetPlans_3d_fullres" for folder in preprocessed.values())
    names = sorted(path.name for path in of_nifti.iterdir())
    assert names == sorted(path.name for path in of_dicube.iterdir())
    assert len(names) == 9  # image, segmentation and properties of each case
    for name in names:
        if name.endswith(".b2nd"):
            one, other = (blosc2.open(str(f / name), mode="r")[...] for f in (of_nifti, of_dicube))
            assert one.shape[1:] == other.shape[1:]
            assert np.array_equal(one, other)
        else:
            one, other = (pickle.loads((f / name).read_bytes()) for f in (of_nifti, of_dicube))
            assert one["spacing"] == pytest.approx(other["spacing"])
            for key, value in one["class_locations"].items():
                assert np.array_equal(value, other["class_locations"][key])


def test_its_commands_find_a_reader_inside_of_its_package(tmp_path: Path) -> None:
    """Its own processes, which import no program of ours, find what one line there imports."""
    write_datasets(tmp_path / "raw")
    package = Path(library("nnunetv2").__path__[0])
    inside = shutil.copytree(package, tmp_path / "copy" / "nnunetv2") / "imageio" / "dicube_io.py"
    text = nnunet.__doc__
    (line,) = [line for line in text.splitlines() if line.strip().startswith("from dicube")]
    inside.write_text(line.strip() + "\n")
    dataset = tmp_path / "raw" / NAMES[".dcbs"] / "dataset.json"
    (entry,) = [line for line in text.splitlines() if "overwrite_image_reader_writer" in line]
    key, value = entry.split("`")[1].replace('"', "").split(": ")
    dataset.write_text(json.dumps({**json.loads(dataset.read_text()), key: value}))
    command = (
        "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import *;"
        "plan_and_preprocess_entry()"
    )
    arguments = "-d 702 -c 3d_fullres -np 1 -npfp 1 --verify_dataset_integrity".split()
    environment = folders(tmp_path)
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "copy"), *sys.path])
    result = run_python("-c", command, *arguments, **environment)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    made = tmp_path / "preprocessed" / NAMES[".dcbs"] / "nnUNetPlans_3d_fullres"
    assert len(list(made.glob("*.b2nd"))) == 6


# ------------------------------------------------------------------------------------ the reader


@pytest.mark.parametrize("name", SERIES)
def test_images_are_those_of_its_reader_of_nifti(tmp_path: Path, name: str) -> None:
    pair = placed_pair(tmp_path, **SERIES[name])
    ours, our_properties = nnunet.DicubeIO().read_images([str(pair.dcbs)])
    theirs, their_properties = nibabel_io.NibabelIO().read_images([str(pair.nifti)])
    assert ours.dtype == theirs.dtype == np.float32
    assert np.array_equal(ours, theirs)
    assert our_properties["spacing"] == their_properties["spacing"]
    affines = [p["nibabel_stuff"]["original_affine"] for p in (our_properties, their_properties)]
    assert np.array_equal(*affines)


def test_files_and_volumes_become_channels(tmp_path: Path) -> None:
    arrays = [channel(0, number) for number in range(2)]
    names = []
    for number, array in enumerate(arrays):
        names.append(str(tmp_path / f"{number}.dcbs"))
        image_of(array).to_file(names[-1])
    found, properties = nnunet.DicubeIO().read_images(names)
    assert np.array_equal(found, arrays)
    assert properties["spacing"] == [2.5, 0.5, 0.75]
    with pytest.warns(UserWarning, match="2 volumes"):
        image_of(np.stack(arrays)).to_file(tmp_path / "both.dcbs")
    found, properties = nnunet.DicubeIO().read_images([str(tmp_path / "both.dcbs")])
    assert np.array_equal(found, arrays)
    assert properties["spacing"] == [2.5, 0.5, 0.75]


def test_channels_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    names = [str(tmp_path / f"{number}.dcbs") for number in range(4)]
    wider, moved = AFFINE * [2, 1, 1, 1], AFFINE + np.eye(4)[3]
    image_of(channel(0, 0)).to_file(names[0])
    image_of(channel(0, 0)[1:]).to_file(names[1])
    image_of(channel(0, 0), wider).to_file(names[2])
    moved = AFFINE.copy()
    moved[0, 3] += 5
    image_of(channel(0, 0), moved).to_file(names[3])
    for other in names[1:3]:
        with pytest.raises(DataConsistencyError, match="expected the shape"):
            nnunet.DicubeIO().read_images([names[0], other])
    with pytest.warns(UserWarning, match="another affine"):
        nnunet.DicubeIO().read_images([names[0], names[3]])


def test_an_unknown_position_is_warned_of(tmp_path: Path) -> None:
    pair = placed_pair(tmp_path, **UNKNOWN)
    with pytest.warns(UserWarning, match="no voxel positions"):
        found, properties = nnunet.DicubeIO().read_images([str(pair.dcbs)])
    theirs, their_properties = nibabel_io.NibabelIO().read_images([str(pair.nifti)])
    assert np.array_equal(found, theirs)
    assert properties["spacing"] == their_properties["spacing"]


@pytest.mark.parametrize("extension", nnunet.DicubeIO.supported_file_endings[:2])
@pytest.mark.parametrize("tilt", [0, 0.3])
@pytest.mark.filterwarnings("ignore:.*space is None")
def test_segmentations_are_written_and_read(tmp_path: Path, extension: str, tilt: float) -> None:
    pair = placed_pair(tmp_path, "oblique", tilt=tilt)
    reader = nnunet.DicubeIO()
    images, properties = reader.read_images([str(pair.dcbs)])
    written = 2 * np.arange(images[0].size).reshape(images[0].shape) % 300
    target = str(tmp_path / f"seg{extension}")
    reader.write_seg(written, target, properties)
    with dicube.open(target) as cube:
        assert cube.dtype == np.uint16
        assert np.array_equal(cube, written)
        assert np.allclose(cube.affine, dicube.open(pair.dcbs).affine, atol=1e-5)
    found, of_found = reader.read_seg(target)
    assert np.array_equal(found[0], written)
    assert np.allclose(of_found["spacing"], properties["spacing"])


@pytest.mark.parametrize(("most", "dtype"), [(1, "uint8"), (255, "uint8"), (70000, "uint32")])
def test_segmentations_take_the_smallest_type(tmp_path: Path, most: int, dtype: str) -> None:
    properties = {"nibabel_stuff": {"original_affine": AFFINE}}
    seg = np.full((2, 3, 4), most)
    nnunet.DicubeIO().write_seg(seg, str(tmp_path / "seg.dcbs"), properties)
    assert dicube.open(tmp_path / "seg.dcbs").dtype == dtype


def test_a_label_that_would_be_rounded_is_an_error(tmp_path: Path) -> None:
    array = labels(SHAPE, "int32")
    path = write_labels(tmp_path / "labels.dcbs", array)
    with pytest.raises(DataConsistencyError, match="labels below 16777216, found 2147483648"):
        nnunet.DicubeIO().read_seg(str(path))
    array[array > 2] = (1 << 24) - 1
    write_labels(path, array)
    assert np.array_equal(nnunet.DicubeIO().read_seg(str(path))[0][0], array)


def test_what_is_no_dicube_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.dcbs").write_bytes(b"DCMCUBES and no more")
    with pytest.raises(InvalidCubeFileError):
        nnunet.DicubeIO().read_images([str(tmp_path / "a.dcbs")])
