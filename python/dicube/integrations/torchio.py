"""Lets TorchIO 1.x read dicube files.

    tio.ScalarImage("a.dcbs", reader=read)
    tio.LabelMap("labels.dcbs", reader=read)

TorchIO makes tensors of the arrays, so that this module needs none of its names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.integrations.as_nifti import channels, load, x_first


def read(path: Any, **options: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read a dicube file for `ScalarImage` and `LabelMap`.

    Args:
        path: see `dicube.open`. TorchIO 1.x itself takes local paths only.
        options: for `dicube.open`; `functools.partial(read, num_threads=1)` is best in the workers
            of a DataLoader.

    Returns:
        The voxels as (channel, x, y, z), where channels are volumes or samples of colours, and the
        affine in RAS. Labels keep their type; TorchIO turns uint16 and uint32 into wider integers.

    Raises:
        DicomCubeError: see `dicube.open`; the volumes of a series differ in shape or position.
    """
    image = load(path, **options)
    return x_first(channels(image), options.get("num_threads")), image.affine
