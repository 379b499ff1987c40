"""`dicube preview`: draws a dicube file as a picture. Must not know how it is drawn."""

from __future__ import annotations

import argparse
import os

from dicube.cli.options.places import expect_single
from dicube.core.cube import open as open_cube
from dicube.core.pictures.drawing import contact_sheet
from dicube.core.pictures.files import encoded, kind_of_name
from dicube.dicom.series.precedence import Window
from dicube.exceptions import TargetExistsError
from dicube.storage.url_files import written_to
from dicube.storage.urls import is_url, name_of_source
from dicube.whole_files import write_whole


def run(arguments: argparse.Namespace) -> int:
    """Run `dicube preview`; return the exit status."""
    expect_single(arguments.file, arguments.output)
    name = name_of_source(arguments.output)
    kind = kind_of_name(name)
    target, overwrite = arguments.output, arguments.overwrite
    if not overwrite and not is_url(target) and os.path.lexists(target):
        raise TargetExistsError(f"{name} already exists", suggestion="overwrite=True")
    window = None
    if arguments.window is not None:
        center, width = arguments.window
        window = Window(center, width, "LINEAR")
    with written_to(target, overwrite=overwrite) as local:
        with open_cube(arguments.file) as cube:
            pixels = contact_sheet(
                cube, count=arguments.slices, window=window, level=arguments.level
            )
        data = encoded(pixels, kind)
        write_whole(os.fspath(local), [data])
    rows, columns = pixels.shape[:2]
    print(f"{name}: {columns} x {rows} pixels, {len(data):,} bytes")
    return 0
