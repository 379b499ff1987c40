"""Sends dicube files by ranges, lists them, and checks their series, for the viewer page.

A path of a request is looked up among the files that are served. Must not know frames.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from threading import Lock
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from dicube.core.cube_parts import read_meta
from dicube.dicom.dicom_status import ranges_text
from dicube.dicom.series.check import check_dicom
from dicube.storage.byte_source import RemoteFile
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.urls import is_url
from dicube.web.responses import Workers
from dicube.web.stored import Stored

_MOST_LISTED = 500
_MOST_OPEN = 32  # files at URLs
_LONGEST_PART = 8 << 20  # bytes of an answer to a range of a file at a URL
_CACHED = {"Cache-Control": "private, no-cache"}
_SHOWN = (
    "PatientID",
    "PatientName",
    "StudyDate",
    "StudyDescription",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "status",
)


class Files:
    """The dicube files of a service."""

    def __init__(self, stored: Stored, workers: Workers) -> None:
        """Take what is served, and the threads that read."""
        self._stored, self._workers = stored, workers
        self._remote: OrderedDict[str, tuple[RemoteFile, int]] = OrderedDict()
        self._lock = Lock()

    async def listed(self, request: Request) -> Response:
        """Return the first files with frames, as JSON: where each is, and what it shows."""
        rows = await self._workers.run(self._stored.find, "series", (), _MOST_LISTED + 1)
        found = [
            {"url": f"files/{quote(self._stored.path_of(row['file']))}"}
            | {keyword: row[keyword] for keyword in _SHOWN}
            | {"instances": row["NumberOfSeriesRelatedInstances"]}
            for row in rows[:_MOST_LISTED]
            if row["dtype"]
        ]
        content = {"files": found, "more": len(rows) > _MOST_LISTED}
        return JSONResponse(content, headers=_CACHED)

    async def findings(self, request: Request) -> Response:
        """Return what `check_dicom` finds in a file, as JSON."""
        source = await self._source(request)
        return JSONResponse(await self._workers.run(_findings, source), headers=_CACHED)

    async def file(self, request: Request) -> Response:
        """Return a file, or a range of it."""
        source = await self._source(request)
        if not is_url(source):
            return FileResponse(source, media_type="application/octet-stream", headers=_CACHED)
        return await self._workers.run(self._part_of_remote, source, request)

    async def _source(self, request: Request) -> str:
        source = await self._workers.run(self._stored.source_of, request.path_params["path"])
        if source is None:
            raise HTTPException(404, "no such file")
        return source

    def _part_of_remote(self, url: str, request: Request) -> Response:
        remote, size = self._opened(url)
        found = re.fullmatch(r"bytes=(\d{1,18})-(\d{0,18})", request.headers.get("range", ""))
        if found is None:
            raise HTTPException(416, "this file comes by ranges only")
        start, stop = int(found[1]), min(int(found[2] or size) + 1, size)
        if start >= stop:
            raise HTTPException(416, "no such range", {"Content-Range": f"bytes */{size}"})
        stop = min(stop, start + _LONGEST_PART)
        buffer = bytearray(stop - start)
        remote.read_at(start, memoryview(buffer))
        headers = {**_CACHED, "Content-Range": f"bytes {start}-{stop - 1}/{size}"}
        return Response(bytes(buffer), 206, headers, "application/octet-stream")

    def _opened(self, url: str) -> tuple[RemoteFile, int]:
        with self._lock:
            if url in self._remote:
                self._remote.move_to_end(url)
                return self._remote[url]
        with DcbReader(url, num_threads=1) as reader:
            size = reader.file_size
        remote = RemoteFile(url)
        remote.size()  # fetches the front
        opened: tuple[RemoteFile, Any] = (remote, size)
        with self._lock:
            self._remote[url] = opened
            while len(self._remote) > _MOST_OPEN:
                self._remote.popitem(last=False)
        return opened


def _findings(source: str) -> list[dict[str, str]]:
    with DcbReader(source, num_threads=1) as reader:
        meta = read_meta(reader)
    found = [] if meta is None else check_dicom(meta)
    return [
        {
            "kind": one.kind,
            "message": one.message,
            "slices": ranges_text(one.slices),
            "reference": one.reference,
        }
        for one in found
    ]
