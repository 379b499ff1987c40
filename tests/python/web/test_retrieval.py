"""Retrieval by WADO-RS: bytes of files, metadata, frames and bulk data, in what clients accept."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("sqlalchemy")

from inputs.dicom_series import write_series
from inputs.series_trees import STUDY, add, series_of
from inputs.served import (
    ANY,
    COLOURS,
    ENHANCED,
    EXPLICIT,
    GREY,
    HTJ2K,
    HTJ2K_RPCL,
    IMPLICIT,
    IMPLICIT_SERIES,
    JPEG_XL,
    NEW,
    SHAPE,
    SIGNED,
    WITH_SCOUT,
    client_of,
    originals_of,
    parts_of,
    path_of,
)
from pydicom import dcmread
from pydicom.dataset import Dataset

import dicube
from dicube import Archive
from dicube.codecs import get_codec
from dicube.codecs.codestream import probe
from dicube.dicom.originals.comparison import instance_differences

OCTETS = "application/octet-stream"


@pytest.fixture(scope="module")
def client(made: Path) -> Iterator[Any]:
    with client_of(made / "archive") as client:
        yield client


@pytest.fixture(scope="module")
def originals(made: Path) -> dict[str, Dataset]:
    return originals_of(made / "tree")


def of(originals: dict[str, Dataset], study: int, series: int, instance: int) -> Dataset:
    return originals[f"{STUDY}.{study}.{series}.{instance}"]


def accept(media_type: str, syntax: str = "") -> dict[str, str]:
    """Return the header with which a client asks for parts of a media type."""
    more = f"; transfer-syntax={syntax}" if syntax else ""
    return {"Accept": f'multipart/related; type="{media_type}"{more}'}


# --------------------------------------------------------------------------------- DICOM files


@pytest.mark.parametrize(
    ("study", "series", "count"),
    [
        (1, GREY, 3),
        (1, SIGNED, 4),
        (1, COLOURS, 2),
        (1, ENHANCED, 1),
        (1, WITH_SCOUT, 3),
        (2, 1, 2),
    ],
)
def test_any_transfer_syntax_gives_the_original_bytes(
    client: Any, made: Path, study: int, series: int, count: int
) -> None:
    every = {path.read_bytes() for path in (made / "tree").rglob("*") if path.is_file()}
    path = path_of(study, series)
    parts = parts_of(client.get(path, headers=accept("application/dicom", ANY)))
    assert len({content for _, content in parts}) == count
    assert {content for _, content in parts} <= every
    for kind, content in parts:
        syntax = dcmread(io.BytesIO(content)).file_meta.TransferSyntaxUID
        assert kind == f"application/dicom; transfer-syntax={syntax}"


def test_a_study_is_all_its_files(client: Any, originals: dict[str, Dataset]) -> None:
    url = f"/dicom-web/studies/{STUDY}.1"
    parts = parts_of(client.get(url, headers=accept("application/dicom", ANY)))
    found = {str(dcmread(io.BytesIO(content)).SOPInstanceUID) for _, content in parts}
    assert found == {uid for uid in originals if not uid.startswith(f"{STUDY}.2.")}


def test_an_original_in_the_default_syntax_is_sent_to_the_byte(client: Any, made: Path) -> None:
    ((kind, content),) = parts_of(client.get(path_of(1, GREY, 0)))
    assert content == (made / "tree" / "fast" / "grey" / "I1").read_bytes()
    assert kind == f"application/dicom; transfer-syntax={EXPLICIT}"


@pytest.mark.parametrize("syntax", ["", EXPLICIT])
def test_an_original_in_another_syntax_is_written_anew_by_default(
    client: Any, made: Path, originals: dict[str, Dataset], syntax: str
) -> None:
    path, headers = path_of(2, IMPLICIT_SERIES, 0), accept("application/dicom", syntax)
    ((kind, content),) = parts_of(client.get(path, headers=headers))
    assert kind == f"application/dicom; transfer-syntax={EXPLICIT}"
    written = made / "written.dcm"
    written.write_bytes(content)
    assert dcmread(written).file_meta.TransferSyntaxUID == EXPLICIT
    original = made / "tree" / "small" / "implicit" / "I1"
    assert instance_differences(original, written) == []
    ((kind, content),) = parts_of(client.get(path, headers=accept("application/dicom", IMPLICIT)))
    assert content == original.read_bytes()


@pytest.mark.parametrize("syntax", ["", ANY, EXPLICIT])
def test_without_an_original_a_new_file_is_written(
    client: Any, made: Path, originals: dict[str, Dataset], syntax: str
) -> None:
    headers = accept("application/dicom", syntax)
    for index, (kind, content) in enumerate(parts_of(client.get(path_of(2, NEW), headers=headers))):
        assert kind == f"application/dicom; transfer-syntax={EXPLICIT}"
        found, original = dcmread(io.BytesIO(content)), of(originals, 2, NEW, index)
        assert found.SOPInstanceUID == original.SOPInstanceUID
        assert np.array_equal(found.pixel_array, original.pixel_array)


@pytest.mark.parametrize("syntax", [HTJ2K, HTJ2K_RPCL])
@pytest.mark.parametrize(("study", "series"), [(1, GREY), (1, SIGNED), (2, IMPLICIT_SERIES)])
def test_files_are_written_in_a_coded_syntax(
    client: Any, originals: dict[str, Dataset], study: int, series: int, syntax: str
) -> None:
    path, headers = path_of(study, series, 1), accept("application/dicom", syntax)
    ((kind, content),) = parts_of(client.get(path, headers=headers))
    assert kind == f"application/dicom; transfer-syntax={syntax}"
    found = dicube.DicomCubeImage.from_dicom_folder(dcmread(io.BytesIO(content)))
    assert np.array_equal(found.raw_image[0], of(originals, study, series, 1).pixel_array)


def test_an_object_without_pixels_is_sent_whatever_frames_are_asked_for(
    client: Any, originals: dict[str, Dataset]
) -> None:
    for series in (7, 8, 9):
        uid = f"{STUDY}.1.{series}"
        path = f"/dicom-web/studies/{STUDY}.1/series/{uid}/instances/{uid}.1"
        ((_, content),) = parts_of(client.get(path))
        assert dcmread(io.BytesIO(content)) == originals[f"{uid}.1"]
        assert client.get(f"{path}/frames/1").status_code == 404
        assert client.get(f"{path}/rendered").status_code == 404
        response = client.get(path, headers=accept("application/dicom", HTJ2K))
        assert response.status_code == 406


def test_single_parts_have_ranges_and_tags(client: Any, made: Path) -> None:
    path, single = path_of(1, GREY, 0), {"Accept": "application/dicom"}
    whole = client.get(path, headers=single)
    original = (made / "tree" / "fast" / "grey" / "I1").read_bytes()
    assert whole.content == original
    assert whole.headers["content-length"] == str(len(original))
    for wanted, expected in (
        ("bytes=0-9", original[:10]),
        ("bytes=128-", original[128:]),
        ("bytes=-7", original[-7:]),
        (f"bytes=10-{10 * len(original)}", original[10:]),
    ):
        part = client.get(path, headers={**single, "Range": wanted})
        assert (part.status_code, part.content) == (206, expected)
        start = original.index(expected)
        stop = start + len(expected) - 1
        assert part.headers["content-range"] == f"bytes {start}-{stop}/{len(original)}"
    endless = client.get(path, headers={**single, "Range": f"bytes={'9' * 5000}-"})
    assert endless.status_code == 200  # no range that anyone would ask for
    beyond = client.get(path, headers={**single, "Range": f"bytes={len(original)}-"})
    assert beyond.status_code == 416
    stale = client.get(path, headers={**single, "Range": "bytes=0-9", "If-Range": '"another"'})
    assert (stale.status_code, len(stale.content)) == (200, len(original))
    tag = whole.headers["etag"]
    same = client.get(path, headers={**single, "If-None-Match": f'W/"x", {tag}'})
    assert (same.status_code, same.content) == (304, b"")
    assert client.get(path, headers={**single, "If-None-Match": '"x"'}).status_code == 200


# ------------------------------------------------------------------------------------ metadata


def test_metadata_are_those_of_the_originals(client: Any, originals: dict[str, Dataset]) -> None:
    compared = 0
    for study in (1, 2):
        response = client.get(f"/dicom-web/studies/{STUDY}.{study}/metadata")
        assert response.headers["content-type"] == "application/dicom+json"
        for found in response.json():
            original = originals[found["00080018"]["Value"][0]]
            pixels = original.pop(0x7FE00010, None)
            expected = original.to_json_dict(1024, lambda _element: "link")
            if pixels is not None:
                original[0x7FE00010] = pixels
                link = found.pop("7FE00010")
                assert link["vr"] in ("OW", "OB")
                assert "/bulkdata/7FE00010" in link["BulkDataURI"]
            for key in [key for key, element in found.items() if "BulkDataURI" in element]:
                assert expected[key].pop("BulkDataURI") == "link"
                assert found[key].pop("BulkDataURI").startswith("http://testserver/dicom-web/")
            assert found == expected
            compared += 1
    assert compared == len(originals)


def test_metadata_of_each_level_are_the_same(client: Any) -> None:
    study = client.get(f"/dicom-web/studies/{STUDY}.1/metadata").json()
    series = client.get(f"{path_of(1, GREY)}/metadata").json()
    one = client.get(f"{path_of(1, GREY, 1)}/metadata").json()
    assert len(series) == 3 and len(one) == 1
    assert all(instance in study for instance in series)
    assert one[0] in series


def test_metadata_are_compressed_cached_and_json_only(client: Any) -> None:
    path = f"{path_of(1, GREY)}/metadata"
    first = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert first.headers["content-encoding"] == "gzip"
    assert client.get(path, headers={"Accept-Encoding": "identity"}).json() == first.json()
    tag = first.headers["etag"]
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    xml = accept("application/dicom+xml")
    assert client.get(path, headers=xml).status_code == 406


def test_numbers_that_are_not_finite_are_texts(tmp_path: Path) -> None:
    from inputs.dicom_series import write_series
    from inputs.series_trees import series_of

    datasets = series_of(1, 2)
    datasets[1].add_new(0x00189306, "FD", float("nan"))  # SingleCollimationWidth
    datasets[0].add_new(0x00189306, "FD", float("inf"))
    write_series(tmp_path / "a", datasets)
    dicube.DicomCubeImage.from_dicom_folder(tmp_path / "a").to_file(tmp_path / "a.dcbs")
    with client_of(tmp_path / "a.dcbs") as client:
        first, second = client.get(f"{path_of(1, 1)}/metadata").json()
    assert first["00189306"]["Value"] == ["Infinity"]
    assert second["00189306"]["Value"] == ["NaN"]


# --------------------------------------------------------------------------------------- frames


def decoded(content: bytes, syntax: str, like: np.ndarray) -> np.ndarray:
    if syntax == EXPLICIT:
        return np.frombuffer(content, like.dtype).reshape(like.shape)
    return get_codec("jxl" if syntax == JPEG_XL else "jph").decode(content)


@pytest.mark.parametrize(
    ("study", "series", "stored", "expected"),
    [
        (1, GREY, True, HTJ2K_RPCL),
        (1, COLOURS, False, EXPLICIT),
        (1, WITH_SCOUT, True, HTJ2K_RPCL),
        (1, SIGNED, False, HTJ2K_RPCL),  # JPEG XL, which few clients decode
        (2, IMPLICIT_SERIES, False, HTJ2K_RPCL),
        (2, NEW, True, HTJ2K_RPCL),
    ],
)
def test_any_syntax_gives_frames_as_stored_or_in_htj2k(
    client: Any,
    made: Path,
    originals: dict[str, Dataset],
    study: int,
    series: int,
    stored: bool,
    expected: str,
) -> None:
    path, headers = f"{path_of(study, series, 1)}/frames/1", accept(OCTETS, ANY)
    ((kind, content),) = parts_of(client.get(path, headers=headers))
    assert kind == f"{OCTETS}; transfer-syntax={expected}"
    original = of(originals, study, series, 1).pixel_array
    assert np.array_equal(decoded(content, expected, original), original)
    (file,) = (made / "archive").rglob(f"{STUDY}.{study}.{series}.dcb?")
    assert (content in file.read_bytes()) is stored


@pytest.mark.parametrize("series", [GREY, SIGNED, COLOURS])
@pytest.mark.parametrize(
    ("media_type", "syntax", "expected"),
    [
        (OCTETS, "", EXPLICIT),
        (OCTETS, EXPLICIT, EXPLICIT),
        (OCTETS, HTJ2K, HTJ2K),
        (OCTETS, HTJ2K_RPCL, HTJ2K_RPCL),
        ("image/jphc", "", HTJ2K),
        ("image/jphc", ANY, HTJ2K_RPCL),
        ("*/*", "", EXPLICIT),
    ],
)
def test_frames_come_in_the_syntax_that_is_asked_for(
    client: Any,
    originals: dict[str, Dataset],
    series: int,
    media_type: str,
    syntax: str,
    expected: str,
) -> None:
    headers = accept(media_type, syntax)
    ((kind, content),) = parts_of(client.get(f"{path_of(1, series, 0)}/frames/1", headers=headers))
    assert kind.endswith(f"; transfer-syntax={expected}")
    original = of(originals, 1, series, 0).pixel_array
    assert np.array_equal(decoded(content, expected, original), original)


def test_jpeg_xl_is_sent_only_where_it_is_named(client: Any, originals: dict[str, Dataset]) -> None:
    path = f"{path_of(2, IMPLICIT_SERIES, 0)}/frames/1"
    original = of(originals, 2, IMPLICIT_SERIES, 0).pixel_array
    for headers in (accept(OCTETS, JPEG_XL), accept("image/jxl"), accept("image/jxl", JPEG_XL)):
        ((kind, content),) = parts_of(client.get(path, headers=headers))
        assert kind.endswith(f"; transfer-syntax={JPEG_XL}")
        assert probe(content).codec == "jxl" and not probe(content).is_mapped
        assert np.array_equal(decoded(content, JPEG_XL, original), original)
    # Signed samples, which JPEG XL of other decoders lacks.
    signed = f"{path_of(1, SIGNED, 0)}/frames/1"
    assert client.get(signed, headers=accept("image/jxl")).status_code == 406


def test_rpcl_frames_meet_the_rules_of_their_syntax(client: Any) -> None:
    path = f"{path_of(1, SIGNED, 0)}/frames/1"
    ((_, content),) = parts_of(client.get(path, headers=accept(OCTETS, HTJ2K_RPCL)))
    stream = probe(content)
    assert stream.progression == "RPCL"
    assert stream.has_tile_lengths and stream.is_reversible


def test_lists_of_frames_are_parts_in_their_order(
    client: Any, originals: dict[str, Dataset]
) -> None:
    volume = of(originals, 1, ENHANCED, 0).pixel_array
    path = f"{path_of(1, ENHANCED, 0)}/frames"
    parts = parts_of(client.get(f"{path}/3,1,4", headers=accept(OCTETS, ANY)))
    found = [decoded(content, HTJ2K_RPCL, volume[0]) for _, content in parts]
    assert np.array_equal(found, volume[[2, 0, 3]])
    parts = parts_of(client.get(f"{path}/1,2,3,4"))
    assert b"".join(content for _, content in parts) == volume.tobytes()
    for wrong, status in (
        ("0", 404),
        ("5", 404),
        ("1,5", 404),
        ("x", 400),
        ("1,", 400),
        ("-1", 400),
    ):
        assert client.get(f"{path}/{wrong}").status_code == status
    several = client.get(f"{path}/1,2", headers={"Accept": OCTETS})
    assert several.status_code == 406


def test_frames_of_an_image_kept_whole_come_too(client: Any, originals: dict[str, Dataset]) -> None:
    original = of(originals, 1, WITH_SCOUT, 9).pixel_array
    path = path_of(1, WITH_SCOUT, 9)
    for syntax in (EXPLICIT, HTJ2K_RPCL):
        headers = accept(OCTETS, syntax)
        ((_, content),) = parts_of(client.get(f"{path}/frames/1", headers=headers))
        assert np.array_equal(decoded(content, syntax, original), original)
    assert client.get(f"{path}/rendered").status_code == 200
    ((_, content),) = parts_of(client.get(path, headers=accept("application/dicom", HTJ2K)))
    found = dicube.DicomCubeImage.from_dicom_folder(dcmread(io.BytesIO(content)))
    assert np.array_equal(found.raw_image[0], original)


def test_a_single_frame_may_be_the_body(client: Any, originals: dict[str, Dataset]) -> None:
    path = f"{path_of(1, GREY, 0)}/frames/1"
    response = client.get(path, headers={"Accept": f"{OCTETS}; transfer-syntax=*"})
    assert response.headers["content-type"] == f"{OCTETS}; transfer-syntax={HTJ2K_RPCL}"
    original = of(originals, 1, GREY, 0).pixel_array
    assert np.array_equal(decoded(response.content, HTJ2K_RPCL, original), original)
    part = client.get(
        path, headers={"Accept": f"{OCTETS}; transfer-syntax=*", "Range": "bytes=0-99"}
    )
    assert (part.status_code, part.content) == (206, response.content[:100])


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.50", "1.2.3", "1.2.840.10008.1.2.2"]
)
def test_unknown_syntaxes_are_not_acceptable(client: Any, syntax: str) -> None:
    for headers in (accept(OCTETS, syntax), {"Accept": "text/html"}):
        response = client.get(f"{path_of(1, GREY, 0)}/frames/1", headers=headers)
        assert response.status_code == 406
        assert "transfer-syntax=" in response.text
    headers = accept("application/dicom", syntax)
    assert client.get(path_of(1, GREY), headers=headers).status_code == 406


def test_parts_have_weak_tags_and_no_ranges(client: Any) -> None:
    path, headers = f"{path_of(1, GREY, 0)}/frames/1", accept(OCTETS, ANY)
    first = client.get(path, headers={**headers, "Range": "bytes=0-9"})
    assert first.status_code == 200
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    assert first.headers["vary"] == "Accept"
    assert client.get(path, headers={**headers, "If-None-Match": tag}).status_code == 304
    series = client.get(path_of(1, GREY), headers=accept("application/dicom", ANY))
    assert series.headers["etag"].startswith('W/"')


def test_head_of_a_series_makes_nothing(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicube.web.responses.Workers.stream", None)
    answer = client.head(path_of(1, GREY), headers=accept("application/dicom", ANY))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("multipart/related")


def test_a_large_file_is_not_held_in_memory(
    client: Any, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicube.web.retrieval._LARGE", 100)
    response = client.get(path_of(1, GREY, 0), headers={"Accept": "application/dicom"})
    assert response.content == (made / "tree" / "fast" / "grey" / "I1").read_bytes()
    assert "content-length" not in response.headers


def test_tags_of_frames_are_checksums_that_differ_between_frames_and_forms(client: Any) -> None:
    tags = []
    for instance in range(3):
        for syntax in (ANY, EXPLICIT, HTJ2K):
            url, headers = f"{path_of(1, GREY, instance)}/frames/1", accept(OCTETS, syntax)
            response = client.get(url, headers=headers)
            tags.append(response.headers["etag"])
            again = client.get(url, headers={**headers, "If-None-Match": tags[-1]})
            assert (again.status_code, again.content) == (304, b"")
    assert len(set(tags)) == 9


def test_samples_outside_bits_stored_are_sent_as_they_are(tmp_path: Path) -> None:
    from inputs.dicom_series import write_series
    from inputs.series_trees import series_of

    datasets = series_of(1, 2)  # random words of 16 bits
    for dataset in datasets:
        dataset.BitsStored, dataset.HighBit = 12, 11
    write_series(tmp_path / "a", datasets)
    dicube.DicomCubeImage.from_dicom_folder(tmp_path / "a").to_file(tmp_path / "a.dcbs")
    with client_of(tmp_path / "a.dcbs") as client:
        path = f"{path_of(1, 1, 0)}/frames/1"
        ((kind, content),) = parts_of(client.get(path, headers=accept(OCTETS, ANY)))
        assert kind == f"{OCTETS}; transfer-syntax={EXPLICIT}"
        assert content == datasets[0].PixelData
        assert client.get(path, headers=accept(OCTETS, HTJ2K)).status_code == 406


def test_samples_of_one_bit_are_packed(tmp_path: Path) -> None:
    from inputs.dicom_series import write_series
    from inputs.series_trees import series_of

    datasets = series_of(1, 2, shape=(8, 24), dtype="uint8")
    for dataset in datasets:
        dataset.BitsAllocated = dataset.BitsStored = 1
        dataset.HighBit = 0
        dataset.PixelData = dataset.PixelData[:24]
    write_series(tmp_path / "a", datasets)
    dicube.DicomCubeImage.from_dicom_folder(tmp_path / "a").to_file(tmp_path / "a.dcbs")
    with client_of(tmp_path / "a.dcbs") as client:
        for headers in (accept(OCTETS, ANY), {}):
            path = f"{path_of(1, 1, 1)}/frames/1"
            ((kind, content),) = parts_of(client.get(path, headers=headers))
            assert kind == f"{OCTETS}; transfer-syntax={EXPLICIT}"
            assert content == datasets[1].PixelData


@pytest.mark.parametrize("options", [{"distance": 1.0}, {"max_error": 3}])
def test_lossy_files_tell_it_and_send_the_samples_they_have(
    made: Path, tmp_path: Path, options: dict[str, float]
) -> None:
    source = made / "tree" / "small" / "signed"
    path = tmp_path / "lossy.dcbl"
    dicube.DicomCubeImage.from_dicom_folder(source).to_file(path, **options)
    pixels = dicube.open(path)[...]
    with client_of(path) as client:
        meta = client.get(f"{path_of(1, SIGNED)}/metadata").json()
        assert all(one["00282110"]["Value"] == ["01"] for one in meta)
        assert all(one["00282112"]["Value"] for one in meta)
        for syntax in (ANY, EXPLICIT):
            url = f"{path_of(1, SIGNED, 2)}/frames/1"
            ((kind, content),) = parts_of(client.get(url, headers=accept(OCTETS, syntax)))
            syntax = kind.partition("transfer-syntax=")[2]
            assert np.array_equal(decoded(content, syntax, pixels[2]), pixels[2])
        ((_, content),) = parts_of(client.get(path_of(1, SIGNED, 2)))
        found = dcmread(io.BytesIO(content))
        assert found.SOPInstanceUID == f"{STUDY}.1.{SIGNED}.2"
        assert found.LossyImageCompression == "01"
        assert np.array_equal(found.pixel_array, pixels[2])


def test_jpegs_that_were_recompressed_come_back(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file
    from pydicom.encaps import generate_frames

    path = get_testdata_file("SC_rgb_jpeg_dcmtk.dcm", download=False)
    with pytest.warns(UserWarning, match="space is None"):
        dicube.DicomCubeImage.from_dicom_folder(path).to_file(tmp_path / "jpeg.dcba")
    dataset = dcmread(path)
    with client_of(tmp_path / "jpeg.dcba") as client:
        (found,) = client.get("/dicom-web/instances").json()
        url = found["00081190"]["Value"][0].removeprefix("http://testserver")
        ((kind, content),) = parts_of(client.get(f"{url}/frames/1", headers=accept(OCTETS, ANY)))
        ((_, again),) = parts_of(client.get(f"{url}/frames/1", headers=accept("image/jpeg")))
        (meta,) = client.get(f"{url}/metadata").json()
    assert kind == f"{OCTETS}; transfer-syntax={dataset.file_meta.TransferSyntaxUID}"
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    assert content.rstrip(b"\0") == again.rstrip(b"\0") == frame.rstrip(b"\0")
    assert meta["00280004"]["Value"] == [dataset.PhotometricInterpretation]


def test_planar_colours_are_described_as_they_are_sent(tmp_path: Path) -> None:
    from inputs.dicom_series import write_series
    from inputs.series_trees import series_of

    datasets = series_of(1, 2, shape=(*SHAPE, 3), dtype="uint8")
    pixels = [dataset.pixel_array for dataset in datasets]
    for dataset, colours in zip(datasets, pixels, strict=True):
        dataset.PlanarConfiguration = 1
        dataset.PixelData = np.moveaxis(colours, -1, 0).tobytes()
    write_series(tmp_path / "a", datasets)
    dicube.DicomCubeImage.from_dicom_folder(tmp_path / "a").to_file(tmp_path / "a.dcbs")
    with client_of(tmp_path / "a.dcbs") as client:
        meta = client.get(f"{path_of(1, 1)}/metadata").json()
        assert [one["00280006"]["Value"] for one in meta] == [[0], [0]]
        ((_, content),) = parts_of(client.get(f"{path_of(1, 1, 1)}/frames/1"))
        assert content == pixels[1].tobytes()


# ------------------------------------------------------------------------------------ bulk data


def test_links_in_metadata_lead_to_the_values(client: Any, originals: dict[str, Dataset]) -> None:
    followed = 0
    for found in client.get(f"/dicom-web/studies/{STUDY}.1/metadata").json():
        original = originals[found["00080018"]["Value"][0]]
        for key, element in found.items():
            if "BulkDataURI" not in element:
                continue
            expected = original[key].value
            url = element["BulkDataURI"].removeprefix("http://testserver")
            single = client.get(url, headers={"Accept": OCTETS})
            assert single.content == expected
            ((kind, content),) = parts_of(client.get(url, headers=accept(OCTETS)))
            assert content == expected
            assert kind.startswith(OCTETS)
            followed += 1
    assert followed >= 3 + 10


def test_large_values_in_items_have_links(tmp_path: Path) -> None:
    from inputs.dicom_series import item, write_series
    from inputs.series_trees import series_of

    datasets = series_of(1, 2)
    for index, dataset in enumerate(datasets):
        inner = item(ICCProfile=bytes([index]) * 5000)
        dataset.OpticalPathSequence = [item(Manufacturer="x"), inner]
    write_series(tmp_path / "a", datasets)
    dicube.DicomCubeImage.from_dicom_folder(tmp_path / "a").to_file(tmp_path / "a.dcbs")
    with client_of(tmp_path / "a.dcbs") as client:
        for index, found in enumerate(client.get(f"{path_of(1, 1)}/metadata").json()):
            url = found["00480105"]["Value"][1]["00282000"]["BulkDataURI"]
            assert url.endswith("/bulkdata/00480105/1/00282000")
            value = client.get(url.removeprefix("http://testserver"), headers={"Accept": OCTETS})
            assert value.content == bytes([index]) * 5000


def test_values_that_only_originals_have_are_linked_slice_by_slice(tmp_path: Path) -> None:
    from inputs.dicom_series import write_series
    from inputs.series_trees import series_of

    datasets = series_of(1, 4)
    sizes = {0x00291001: (3000, None, 2000, 4000), 0x7FE11001: (None, 3000, 3000, None)}
    short = {0x00291002: (3000, 10, None, 4000)}  # which a link does not suit in all slices
    for tag, lengths in (*sizes.items(), *short.items()):
        for index, length in enumerate(lengths):
            datasets[index].add_new(tag & 0xFFFF0000 | 0x10, "LO", "CREATOR")
            if length is not None:
                datasets[index].add_new(tag, "OB", bytes([index + 1]) * length)
    write_series(tmp_path / "a", datasets)
    dicube.DicomCubeImage.from_dicom_folder(tmp_path / "a").to_file(tmp_path / "a.dcbs")
    meta = dicube.load_meta(tmp_path / "a.dcbs")
    assert meta.lengths_elsewhere("00291001") == ("OB", [3000, None, 2000, 4000])
    assert meta.lengths_elsewhere("7FE11001") == ("OB", [None, 3000, 3000, None])
    assert meta.lengths_elsewhere("PatientID") is None
    assert meta.lengths_elsewhere("00990099") is None
    with client_of(tmp_path / "a.dcbs") as client:
        found = client.get(f"{path_of(1, 1)}/metadata").json()
        for index, instance in enumerate(found):
            for tag, lengths in (*sizes.items(), *short.items()):
                element, length = instance.get(f"{tag:08X}"), lengths[index]
                assert (element is None) == (length is None)
                if element is None or length is None:
                    continue
                if length == 10:
                    assert element == {"vr": "OB", "InlineBinary": "AgICAgICAgICAg=="}
                    continue
                url = element["BulkDataURI"].removeprefix("http://testserver")
                value = client.get(url, headers={"Accept": OCTETS})
                assert value.content == bytes([index + 1]) * length


@pytest.mark.parametrize(
    "path",
    [
        "00100010",
        "00091002",
        "nonsense",
        "00480105/1",
        "00480105/7/00282000",
        "../../../etc/passwd",
        "00091001/0/00091001",
    ],
)
def test_there_is_no_bulk_data_elsewhere(client: Any, path: str) -> None:
    url = f"{path_of(1, GREY, 0)}/bulkdata/{path}"
    assert client.get(url, headers={"Accept": OCTETS}).status_code == 404


# ---------------------------------------------------------------------------------- what is not


@pytest.mark.parametrize(
    "path",
    [
        "/studies/1.2.3",
        f"/studies/{STUDY}.1/series/1.2.3",
        f"/studies/{STUDY}.2/series/{STUDY}.1.1",  # of another study
        f"/studies/{STUDY}.1/series/{STUDY}.1.1/instances/{STUDY}.1.2.0",
        "/studies/..%2F..%2Fetc",
        f"/studies/{STUDY}.1/series/%00",
    ],
)
@pytest.mark.parametrize("more", ["", "/metadata", "/rendered", "/thumbnail"])
def test_what_the_catalogue_lacks_is_not_found(client: Any, path: str, more: str) -> None:
    response = client.get(f"/dicom-web{path}{more}")
    assert response.status_code == 404
    assert STUDY not in response.text


def test_a_replaced_file_is_read_anew(made: Path, tmp_path: Path) -> None:
    import shutil

    from inputs.dicom_series import write_series
    from inputs.series_trees import add, series_of

    from dicube import Archive

    shutil.copytree(made / "archive", tmp_path / "archive")
    with client_of(tmp_path / "archive") as client:
        path = f"{path_of(1, GREY)}/metadata"
        before = client.get(path)
        assert len(before.json()) == 3
        more = series_of(GREY, 4, shape=SHAPE)[3:]
        write_series(tmp_path / "late", more)
        add(Archive(tmp_path / "archive"), tmp_path / "late", format=".dcbs")
        after = client.get(path, headers={"If-None-Match": before.headers["etag"]})
        assert len(after.json()) == 4
        Archive(tmp_path / "archive").remove(series=f"{STUDY}.1.{GREY}")
        assert client.get(path).status_code == 404


def test_damage_is_an_error_that_names_no_file(
    made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (source,) = (made / "archive").rglob(f"{STUDY}.1.{GREY}.dcbs")
    with dicube.storage.DcbReader(source) as reader:
        offset, size = reader.coded_range(1)
    data = bytearray(source.read_bytes())
    data[offset + size // 2] ^= 0xFF
    (tmp_path / "damaged.dcbs").write_bytes(data)
    with client_of(tmp_path / "damaged.dcbs") as client:
        assert client.get(f"{path_of(1, GREY, 0)}/frames/1").status_code == 200
        response = client.get(f"{path_of(1, GREY, 1)}/frames/1")
        assert response.status_code == 500
        assert "damaged.dcbs" not in response.text and STUDY not in response.text
    assert "InvalidCubeFileError" in caplog.text


# --------------------------------------------------------------------- files that change, patients


def slices_of(folder: Path, numbers: list[int], patient: str = "4711") -> Path:
    """Write some slices of a series of six, each full of its number."""
    datasets = series_of(1, 6, patient, shape=SHAPE, dtype="uint16")
    for number, dataset in enumerate(datasets):
        dataset.PixelData = np.full(SHAPE, 100 + number, "<u2").tobytes()
    write_series(folder, [datasets[number] for number in numbers], [f"I{n}" for n in numbers])
    return folder


def value_of(client: Any, number: int) -> tuple[int, int]:
    """Return the status and the first value of a slice of `slices_of`."""
    path = f"{path_of(1, 1, number)}/frames/1"
    accept = f'multipart/related; type="application/octet-stream"; transfer-syntax={EXPLICIT}'
    answer = client.get(path, headers={"Accept": accept})
    if answer.status_code != 200:
        return answer.status_code, -1
    ((_, content),) = parts_of(answer)
    return 200, int.from_bytes(content[:2], "little")


def test_a_merged_file_is_never_read_by_an_older_catalogue(tmp_path: Path) -> None:
    """An addition puts the file in its place before the catalogue says so."""
    add(Archive(tmp_path / "archive"), slices_of(tmp_path / "late", [3, 4, 5]))
    with client_of(tmp_path / "archive") as client:
        assert value_of(client, 3) == (200, 103)
        other = tmp_path / "other"
        add(Archive(other), [tmp_path / "late", slices_of(tmp_path / "early", [0, 1, 2])])
        (new,) = other.rglob("*.dcba")
        os.replace(new, tmp_path / "archive" / new.relative_to(other))
        assert value_of(client, 3) == (200, 103)
        assert value_of(client, 0) == (200, 100)
        assert len(client.get(f"{path_of(1, 1)}/metadata").json()) == 6


def test_a_file_replaced_by_another_series_is_not_served(tmp_path: Path) -> None:
    path = tmp_path / "one.dcbs"
    folder = slices_of(tmp_path / "in", [0, 1])
    dicube.DicomCubeImage.from_dicom_folder(folder).to_file(path)
    with client_of(path) as client:
        assert value_of(client, 1) == (200, 101)
        for number, patient in ((2, "4711"), (1, "0815")):
            series = series_of(number, 2, patient, shape=SHAPE)
            folder = write_series(tmp_path / f"{number}{patient}", series)
            dicube.DicomCubeImage.from_dicom_folder(folder).to_file(path)
            assert value_of(client, 1)[0] == 404


def test_an_instance_of_two_patients_is_refused(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    add(archive, slices_of(tmp_path / "a", [0, 1, 2]))
    add(archive, slices_of(tmp_path / "b", [2, 3], patient="0815"))
    with client_of(tmp_path / "archive") as client:
        assert value_of(client, 0) == (200, 100)
        assert value_of(client, 3) == (200, 103)
        assert value_of(client, 2)[0] == 409
        assert client.get(f"{path_of(1, 1, 2)}/metadata").status_code == 409
