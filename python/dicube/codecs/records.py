"""One record for each codec, which holds all that other modules need to know of it.

To add a codec, add its record here and its module beside this one, and register it in
`dicube.codecs`; then its transfer syntaxes in `dicom.transfer_syntaxes` and its kinds of files in
`storage.formats`. Knows no file and no DICOM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dicube import _native
from dicube.exceptions import DataConsistencyError

Effort = int | str
"""How hard an encoder tries: a number, or one of the words in `CodecRecord.efforts`."""


@dataclass(frozen=True)
class CodecRecord:
    """A codec.

    Attributes:
        id: its number in files and in the C library.
        name: its name in the registry.
        label: its name in messages.
        extensions: of files that hold one bare codestream.
        library: the library that implements it.
        sample_kinds: kinds of dtypes ('u', 'i') whose codestreams other decoders read correctly.
            dicube maps all others to these, and back when it decodes.
        sample_bits: the most bits that such samples have.
        has_levels: whether it decodes frames at reduced resolutions.
        efforts: the words for some efforts, with their numbers; empty if there is no choice.
    """

    id: int
    name: str
    label: str
    extensions: tuple[str, ...]
    library: str
    sample_kinds: str
    sample_bits: int
    has_levels: bool
    efforts: Mapping[str, int] = field(default_factory=dict, hash=False)

    def effort_number(self, effort: Effort | None) -> int:
        """Return an effort as the number that libdicube expects: 0 for the default.

        Raises:
            DataConsistencyError: the effort is neither one of the words nor a number of 1 to 9, or
                the codec has no choice of efforts.
        """
        if effort is None:
            return 0
        if not self.efforts:
            raise DataConsistencyError(f"{self.label} has no efforts, found effort {effort!r}")
        number = self.efforts.get(effort) if isinstance(effort, str) else effort
        if number is None or not 1 <= number <= 9:
            raise DataConsistencyError(
                f"expected an effort of 1 to 9, {', '.join(self.efforts)}, found {effort!r}"
            )
        return number


JXL = CodecRecord(
    id=_native.CODEC_JXL,
    name="jxl",
    label="JPEG XL",
    extensions=(".jxl",),
    library="libjxl",
    sample_kinds="u",
    sample_bits=16,
    has_levels=False,
    # 2 (fast) to 9 (small); libdicube takes 1 for 2. Efforts above 7 take four times as long and
    # save less than one per cent; docs/explanation/codecs.md has measurements.
    efforts={"fast": 2, "balanced": 3, "best": 7},
)
JPH = CodecRecord(
    id=_native.CODEC_HTJ2K,
    name="jph",
    label="HTJ2K",
    extensions=(".j2k", ".j2c", ".jp2"),
    library="OpenJPH",
    sample_kinds="iu",
    sample_bits=32,
    has_levels=True,
)

RECORDS = (JXL, JPH)

_BY_KEY = {key: record for record in RECORDS for key in (record.id, record.name)}


def record_of(key: int | str) -> CodecRecord:
    """Return the record of a codec by its number or name.

    Raises:
        DataConsistencyError: there is no such codec.
    """
    if key not in _BY_KEY:
        known = ", ".join(record.name for record in RECORDS)
        raise DataConsistencyError(f"expected a codec of {known}, found {key!r}")
    return _BY_KEY[key]
