"""Chooses what to send by the Accept header of a request (RFC 9110 12.5.1, PS3.18 8.7).

Must not know what is stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

MULTIPART = "multipart/related"
ANY_SYNTAX = "*"

_LONGEST_ENCODINGS = 1024  # characters of an Accept-Encoding header that count
_MOST_RANGES = 64  # of a header; each is compared with each offer
_OUTSIDE_QUOTES = r'(?=(?:[^"]*"[^"]*")*[^"]*$)'


class Offer(NamedTuple):
    """A form in which a resource can be sent.

    Attributes:
        media_type: of the resource, or of each part.
        syntax: UID of its transfer syntax; '' if it has none.
        is_multipart: whether it is sent as parts of a multipart message.
        is_default: whether it is meant where a media type is named without a transfer syntax.
        is_any: whether it is sent where any transfer syntax is accepted.
    """

    media_type: str
    syntax: str = ""
    is_multipart: bool = False
    is_default: bool = True
    is_any: bool = True


@dataclass(frozen=True)
class MediaRange:
    """An element of an Accept header.

    Attributes:
        media_type: in lower case, such as 'image/*'.
        parameters: by name in lower case, without quality.
        quality: 0 to 1; 0 excludes what matches.
    """

    media_type: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    quality: float = 1.0

    @property
    def part_type(self) -> str:
        """The media type of the parts of a multipart message; any if none is named."""
        return self.parameters.get("type", "*/*").lower()

    @property
    def syntax(self) -> str:
        """UID of the transfer syntax; '*' for any, '' if none is named."""
        return self.parameters.get("transfer-syntax", "")

    def matches(self, offer: Offer) -> bool:
        """Return whether an offer is what is asked for."""
        if self.media_type == MULTIPART:
            if not offer.is_multipart or not _covers(self.part_type, offer.media_type):
                return False
        elif self.media_type != "*/*" and (
            offer.is_multipart or not _covers(self.media_type, offer.media_type)
        ):
            return False
        if not offer.syntax:
            return True
        if self.syntax == ANY_SYNTAX:
            return offer.is_any
        return self.syntax == offer.syntax if self.syntax else offer.is_default


def media_ranges(text: str) -> list[MediaRange]:
    """Return the elements of an Accept header, the best first; one for anything if it is empty."""
    found = list(_parsed(text))
    return sorted(found, key=lambda one: -one.quality) or [MediaRange("*/*")]


@lru_cache(1 << 8)  # clients send the same few headers
def chosen(text: str, offers: tuple[Offer, ...]) -> Offer | None:
    """Return the offer that an Accept header prefers, of equals the first; None if it has none."""
    ranges = media_ranges(text)
    refused = [one for one in ranges if not one.quality and one.media_type != "*/*"]
    left = [offer for offer in offers if not any(one.matches(offer) for one in refused)]
    for one in ranges:
        for offer in left:
            if one.quality and one.matches(offer):
                return offer
    return None


def accepts_gzip(text: str) -> bool:
    """Return whether an Accept-Encoding header names gzip."""
    found = {one.media_type: one.quality for one in _parsed(text[:_LONGEST_ENCODINGS])}
    return found.get("gzip", 0.0) > 0


def _parsed(text: str) -> Iterator[MediaRange]:
    for element in re.split("," + _OUTSIDE_QUOTES, text, maxsplit=_MOST_RANGES)[:_MOST_RANGES]:
        name, *pairs = (part.strip() for part in re.split(";" + _OUTSIDE_QUOTES, element))
        if not name:
            continue
        split = (pair.partition("=") for pair in pairs)
        parameters = {key.strip().lower(): value.strip().strip('"') for key, _, value in split}
        yield MediaRange(name.lower(), parameters, _quality(parameters.pop("q", "1")))


def _quality(text: str) -> float:
    return float(text) if re.fullmatch(r"0(\.\d{0,3})?|1(\.0{0,3})?", text) else 0.0


def _covers(pattern: str, media_type: str) -> bool:
    if pattern.endswith("/*"):
        return pattern == "*/*" or media_type.startswith(pattern[:-1])
    return pattern == media_type
