"""A sample of the mutations that tests/fuzz/mutations.py makes by the ten thousand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from programs.running import ROOT

from dicube import DicomCubeImage


@pytest.fixture(scope="module")
def mutations() -> Any:
    sys.path.append(str(ROOT / "tests" / "fuzz"))
    import mutations

    return mutations


@pytest.fixture(scope="module")
def files(mutations: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    found: dict[str, bytes] = mutations.good_files(tmp_path_factory.mktemp("files"), 64)
    return found


def test_each_ends_in_an_error_or_in_what_was_written(
    mutations: Any, files: dict[str, bytes]
) -> None:
    found = mutations.survey(files, 0.1, seed=1)
    assert mutations.wrong_results(found) == 0
    assert len(found) == 5
    for counts in found.values():
        assert counts["error"] > 60


@pytest.mark.filterwarnings("ignore")
def test_bad_folders_and_targets_end_in_an_error_or_in_what_the_files_say(
    mutations: Any, tmp_path: Path
) -> None:
    found = mutations.folder_mutations.survey(tmp_path, 5, seed=3)
    assert mutations.folder_mutations.wrong_results(found) == 0, found
    assert {outcome for counts in found.values() for outcome in counts} == {
        *("error", "equal", "what the files say"),
    }


def test_a_folder_that_is_read_wrongly_is_seen(mutations: Any, tmp_path: Path) -> None:
    of_folders = mutations.folder_mutations
    good = of_folders.write_series(tmp_path / "good", of_folders.make_series(3))
    image = DicomCubeImage.from_dicom_folder(good)
    assert not of_folders.what_differs(image, good, "")
    image.raw_image = image.raw_image[::-1] + 1
    assert of_folders.what_differs(image, good, "")
    image = DicomCubeImage.from_dicom_folder([good / "I1", good / "I2"])
    assert of_folders.what_differs(image, good, "") == "wrong: I3 is missing"
    assert not of_folders.what_differs(image, good, "ignored: I3")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self")
def test_neither_memory_nor_handles_leak(
    mutations: Any, files: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    noted = mutations.open_many(files, 1500, seed=2)
    (_, before, handles), (_, after, handles_after) = noted[2], noted[-1]
    assert handles_after == handles
    assert after - before < 8 << 20
    assert capfd.readouterr() == ("", "")


def test_a_published_layout_is_read(
    mutations: Any, files: dict[str, bytes], tmp_path: Path
) -> None:
    from dicube.verify.file_summary import summarize_file

    (tmp_path / "x.dcbs").write_bytes(files["published"])
    assert not summarize_file(tmp_path / "x.dcbs").has_checksums
