"""strict_json: what is written is JSON to every parser, NaN and infinities included."""

from __future__ import annotations

import json
import math
import random
import subprocess
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs.dicom_series import make_series, write_series
from programs.running import needs

from dicube import DicomCubeImage, DicomMeta, PixelDataHeader, load_meta, strict_json
from dicube.cli import main
from dicube.dicom.merge_utils import restore_not_finite
from dicube.exceptions import DataConsistencyError, InvalidCubeFileError, OutOfMemoryError
from dicube.storage import DcbReader, DcbWriter
from dicube.storage.packed_text import pack_text, unpack_text
from dicube.strict_json import (
    check_json_memory,
    dump_json,
    json_memory,
    least_packed,
    parse_json,
    without_long_objects,
)

NUMBERS = [math.nan, math.inf, -math.inf, 1.5]


def refused(word: str) -> Any:
    """Fail as a parser does that takes JSON alone."""
    raise ValueError(f"{word} is no JSON")


def parsed(text: str | bytes) -> Any:
    """Parse as JSON and nothing else."""
    return json.loads(text, parse_constant=refused)


def test_numbers_that_json_lacks_are_strings() -> None:
    assert parsed(dump_json({"a": [NUMBERS], "b": "NaN"})) == {
        "a": [["NaN", "Infinity", "-Infinity", 1.5]],
        "b": "NaN",
    }
    assert dump_json({"a": [1, 0.1, None, "é"]}) == json.dumps({"a": [1, 0.1, None, "é"]})
    with pytest.raises(ValueError, match="Circular"):
        circle: list[Any] = []
        circle.append(circle)
        dump_json(circle)


def test_bare_words_of_earlier_files_are_read() -> None:
    found = parse_json("[NaN, Infinity, -Infinity]")
    assert str(found) == "[nan, inf, -inf]"


class TestPixelHeader:
    def test_there_and_back(self) -> None:
        header = PixelDataHeader(
            RescaleSlope=np.float32("nan"),  # type: ignore[arg-type]
            WindowCenter=math.inf,
            MaxVal=-math.inf,
            Extras={"Note": "NaN", "Scale": math.inf},
        )
        text = header.to_json()
        assert parsed(text)["WindowCenter"] == "Infinity"
        again = PixelDataHeader.from_json(text)
        assert math.isnan(again.RescaleSlope)
        assert (again.WindowCenter, again.MaxVal) == (math.inf, -math.inf)
        assert again.Extras["Note"] == "NaN"
        earlier = PixelDataHeader.from_json(
            '{"RescaleSlope": NaN, "WindowCenter": Infinity, "MaxVal": -Infinity}'
        )
        assert math.isnan(earlier.RescaleSlope)
        assert (earlier.WindowCenter, earlier.MaxVal) == (math.inf, -math.inf)

    def test_other_texts_are_no_numbers(self) -> None:
        for text in ("nan", "inf", "1.0", ""):
            with pytest.raises(ValueError, match="WindowCenter can't be"):
                PixelDataHeader.from_json(json.dumps({"WindowCenter": text}))
            with pytest.raises(DataConsistencyError):
                PixelDataHeader(WindowCenter=text).to_json()  # type: ignore[arg-type]


def with_numbers(folder: Path) -> Path:
    """Write a series with such numbers: shared, per slice, in sequences; and texts like them."""
    series = make_series(4)
    for number, dataset in zip(NUMBERS, series, strict=True):
        dataset.add_new(0x00089459, "FL", number)
        dataset.add_new(0x00189328, "FD", [1.0, -math.inf, number])
        dataset.add_new(0x00189440, "SQ", [dataset_of(number)])
        dataset.SeriesDescription = "NaN"
        dataset.ImageComments = str(number)
        with warnings.catch_warnings():  # pydicom's, as this is no decimal string
            warnings.simplefilter("ignore")
            dataset.add_new(0x00180050, "DS", "NaN")
    return write_series(folder, series)


def dataset_of(number: float) -> Any:
    item = make_series(1)[0]
    del item.PixelData
    item.add_new(0x00089459, "FL", number)
    item.PatientComments = "-Infinity"
    return item


def test_metadata(tmp_path: Path) -> None:
    with_numbers(tmp_path / "in")
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.to_file(tmp_path / "x.dcbs")
    assert image.dicom_meta is not None
    text = image.dicom_meta.to_json()
    entries = parsed(text)["_merged_data"]
    assert entries["00089459"]["Value"] == ["NaN", "Infinity", "-Infinity", 1.5]
    # Earlier files have the bare words.
    document = json.loads(text)
    restore_not_finite(document)
    earlier = json.dumps(document)
    assert "[1.0, -Infinity, NaN]" in earlier
    again = DicomCubeImage.from_file(tmp_path / "x.dcbs")
    for meta in (again.dicom_meta, DicomMeta.from_json(text), DicomMeta.from_json(earlier)):
        assert meta is not None
        assert meta == image.dicom_meta
        assert str(meta.get("RecommendedDisplayFrameRateInFloat", force_nonshared=True)) == str(
            NUMBERS
        )
        values = meta.get("00189328", force_nonshared=True)
        assert str(values[0]) == "[1.0, -inf, nan]"
        assert meta.get("SeriesDescription") == "NaN"
        assert meta.get("ImageComments", force_nonshared=True) == ["nan", "inf", "-inf", "1.5"]
        assert meta.get("SliceThickness") == "NaN"
    assert again.why_not_exact() == ""
    again.to_dicom_folder(tmp_path / "new", exact=False)
    remade = DicomCubeImage.from_dicom_folder(tmp_path / "new").dicom_meta
    assert remade is not None
    assert str(remade.get("00189328", force_nonshared=True)) == str(
        image.dicom_meta.get("00189328", force_nonshared=True)
    )


def test_every_json_section_and_output_is_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (node,) = needs("node")
    with_numbers(tmp_path / "in")
    image = DicomCubeImage.from_dicom_folder(tmp_path / "in")
    image.pixel_header.MinVal = math.nan
    image.pixel_header.RescaleIntercept = math.inf
    path = tmp_path / "x.dcbr"
    image.to_file(path, roi=np.indices(image.shape)[1] < 2, background=math.inf)
    with DcbReader(path) as reader:
        texts = [reader.sections[name].decode() for name in ("space", "pixel_header", "loss")]
        texts.append(unpack_text(reader.sections["dicom_meta"]))
    for arguments in (["info", "--json", str(path)], ["verify", "--json", str(path)]):
        capsys.readouterr()
        main(arguments)
        texts.append(capsys.readouterr().out)
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.json").write_text(text)
    script = "process.argv.slice(1).forEach(f => JSON.parse(require('fs').readFileSync(f)))"
    files = [str(tmp_path / f"{number}.json") for number in range(len(texts))]
    done = subprocess.run([node, "-e", script, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "[" + ",".join(["{}"] * 20000) + "]",
        "[" + ",".join(["[]"] * 20000) + "]",
        "[" + ",".join(['{"a":1}'] * 20000) + "]",
        "[" + ",".join(["[1.5]"] * 20000) + "]",
        "[" + ",".join(["1000.5"] * 20000) + "]",
        "[" + ",".join(["1000"] * 20000) + "]",
        "[" + ",".join(['"ab"'] * 20000) + "]",
        "[" * 900 + "]" * 900,
        "{" + ",".join(f'"{i:x}":0' for i in range(20000)) + "}",
        '["' + "\U0001f600" * 20000 + '"]',
    ],
)
def test_estimated_memory_is_no_less_than_what_parsing_takes(text: str) -> None:
    data = text.encode()
    tracemalloc.start()
    found = parse_json(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found
    assert peak <= json_memory(data) + (64 << 10)


@pytest.mark.parametrize("byte", [bytes([code]) for code in range(256)])
def test_most_that_a_byte_counts(byte: bytes) -> None:
    """Short JSON isn't counted, because it can't take more than this."""
    assert json_memory(byte * 100) <= strict_json._MOST_PER_BYTE * 100


def test_json_that_takes_too_much_memory_is_refused() -> None:
    data = b"[" + b",".join([b"{}"] * 3_000_000) + b"]"
    with pytest.raises(InvalidCubeFileError, match="1000 packed bytes may take 268435456"):
        check_json_memory(data, 1000, None)
    with pytest.raises(OutOfMemoryError, match="max_memory is 67108864"):
        check_json_memory(data, len(data), 64 << 20)
    check_json_memory(data, least_packed(data), None)
    assert len(pack_text(data.decode(), least_packed(data))) >= least_packed(data) > 0
    assert unpack_text(pack_text("{}", 1000)) == "{}"
    assert least_packed(b"{}") == 0


def test_small_file_with_metadata_of_many_objects_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "in", make_series())
    path = tmp_path / "x.dcbs"
    DicomCubeImage.from_dicom_folder(tmp_path / "in").to_file(path)
    with DcbReader(path) as reader:
        sections = {name: reader.sections[name] for name in ("dicom_meta", "pixel_header")}
        volume = reader.read_frames()
    text = unpack_text(sections["dicom_meta"])
    for count, most, told in ((1 << 20, 64 << 20, "max_memory"), (5 << 20, None, "may take")):
        hostile = '{"x":[' + ",".join(["{}"] * count) + "]," + text[1:]
        with DcbWriter(tmp_path / "y.dcbs", volume.shape, volume.dtype) as writer:
            writer.write_section("dicom_meta", pack_text(hostile))
            writer.write_section("pixel_header", sections["pixel_header"])
            writer.write_frames(volume)
        with pytest.raises(InvalidCubeFileError, match=f"section dicom_meta: .*{told}"):
            load_meta(tmp_path / "y.dcbs", max_memory=most)


def random_json(chance: random.Random, depth: int) -> Any:
    """Return a document whose texts have everything that JSON's own characters could hide in."""
    if depth == 0 or chance.random() < 0.2:
        texts = "".join(chance.choices('"\\\\[]{}:,\n\u00e9 a0', k=chance.randrange(12)))
        return chance.choice([texts, texts, texts + "\\", 1.5, None, True])
    members = [random_json(chance, depth - 1) for _ in range(chance.randrange(5))]
    if chance.random() < 0.5:
        return members
    return {f'{chance.choice(["", "}", "{"])}{i}"\\': one for i, one in enumerate(members)}


def test_long_objects_are_left_out() -> None:
    chance, found = random.Random(1), 0
    for _ in range(600):
        document, is_ascii, expected = random_json(chance, 6), chance.random() < 0.5, []

        def cut(node: Any, depth: int, is_ascii: bool = is_ascii, to: Any = expected) -> Any:
            if depth == 3 and isinstance(node, dict):
                text = json.dumps(node, ensure_ascii=is_ascii).encode()
                if len(text) > 30:
                    to.append(text)
                    return None
            if isinstance(node, list):
                return [cut(one, depth + 1) for one in node]
            if isinstance(node, dict):
                return {key: cut(one, depth + 1) for key, one in node.items()}
            return node

        shorter = cut(document, 1)
        rest, left_out = without_long_objects(
            json.dumps(document, ensure_ascii=is_ascii).encode(), depth=3, longest=30
        )
        assert left_out == expected
        assert parse_json(rest) == shorter
        found += len(left_out)
    assert found > 300
    assert without_long_objects(b'[{"a": 1}, {"a": 12}]', 2, 8) == (
        b'[{"a": 1}, null]',
        [b'{"a": 12}'],
    )


def test_text_that_is_no_json_has_no_long_objects_or_wrong_ones() -> None:
    chance = random.Random(2)
    for size in (0, 1, 2, 50, 500):
        for _ in range(200):
            text = bytes(chance.choices(b'"\\[]{}', k=size))
            rest, left_out = without_long_objects(text, 2, 3)
            assert len(rest) == size - sum(len(one) - 4 for one in left_out)


def test_repeated_key_among_many_is_named() -> None:
    keys = ",".join(f'"{i}":0' for i in range(200_000))
    with pytest.raises(ValueError, match="a key of 6 characters occurs twice"):
        parse_json("{" + keys + ',"199999":0}')
