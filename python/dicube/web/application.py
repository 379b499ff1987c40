"""The ASGI application: DICOMweb under `/dicom-web`, files under `/files`, a viewer under `/`.

Brings the parts of this room together. Must not know sockets.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from dicube.exceptions import DicomCubeError
from dicube.web.files import Files
from dicube.web.matching import QueryError
from dicube.web.responses import Workers
from dicube.web.retrieval import Retrieval
from dicube.web.search import Search
from dicube.web.security import Guard, Log, Rules
from dicube.web.stored import Stored
from dicube.web.viewer import Viewer

_LOG = logging.getLogger("dicube.web")
_STUDY = "/studies/{study}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"
_FRAMES = f"{_INSTANCE}/frames/{{frames}}"


def application(
    stored: Stored,
    rules: Rules | None = None,
    ohif: str | os.PathLike[str] | None = None,
    log: Log | None = None,
) -> ASGIApp:
    """Return an application that serves DICOMweb.

    Args:
        stored: what is served; it is closed when the application ends, or can't be made.
        rules: what requests are allowed; None for any.
        ohif: the `dist` folder of OHIF, for the page under `/`.
        log: called with a line for each request; None for no log.

    Raises:
        CubeFileNotFoundError: the folder has no index.html.
    """
    try:
        viewer = Viewer(ohif)
    except BaseException:
        stored.close()
        raise
    workers = Workers()
    search, retrieval = Search(stored, workers), Retrieval(stored, workers)
    files = Files(stored, workers)
    service = [
        Route("/studies", search.studies),
        Route("/series", search.series),
        Route("/instances", search.instances),
        Route(f"{_STUDY}/series", search.series),
        Route(f"{_STUDY}/instances", search.instances),
        Route(f"{_SERIES}/instances", search.instances),
        *(Route(path, retrieval.files) for path in (_STUDY, _SERIES, _INSTANCE)),
        *(
            Route(f"{path}/{name}", endpoint)
            for path in (_STUDY, _SERIES, _INSTANCE)
            for name, endpoint in (
                ("metadata", retrieval.metadata),
                ("rendered", retrieval.rendered),
                ("thumbnail", retrieval.thumbnail),
            )
        ),
        Route(_FRAMES, retrieval.frames),
        Route(f"{_FRAMES}/rendered", retrieval.rendered),
        Route(f"{_FRAMES}/thumbnail", retrieval.thumbnail),
        Route(f"{_INSTANCE}/bulkdata/{{path:path}}", retrieval.bulk),
    ]
    service.sort(key=lambda route: -len(route.path.split("/")))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        workers.close()
        stored.close()

    inner = Starlette(
        routes=[
            Mount("/dicom-web", routes=service),
            Route("/files", files.listed),
            Route("/files/{path:path}", files.file),
            Route("/findings/{path:path}", files.findings),
            Route("/{path:path}", viewer.file),
        ],
        exception_handlers={
            HTTPException: _refused,
            QueryError: _invalid,
            DicomCubeError: _failed,
        },
        lifespan=lifespan,
    )
    return Guard(inner, rules or Rules(), log)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


async def _invalid(_request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 400)


async def _failed(_request: Request, error: Exception) -> Response:
    """Answer for a file that can't be read; the reason is for the one who runs the server."""
    assert isinstance(error, DicomCubeError)
    _LOG.error("%s: %s", type(error).__name__, error.message)
    return PlainTextResponse("the stored file can't be read, or not in this form\n", 500)
