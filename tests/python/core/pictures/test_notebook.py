"""What notebooks show of cubes and images: planes and a table, escaped, without the patient."""

from __future__ import annotations

import base64
import io
import re
import sys
import warnings
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import make_series, write_series
from inputs.example_files import write_example_files

import dicube
from dicube import Cube, DicomCubeImage, DicomStatus
from dicube.core.pictures.drawing import mid_planes
from dicube.storage.dcb_reader import DcbReader


class Page(HTMLParser):
    """The tags, pictures and texts of a page; the parser resolves escapes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pictures: list[bytes] = []
        self.texts: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        source = dict(attrs).get("src")
        if source:
            assert source.startswith("data:image/png;base64,")
            self.pictures.append(base64.b64decode(source.partition(",")[2]))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def table(self) -> dict[str, str]:
        texts = self.texts[-2 * self.tags.count("th") :]
        return dict(zip(texts[::2], texts[1::2], strict=True))


def page_of(shown: Any) -> Page:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Page(shown._repr_html_())


def series(**elements: Any) -> list[Any]:
    datasets = make_series(4, shape=(24, 20))
    for dataset in datasets:
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
    return datasets


def stored(folder: Path, name: str = "x.dcbs", **elements: Any) -> Path:
    DicomCubeImage.from_dicom_folder(series(**elements)).to_file(folder / name)
    return folder / name


def test_a_cube_shows_planes_and_facts(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = stored(tmp_path, BodyPartExamined="HEAD")
    with dicube.open(path) as cube:
        page = page_of(cube)
        assert page_of(cube.at_level(1)).table["level"] == "1"
    assert page.table == {
        "file": "x.dcbs",
        "codec": "HTJ2K",
        "shape": "4 x 24 x 20 uint16, 0.0 MB",
        "spacing": "2.5, 0.5, 0.75 mm (slice, row, column)",
        "modality": "CT",
        "series": "synthetic",
        "body part": "HEAD",
        "status": "consistent",
    }
    assert page.texts[:3] == ["axial, 2", "coronal, 12", "sagittal, 10"]
    sizes = []
    for data in page.pictures:
        with image.open(io.BytesIO(data)) as picture:
            sizes.append(picture.size)
    assert sizes == [(256, 205), (256, 171), (205, 171)]


def test_an_image_shows_the_same(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    path = stored(tmp_path)
    image = DicomCubeImage.from_dicom_folder(write_series(tmp_path / "series", series()))
    with dicube.open(path) as cube:
        wanted = page_of(cube)
    for one in (image, DicomCubeImage.from_file(path)):
        page = page_of(one)
        assert page.pictures == wanted.pictures
        assert page.table == {k: v for k, v in wanted.table.items() if k not in ("file", "codec")}
    assert image.why_not_exact() == ""


def test_showing_an_image_decodes_a_few_slices_and_keeps_none(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    volume = np.zeros((600, 16, 16), np.int16)
    volume[300] = 7
    DicomCubeImage(volume).to_file(tmp_path / "x.dcbs")
    image = DicomCubeImage.from_file(tmp_path / "x.dcbs", dtype="float32")
    assert len(page_of(image).pictures) == 3
    assert image._pixels.held is None
    assert np.array_equal(image.get_fdata(), volume)


def test_metadata_are_escaped(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror='a()'>\"&amp;"
    with pytest.warns(UserWarning, match="Invalid value for VR CS"):
        path = stored(tmp_path, "a<b>&'.dcbs", SeriesDescription=hostile, Modality="<i>")
    for shown in (dicube.open(path), DicomCubeImage.from_file(path)):
        page = page_of(shown)
        assert not {"script", "i", "b"} & {*page.tags}
        assert page.attributes <= {"style", "alt", "width", "height", "src"}
        assert page.table["series"] == hostile
        assert page.table["modality"] == "<i>"
        assert page.tags.count("img") == len(page.pictures)
    assert page_of(dicube.open(path)).table["file"] == "a<b>&'.dcbs"


def test_long_texts_and_control_characters(tmp_path: Path) -> None:
    image = DicomCubeImage.from_dicom_folder(series())
    assert image.dicom_meta is not None
    image.dicom_meta.set_shared_item("SpecificCharacterSet", "ISO_IR 192")
    image.dicom_meta.set_shared_item("SeriesDescription", "a\x1b[31m\u202eb" + "x" * 5000)
    text = page_of(image).table["series"]
    assert text.startswith("a\ufffd[31m\ufffdbx") and len(text) < 300


@pytest.mark.parametrize(
    "elements",
    [
        {"PatientName": "MÜLLER^Anna", "SeriesDescription": "Head of Müller, Anna"},
        {"PatientName": "MÜLLER^Anna", "SeriesDescription": "head mueller_ANNA"},
        {"PatientID": "P4711", "SeriesDescription": "p4711 head"},
    ],
)
def test_nothing_names_the_patient(elements: dict[str, str], tmp_path: Path) -> None:
    patient = {"PatientBirthDate": "19521224", "StudyDate": "20240101", "AccessionNumber": "A993"}
    (tmp_path / "MÜLLER").mkdir()
    datasets = series(SpecificCharacterSet="ISO_IR 192", **patient, **elements)
    image = DicomCubeImage.from_dicom_folder(datasets)
    image.to_file(tmp_path / "MÜLLER" / "x.dcbs")
    image.to_file(tmp_path / "MÜLLER" / "anna-p4711.dcbs")
    for shown in (image, *map(dicube.open, (tmp_path / "MÜLLER").iterdir())):
        text = re.sub("base64,[^']*", "", shown._repr_html_()).casefold()
        for word in ("müller", "anna", "4711", "1952", "2024", "a993"):
            assert word not in text
        assert "not shown: it names the patient" in text


def test_a_status_and_the_pictures_of_an_inconsistent_series() -> None:
    datasets = series()
    datasets[2].ImagePositionPatient = [0, 0, 90]
    with pytest.warns(UserWarning, match="space is None"):
        image = DicomCubeImage.from_dicom_folder(datasets)
    page = page_of(image)
    assert page.table["status"] == image.dicom_status.value != DicomStatus.CONSISTENT.value
    assert page.table["spacing"] == "unknown"


def test_reading_errors_are_texts(tmp_path: Path) -> None:
    """Damage anywhere behind the front of a file: never an exception."""
    path = stored(tmp_path)
    data = path.read_bytes()
    seen: set[str] = set()
    for place in range(200, len(data), max(len(data) // 40, 1)):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        (tmp_path / "d.dcbs").write_bytes(damaged)
        for on_error in ("raise", "skip"):
            try:
                cube = dicube.open(tmp_path / "d.dcbs", on_error=on_error)
            except dicube.exceptions.DicomCubeError:
                continue
            page = page_of(cube)
            assert page.table["shape"].startswith("4 x 24 x 20")
            rows = page.texts[-2 * page.tags.count("th") :]
            texts = [text for title, text in pairwise(rows) if title == "problem"]
            assert len({*texts}) == len(texts)
            seen |= {text.partition(":")[0] for text in texts}
            assert str(tmp_path) not in "".join(page.texts)
    assert {"pictures", "metadata", "geometry"} <= seen


def test_warnings_are_texts_too() -> None:
    pytest.importorskip("PIL")
    image = DicomCubeImage.from_dicom_folder(series())
    assert image.dicom_meta is not None
    image.dicom_meta.set_shared_item("PhotometricInterpretation", "MONOCHROME1")
    image.dicom_meta.set_nonshared_item("RescaleSlope", ["1", "2,5", "1", "1"], "LO")
    page = page_of(image)
    assert len(page.pictures) == 3
    assert "slices are unknown (NaN)" in page.table["problem"]


def test_damaged_slices_of_an_image_are_black(tmp_path: Path) -> None:
    volume = np.full((3, 30, 30), 5, np.uint8)
    header = dicube.PixelDataHeader(1, 100, WindowCenter=50.0, WindowWidth=90.0)
    DicomCubeImage(volume, header).to_file(tmp_path / "x.dcbs")
    data = bytearray((tmp_path / "x.dcbs").read_bytes())
    with DcbReader(tmp_path / "x.dcbs") as reader:
        data[reader.coded_range(1)[0]] ^= 0xFF
    (tmp_path / "x.dcbs").write_bytes(data)
    with pytest.warns(UserWarning, match="damaged: frames 1"):
        image = DicomCubeImage.from_file(tmp_path / "x.dcbs", on_error="skip")
    middle, row, _ = mid_planes(image._picture_source(), 30)
    assert not middle.pixels.any()
    assert row.pixels[:, 0].tolist() == [255, 0, 255]


def test_a_closed_cube_is_no_exception(tmp_path: Path) -> None:
    cube = dicube.open(stored(tmp_path))
    cube.close()
    page = page_of(cube)
    assert page.table["note"] == "the file is closed"
    assert page.table["shape"].startswith("4 x 24 x 20")


def test_errors_of_any_kind_are_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Cube, "dicom_meta", property(fail))
    page = page_of(dicube.open(stored(tmp_path)))
    assert "secret" not in "".join(page.texts)
    assert "RuntimeError" in page.table["problem"]


def test_without_pillow_there_is_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    page = page_of(dicube.open(stored(tmp_path)))
    assert not page.pictures and "figure" not in page.tags
    assert page.table["modality"] == "CT"
    assert page.table["problem"] == (
        "pictures: drawing needs the package Pillow (pip install 'dicube[notebook]')"
    )


def test_a_notebook_shows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real kernel runs cells that end in a cube, an image and a view."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for package in ("ipykernel", "ipyniivue", "nibabel", "PIL"):
        pytest.importorskip(package)
    write_example_files(tmp_path)
    package = Path(dicube.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", str(package))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    cells = (
        "import dicube\ncube = dicube.open('head.dcbs')\ncube",
        "image = dicube.DicomCubeImage.from_file('head.dcbs')\nimage",
        "cube.view(height=333)",
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the kernel's sockets
        nbclient.NotebookClient(
            book,
            timeout=120,
            kernel_name="python3",
            resources={"metadata": {"path": str(tmp_path)}},
        ).execute()
    outputs = [cell.outputs[-1].data for cell in book.cells]
    for data in outputs[:2]:
        assert "<img" in data["text/html"] and data["text/plain"].startswith("<")
    model = outputs[2]["application/vnd.jupyter.widget-view+json"]["model_id"]
    state = book.metadata.widgets["application/vnd.jupyter.widget-state+json"].state
    assert state[model].state["height"] == 333
    assert len(state[model].state["volumes"]) == 1
