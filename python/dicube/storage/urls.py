"""What is a URL and what a path, and how a URL is written in messages.

Names come from strangers too: `dicube info *` passes on the names in a folder. So a path that
exists is never a URL, and no URL may lead to further addresses that the caller did not write. Must
not know how URLs are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from dicube.exceptions import DataConsistencyError, MissingPackageError

# A scheme has at least two letters; a single letter is a drive.
_SCHEME = "[A-Za-z][A-Za-z0-9+.-]+"
_URL = re.compile(f"({_SCHEME}::)*{_SCHEME}://")
_CHAIN = "::"

# The file system whose files hold the addresses of the data, and a link to it.
_REFERENCE = "reference"
_TO_REFERENCE = re.compile(f"(?<![A-Za-z0-9+.-]){_REFERENCE}:(:|//)")

_URL_IN_TEXT = re.compile(rf"{_SCHEME}://[^\s'\"<>]+")
_USER = re.compile(r"://[^/?#\s]*@")
_QUERY_OR_FRAGMENT = re.compile("[?#].*", re.DOTALL)


def is_url(source: Any) -> bool:
    """Return whether a source is a URL or a chain of them, as fsspec takes them, and not a path."""
    return (
        isinstance(source, str) and _URL.match(source) is not None and not os.path.lexists(source)
    )


def is_chained(source: Any) -> bool:
    """Return whether a source is a chain of URLs, such as simplecache::s3://bucket/head.dcbs."""
    return is_url(source) and _CHAIN in source


def name_of_source(source: Any) -> str:
    """Return the path or URL of a source for messages; '' for bytes and file objects."""
    if is_url(source):
        return without_credentials(source)
    return os.fsdecode(source) if isinstance(source, (str, os.PathLike)) else ""


def without_credentials(url: str) -> str:
    """Return a URL without user, password, query and fragment, which may hold credentials.

    Example:
        >>> from dicube.storage.urls import without_credentials
        >>> without_credentials("https://me:secret@example.org/head.dcbs?key=secret")
        'https://example.org/head.dcbs'
    """
    return _QUERY_OR_FRAGMENT.sub("", _USER.sub("://", url))


def missing_package(name: str, reason: str) -> MissingPackageError:
    """Return an error for a URL whose file system needs a package that is not installed.

    Args:
        name: of the URL, without credentials.
        reason: fsspec's, which names the package.
    """
    suggestion = "pip install 'dicube[remote]'" if "aiohttp" in reason else None
    return MissingPackageError(f"{name}: {reason}", suggestion=suggestion)


def text_without_credentials(text: str) -> str:
    """Return a text, such as a message of another library, in which no URL has credentials."""
    return _URL_IN_TEXT.sub(lambda found: without_credentials(found[0]), text)


def protocols_of(url: str) -> list[str]:
    """Return the protocol of each link of a URL, the outermost first; a path stands for itself."""
    return [link.split("://")[0] for link in url.split(_CHAIN)]


def check_links(url: str, storage_options: Mapping[str, Any]) -> None:
    """Refuse a URL that reads further addresses from a file, whose author then chooses them.

    Raises:
        DataConsistencyError: a link, or an option, names fsspec's reference file system.
    """
    if _names_reference(url) or _leads_to_reference(storage_options):
        raise DataConsistencyError(
            f"{without_credentials(url)}: expected a URL that names all addresses to read, found "
            f"{_REFERENCE}, which reads them from a file"
        )


def _names_reference(url: str) -> bool:
    return _REFERENCE in protocols_of(url) or _TO_REFERENCE.search(url) is not None


def _leads_to_reference(options: Mapping[str, Any]) -> bool:
    """Return whether options of a file system name reference as another file system's protocol."""
    return any(
        _leads_to_reference(value)
        if isinstance(value, Mapping)
        else isinstance(value, str)
        and (value == _REFERENCE if name.endswith("protocol") else name == "fo")
        and _names_reference(value)
        for name, value in options.items()
    )
