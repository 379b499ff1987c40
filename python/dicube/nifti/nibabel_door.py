"""Import nibabel, and convert its exceptions to dicube's. No other module imports it.

Must not know what a header means.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from dicube.exceptions import (
    DataConsistencyError,
    DicomCubeError,
    InvalidCubeFileError,
    needing,
    without_quotes,
)


def import_nibabel() -> Any:
    """Return nibabel, which is imported when it is first needed.

    Raises:
        MissingPackageError: it is not installed.
    """
    with needing("NIfTI", "nibabel", "nifti"):
        import nibabel
    return nibabel


def nibabel_class(version: int) -> Any:
    """Return nibabel's class of headers of a NIfTI version."""
    nibabel = import_nibabel()
    if version not in (1, 2):
        raise DataConsistencyError(f"expected NIfTI version 1 or 2, found {version!r}")
    return nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header


def single_file_bytes(fields: Any) -> bytes:
    """Return everything before the voxels in a file with the header `fields`."""
    fields["vox_offset"] = 0
    written = io.BytesIO()
    fields.write_to(written)  # sets the offset
    return written.getvalue().ljust(int(fields["vox_offset"]), b"\0")


@contextmanager
def refusing(kind: type[DicomCubeError] = InvalidCubeFileError) -> Iterator[None]:
    """Convert nibabel's exceptions to one of dicube's, and suppress its warnings."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except (DicomCubeError, MemoryError):
        raise
    except Exception as error:  # malformed bytes make nibabel raise exceptions of any class
        raise kind(f"NIfTI: {without_quotes(error)}") from None
