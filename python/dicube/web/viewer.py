"""The pages under `/`: OHIF, or the project's own page, or one that says how to get a viewer.

Files are listed at the start, and looked up by the path of a request. Must not know DICOM.
"""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from dicube.exceptions import CubeFileNotFoundError

_OWN_PAGE = Path(__file__).parent / "page"
_INDEX, _OHIF_CONFIG = "index.html", "app-config.js"
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}

_HOW = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>dicube</title>
<style>body{font:16px/1.5 sans-serif;max-width:40em;margin:3em auto;padding:0 1em}</style>
<h1>dicube</h1>
<p>The DICOMweb service is at <a href="dicom-web/studies">/dicom-web</a>.</p>
<p>To see images here, get OHIF and start the server with it:</p>
<pre>npm pack @ohif/app &amp;&amp; tar xf ohif-app-*.tgz
dicube serve ARCHIVE --ohif package/dist</pre>
"""

_CONFIG = """window.config = {
  routerBasename: '/',
  extensions: [],
  modes: [],
  showStudyList: true,
  showLoadingIndicator: true,
  showWarningMessageForCrossOrigin: false,
  investigationalUseDialog: { option: 'never' },
  maxNumberOfWebWorkers: 4,
  strictZSpacingForVolumeViewport: true,
  maxNumRequests: { interaction: 100, thumbnail: 75, prefetch: 25 },
  defaultDataSourceName: 'dicomweb',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'dicomweb',
      configuration: {
        friendlyName: 'dicube',
        name: 'dicube',
        wadoUriRoot: window.location.origin + '/dicom-web',
        qidoRoot: window.location.origin + '/dicom-web',
        wadoRoot: window.location.origin + '/dicom-web',
        qidoSupportsIncludeField: true,
        supportsReject: false,
        supportsStow: false,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        imageRendering: 'wadors',
        thumbnailRendering: 'wadors',
        enableStudyLazyLoad: true,
        staticWado: false,
        singlepart: 'bulkdata',
        bulkDataURI: { enabled: true },
        omitQuotationForMultipartRequest: true,
      },
    },
  ],
};
"""


def has_own_page() -> bool:
    """Return whether the project's own page is part of this installation."""
    return (_OWN_PAGE / _INDEX).is_file()


class Viewer:
    """The files of a viewer."""

    def __init__(self, ohif: str | os.PathLike[str] | None = None) -> None:
        """List the files.

        Args:
            ohif: the `dist` folder of OHIF; None for the project's own page.

        Raises:
            CubeFileNotFoundError: the folder has no index.html.
        """
        folder = _OWN_PAGE if ohif is None else Path(ohif)
        self._made: dict[str, str] = {}
        self._files = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_file()
        }
        if _INDEX not in self._files:
            if ohif is not None:
                raise CubeFileNotFoundError(
                    f"{folder} has no {_INDEX}",
                    suggestion="give the folder dist of the package @ohif/app",
                )
            self._files, self._made = {}, {_INDEX: _HOW}
        elif ohif is not None:
            self._made = {_OHIF_CONFIG: _CONFIG}
        else:  # tells the page that this server lists its files
            page = self._files[_INDEX].read_text("utf-8")
            self._made = {_INDEX: page.replace("<body>", "<body data-files>", 1)}

    async def file(self, request: Request) -> Response:
        """Return a file; the page itself for a path without an extension, which is the viewer's."""
        name = request.path_params["path"] or _INDEX
        if name not in self._files and name not in self._made and not Path(name).suffix:
            name = _INDEX
        headers = {"Cache-Control": "no-cache"}
        if name in self._made:
            if name == _INDEX:
                return HTMLResponse(self._made[name], headers=headers)
            return Response(self._made[name], headers=headers, media_type="text/javascript")
        if name not in self._files:
            raise HTTPException(404, "no such file")
        path = self._files[name]
        kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        return FileResponse(path, media_type=kind or "application/octet-stream", headers=headers)
