"""De-identifies datasets by the Basic Profile of PS3.15, with the rules of dicom-anonymizer.

That package applies its rules to the outermost level of a dataset and invents UIDs; here they apply
at every level, and UIDs are keyed hashes, so that series stay together across runs and machines.
Pixels are not touched: text burnt into them stays.

The only module that knows dicom-anonymizer. Must not know files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dicube.archive.pseudonyms import SecretKey
from dicube.exceptions import DataConsistencyError, needing

PROFILES = ("basic",)

_EDITION = "dicomfields_2026c"  # of PS3.15 Table E.1-1
_GROUP_2 = frozenset({0x00020010, 0x00020002, 0x00020003})  # all that is kept of it
_PATIENT_ID = 0x00100020
# Type 2 where it is used; free text, which the profile doesn't list.
_DOCUMENT_TITLE = 0x00420010
_REMOVED, _METHOD, _METHOD_CODES, _TIMES = 0x00120062, 0x00120063, 0x00120064, 0x00280303
KEY_IN_USE = "dicube key "
"""What a value of DeidentificationMethod begins with that names the key; see `fingerprint`."""

_METHOD_TEXT = "DICOM PS3.15 Basic Profile (dicube, dicom-anonymizer)"
_METHOD_CODE = ("113100", "DCM", "Basic Application Confidentiality Profile")  # PS3.16 CID 7050

Rule = Callable[["BasicProfile", Any, Any], None]


@dataclass(frozen=True)
class BasicProfile:
    """The Basic Profile as a transform of datasets.

    PatientID becomes a keyed hash of itself, so that the series of a patient can be found.

    Attributes:
        key: the secret key of UIDs.

    Raises:
        MissingPackageError: dicom-anonymizer is not installed.
    """

    key: SecretKey

    def __post_init__(self) -> None:
        _rules()

    def __call__(self, dataset: Any) -> None:
        """De-identify a pydicom dataset in place."""
        patient = dataset.get(_PATIENT_ID)
        patient_id = "" if patient is None or not patient.value else str(patient.value)
        self._clean(dataset)
        if patient_id:
            dataset.add_new(_PATIENT_ID, "LO", self.key.digest("patient", patient_id).hex()[:16])
        code = type(dataset)()
        for tag, vr, value in zip(
            (0x00080100, 0x00080102, 0x00080104), ("SH", "SH", "LO"), _METHOD_CODE, strict=True
        ):
            code.add_new(tag, vr, value)
        dataset.add_new(_REMOVED, "CS", "YES")
        dataset.add_new(_METHOD, "LO", [_METHOD_TEXT, f"{KEY_IN_USE}{self.key.fingerprint}"])
        dataset.add_new(_METHOD_CODES, "SQ", [code])
        dataset.add_new(_TIMES, "CS", "REMOVED")
        meta: Any = getattr(dataset, "file_meta", None)
        for tag in list(meta.keys()) if meta is not None else ():
            if int(tag) not in _GROUP_2:
                del meta[tag]

    def _clean(self, dataset: Any) -> None:
        """Apply the rules to a dataset and to those in its sequences."""
        for tag in list(dataset.keys()):
            if tag.is_private:
                del dataset[tag]
                continue
            rule = _rule_of(int(tag))
            if rule is not None:
                try:
                    rule(self, dataset, tag)
                except Exception:  # a value that can't be read can't be cleaned
                    del dataset[tag]
            elif _is_sequence(dataset, tag):
                for item in dataset[tag].value:
                    self._clean(item)

    def _remove(self, dataset: Any, tag: Any) -> None:
        del dataset[tag]

    def _replace_uids(self, dataset: Any, tag: Any) -> None:
        element = dataset[tag]
        if element.VR != "UI":  # of another kind than the rule is for
            del dataset[tag]
            return
        several = isinstance(element.value, (list, tuple)) or hasattr(element.value, "append")
        uids = list(element.value) if several else [element.value]
        found = [self.key.uid_of(str(uid)) if _identifies(uid) else uid for uid in uids]
        element.value = found if several else found[0]

    def _empty(self, dataset: Any, tag: Any) -> None:
        self._change(dataset, tag, "empty_element")

    def _replace(self, dataset: Any, tag: Any) -> None:
        self._change(dataset, tag, "replace_element")

    def _empty_or_uid(self, dataset: Any, tag: Any) -> None:
        (self._replace_uids if dataset[tag].VR == "UI" else self._empty)(dataset, tag)

    def _change(self, dataset: Any, tag: Any, how: str) -> None:
        """Give an element, or all those in a sequence, values that say nothing."""
        element = dataset[tag]
        if element.VR == "UI":
            self._replace_uids(dataset, tag)
        elif element.VR == "SQ":
            for item in element.value:
                for inner in list(item.keys()):
                    self._remove(item, inner) if inner.is_private else self._change(
                        item, inner, how
                    )
        else:
            try:
                _package()[how](element)
            except NotImplementedError:  # binary words, and tags
                del dataset[tag]


def transform_of(profile: str, key: SecretKey) -> BasicProfile:
    """Return the transform of a profile.

    Raises:
        DataConsistencyError: an unknown profile.
        MissingPackageError: dicom-anonymizer is not installed.
    """
    if profile not in PROFILES:
        raise DataConsistencyError(f"expected deidentify of {PROFILES[0]!r}, found {profile!a}")
    return BasicProfile(key)


# The categories of the package, after the codes of Table E.1-1. Where a code leaves a choice, what
# keeps objects valid in more cases.
_RULES: Mapping[str, Rule] = {
    "D_TAGS": BasicProfile._replace,
    "Z_TAGS": BasicProfile._empty,
    "X_TAGS": BasicProfile._remove,
    "U_TAGS": BasicProfile._replace_uids,
    "Z_D_TAGS": BasicProfile._replace,
    "X_Z_TAGS": BasicProfile._empty,
    "X_D_TAGS": BasicProfile._replace,
    "X_Z_D_TAGS": BasicProfile._replace,
    "X_Z_U_STAR_TAGS": BasicProfile._empty_or_uid,
}


@lru_cache(maxsize=1)
def _package() -> dict[str, Any]:
    with needing("de-identification", "dicom-anonymizer", "deidentify"):
        from dicomanonymizer import simpledicomanonymizer
    return dict(vars(simpledicomanonymizer))


@lru_cache(maxsize=1)
def _rules() -> tuple[dict[int, Rule], list[tuple[int, int, Rule]]]:
    """Return the rule of each tag; and the rules of repeating groups with value and mask."""
    tags = _package()["dicom_anonymization_database_selector"](_EDITION)
    single: dict[int, Rule] = {}
    repeating: list[tuple[int, int, Rule]] = []
    for category, rule in _RULES.items():
        for tag in tags[category]:
            if len(tag) == 2:
                single[tag[0] << 16 | tag[1]] = rule
            else:
                repeating.append((tag[0] << 16 | tag[1], tag[2] << 16 | tag[3], rule))
    return single, repeating


@lru_cache(maxsize=1 << 14)
def _rule_of(tag: int) -> Rule | None:
    if tag == _DOCUMENT_TITLE:
        return BasicProfile._empty
    single, repeating = _rules()
    found = single.get(tag)
    if found is not None:
        return found
    return next((rule for value, mask, rule in repeating if tag & mask == value & mask), None)


def _identifies(uid: Any) -> bool:
    """Return whether a UID is none of the standard's own, such as those of SOP classes."""
    return bool(uid) and not getattr(uid, "keyword", "")


def _is_sequence(dataset: Any, tag: Any) -> bool:
    """Return whether an element is a sequence; all others stay as they are encoded."""
    may_be_one = dataset.get_item(tag).VR in ("SQ", "UN", None)
    return may_be_one and dataset[tag].VR == "SQ"
