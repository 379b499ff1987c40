"""Every real DICOM series at hand is restored unchanged, or refused with a clear error."""

from __future__ import annotations

import re

import pytest
from inputs.real_series import Source, convert, sources

# What can't be loaded, by the end of its name, and what the error tells.
REFUSED = {
    "ct_philips_tilt": "can't form a volume: 3 of 256 x 512 uint16",
    "MR_truncated.dcm": "truncated: expected 8192 bytes of pixels, found 8130",
    "meta_missing_tsyntax.dcm": "has no image shape",
    "nested_priv_SQ.dcm": "has no image shape",
    "pydicom/data/charset_files/": "has neither a SeriesInstanceUID nor pixels",
    "pydicom/data/test_files/": "rtplan_truncated.dcm is truncated",
    "98892003/MR1/": "3 series found",
    "98892003/MR2/": "3 series found",
    "nicom/tests/data/": "3 series found",
    # JPEG of 12 bits, and one with a damaged header: pydicom's plugins have none of them.
    "JPEG-lossy.dcm": "can't decode pixels in transfer syntax JPEG Extended",
    "JPGExtended.dcm": "can't decode pixels in transfer syntax JPEG Extended",
    "JPEG2000-embedded-sequence-delimiter.dcm": "expected frames of 1024 x 256",
}
# Large ones, of kinds that smaller ones have, too.
SLOW = {"ct_philips_thin", "nibabel/nicom/tests/data/philips_mprage.dcm.gz"}
# Others only if their pixels are compressed by what pydicom needs a plugin for.
NEEDS_PLUGIN = r"can't decode pixels in transfer syntax JPEG.*dicube\[dicom-codecs\]"


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(source, id=source.name, marks=[pytest.mark.slow] * (source.name in SLOW))
        for source in sources()
    ],
)
def test_there_and_back(source: Source) -> None:
    result = convert(source)
    assert result.faults() == []
    known = [told for end, told in REFUSED.items() if source.name.endswith(end)]
    if known:
        assert known[0] in result.refused
    elif result.refused:
        assert re.search(NEEDS_PLUGIN, result.refused)
