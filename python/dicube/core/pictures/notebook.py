"""What a notebook shows of a cube or an image: middle planes and a table, as HTML.

Metadata are a stranger's input: everything is escaped. Nothing names the patient. Must not know how
pictures are made.
"""

from __future__ import annotations

import base64
import html
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from dicube.codecs.records import record_of
from dicube.core.pictures.drawing import common_scale, mid_planes
from dicube.core.pictures.files import encoded
from dicube.core.pictures.patient_names import file_name, may_name, names_of_patient
from dicube.core.pictures.thumbnail import Source
from dicube.dicom.identifiers import identifiers
from dicube.exceptions import DicomCubeError, MissingPackageError

if TYPE_CHECKING:
    from dicube.dicom.dicom_meta import DicomMeta
    from dicube.dicom.dicom_status import DicomStatus

_SIDE = 256  # pixels of a picture
_LONGEST = 200  # characters of a value
_TAGS = {
    "Modality": "modality",
    "SeriesDescription": "series",
    "BodyPartExamined": "body part",
}
_HIDDEN = "(not shown: it names the patient)"

Made = TypeVar("Made")


class Shown(Source, Protocol):
    """What is shown; see `Cube`."""

    dtype: np.dtype[Any]

    @property
    def dicom_status(self) -> DicomStatus:
        """Whether the series is consistent."""


def html_of(source: Shown, name: str | None, codec: str | None, facts: Mapping[str, Any]) -> str:
    """Return what a notebook shows of a cube or an image. Never raises.

    Args:
        source: the cube, or the source of an image's pictures.
        name: of the file, a path or a URL; None for none.
        codec: of the file; None for none.
        facts: further rows of the table.
    """
    problems: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        meta = _tried(lambda: source.dicom_meta, "metadata", problems)
        rows = list(_rows(source, meta, name, codec, problems))
        pictures = _tried(lambda: _pictures(source), "pictures", problems) or ""
    problems += dict.fromkeys(str(warning.message) for warning in caught)
    rows += [*facts.items(), *(("problem", problem) for problem in problems)]
    cells = (
        f"<tr><th style='text-align:left'>{_escaped(title)}</th>"
        f"<td style='text-align:left'>{_escaped(_without_name(str(value), name))}</td></tr>"
        for title, value in rows
    )
    return f"<div>{pictures}<table>{''.join(cells)}</table></div>"


def _rows(
    source: Shown,
    meta: DicomMeta | None,
    name: str | None,
    codec: str | None,
    problems: list[str],
) -> Iterator[tuple[str, Any]]:
    """Yield the rows of the table."""
    patient = _tried(lambda: names_of_patient(meta), "patient", problems)
    if name:
        yield "file", _harmless(file_name(name), patient)
    if codec:
        yield "codec", record_of(codec).label
    size = np.dtype(source.dtype).itemsize * int(np.prod(source.shape, dtype=object))
    shape = " x ".join(map(str, source.shape))
    yield "shape", f"{shape} {np.dtype(source.dtype).name}, {size / 1e6:,.1f} MB"
    space = _tried(lambda: source.space, "geometry", problems)
    if space is None:
        yield "spacing", "unknown"
    else:
        sizes = ", ".join(f"{float(length):.4g}" for length in space.spacing)
        yield "spacing", f"{sizes} mm (slice, row, column)"
    tags = _tried(lambda: _tags(meta), "metadata", problems) or {}
    for keyword, title in _TAGS.items():
        if keyword in tags:
            yield title, _harmless(str(tags[keyword]), patient)
    status = _tried(lambda: source.dicom_status.value, "status", problems)
    if status is not None:
        yield "status", status


def _pictures(source: Source) -> str:
    """Return the middle planes beside each other."""
    planes = mid_planes(source, _SIDE)
    mm = common_scale(planes, _SIDE)
    figures = []
    for plane in planes:
        pixels = plane.square(mm, label=True)
        data = base64.b64encode(encoded(pixels)).decode()
        title = f"{plane.name}, {plane.index}"
        figures.append(
            "<figure style='display:inline-block;margin:4px;vertical-align:bottom'>"
            f"<img alt='{title}' width='{pixels.shape[1]}' height='{pixels.shape[0]}'"
            f" src='data:image/png;base64,{data}'/><figcaption>{title}</figcaption></figure>"
        )
    return f"<div>{''.join(figures)}</div>"


def _tags(meta: DicomMeta | None) -> dict[str, Any]:
    if meta is None:
        return {}
    return identifiers(lambda keyword: meta.get_of_slice(keyword, 0), with_patient=False)


# --------------------------------------------------------------------------------------- texts


def _tried(make: Callable[[], Made], what: str, problems: list[str]) -> Made | None:
    """Return what a function makes; None after an error, which becomes one of the problems."""
    try:
        return make()
    except MissingPackageError as error:
        found = error.text
    except DicomCubeError as error:
        found = error.message
    except Exception as error:  # a representation must not raise; others' texts may quote values
        found = type(error).__name__
    if not any(known.endswith(found) for known in problems):
        problems.append(f"{what}: {found}")
    return None


def _harmless(text: str, patient: set[str] | None) -> str:
    """Return a text unless it may name the patient; None as names that are unknown."""
    return _HIDDEN if patient is None or may_name(text, patient) else text


def _without_name(text: str, name: str | None) -> str:
    """Return a text without the path of the file, with which errors begin."""
    return text.replace(name, "the file") if name else text


def _escaped(text: str) -> str:
    """Return a text for HTML, on one line, of limited length, without control characters."""
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    return html.escape(
        "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    )
