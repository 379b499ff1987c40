"""DICOMweb for an archive, or for single dicube files, and the page of a viewer; see `serve`.

Names are loaded when they are first used: the server needs the packages of `dicube[web]`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dicube.web.application import application
    from dicube.web.server import serve
    from dicube.web.viewer import has_own_page

__all__ = ["application", "has_own_page", "serve"]

_HOMES = {"application": "application", "has_own_page": "viewer", "serve": "server"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
