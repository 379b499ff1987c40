"""Reads from a request where the service is, and which form of a resource the client takes.

PS3.18 8.3.3.1 and 8.7.5. Must not know what is stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request

from dicube.web.accept import Offer, chosen

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_LONGEST = 4096  # characters of an Accept header


def service_url(request: Request) -> str:
    """Return the URL of the service as the client sees it.

    A name of this machine without a port, as dicomweb-client sends it, means the server's own port.
    """
    url = request.base_url
    port = (request.scope.get("server") or ("", None))[1]
    if url.port is None and url.hostname in LOCAL_NAMES and port is not None:
        url = url.replace(port=port)
    return f"{url}dicom-web"


def expect(request: Request, offers: Sequence[Offer]) -> Offer:
    """Return the offer that the client prefers.

    Raises:
        HTTPException: 406, it takes none of them.
    """
    text = request.query_params.get("accept") or request.headers.get("accept", "")
    found = chosen(text, tuple(offers)) if len(text) <= _LONGEST else None
    if found is None:
        names = dict.fromkeys(
            f"{offer.media_type}{f'; transfer-syntax={offer.syntax}' if offer.syntax else ''}"
            for offer in offers
        )
        raise HTTPException(406, f"this resource is available as: {', '.join(names)}")
    return found
