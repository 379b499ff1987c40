"""Which offer an Accept header chooses."""

from __future__ import annotations

import pytest

from dicube.web.accept import Offer, accepts_gzip, chosen, media_ranges

EXPLICIT, HTJ2K, RPCL, JXL = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.110",
)
OCTETS = "application/octet-stream"
NATIVE = Offer(OCTETS, EXPLICIT, True, True, False)
NATIVE_SINGLE = Offer(OCTETS, EXPLICIT, False, True, False)
CODED = Offer(OCTETS, RPCL, True, False, True)
CODED_SINGLE = Offer(OCTETS, RPCL, False, False, True)
JPHC = Offer("image/jphc", HTJ2K, True, True, False)
JPHC_RPCL = Offer("image/jphc", RPCL, True, False, True)
IMAGE_JXL = Offer("image/jxl", JXL, True, True, True)
OFFERS = (NATIVE, CODED, JPHC, JPHC_RPCL, IMAGE_JXL, NATIVE_SINGLE, CODED_SINGLE)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", NATIVE),
        ("*/*", NATIVE),
        ("multipart/related", NATIVE),
        (f'multipart/related; type="{OCTETS}"', NATIVE),
        (f"multipart/related; type={OCTETS}; transfer-syntax=*", CODED),  # as OHIF asks
        (f'Multipart/Related; Type="{OCTETS}"; Transfer-Syntax="{RPCL}"', CODED),
        (f'multipart/related; type="{OCTETS}"; transfer-syntax={HTJ2K}', None),
        ('multipart/related; type="image/jphc"', JPHC),
        ('multipart/related; type="image/jphc"; transfer-syntax=*', JPHC_RPCL),
        (f'multipart/related; type="image/jphc"; transfer-syntax={RPCL}', JPHC_RPCL),
        ('multipart/related; type="image/jxl"', IMAGE_JXL),
        ('multipart/related; type="image/*"', JPHC),
        (OCTETS, NATIVE_SINGLE),
        (f"{OCTETS}; transfer-syntax=*", CODED_SINGLE),
        ("application/*", NATIVE_SINGLE),
        ("image/jphc", None),  # which is offered in parts only
        ("text/html", None),
        ("multipart/mixed", None),
        (f"{OCTETS};q=0.1, multipart/related; type=image/jxl;q=0.2", IMAGE_JXL),
        (f"{OCTETS};q=0.2, multipart/related; type=image/jxl;q=0.1", NATIVE_SINGLE),
        (f"multipart/related; type=image/jxl;q=0, {OCTETS};q=0", None),
        ("multipart/related; type=image/jphc;q=0, multipart/related; type=image/*", IMAGE_JXL),
        ("multipart/related; type=image/jxl;q=nonsense", None),
        ("multipart/related; type=image/jxl;q=1.5", None),
        (f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.4.50, */*;q=0.1", NATIVE),
        ("*/*;q=0", None),
        ("*/*;q=0, multipart/related; type=image/jxl", IMAGE_JXL),
        (",,;", NATIVE),
    ],
)
def test_the_best_range_chooses(header: str, expected: Offer | None) -> None:
    assert chosen(header, OFFERS) == expected


def test_commas_and_semicolons_in_quotes_separate_nothing() -> None:
    (one,) = media_ranges('multipart/related; type="a/b;c,d"; q=0.5')
    assert (one.part_type, one.quality) == ("a/b;c,d", 0.5)


def test_long_headers_are_read_up_to_a_limit() -> None:
    assert len(media_ranges(",".join(["a/b"] * 10_000))) == 64


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("br", False),
    ],
)
def test_gzip_is_sent_only_where_it_is_named(header: str, expected: bool) -> None:
    assert accepts_gzip(header) is expected
