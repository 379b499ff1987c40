"""The xarray backend `engine="dicube"`, which the package announces to xarray.

    xr.open_dataset("a.dcbs", engine="dicube")["voxels"].sel(z=30, method="nearest")

Must not know how slices form volumes, or which coordinates and attributes these get.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from dicube.core.cube import open as open_cube
from dicube.core.handover import VARIABLE, data_array
from dicube.core.lazy_volumes import LazyVolumes, lazy_volumes
from dicube.exceptions import needing
from dicube.storage.formats import is_dicube_name
from dicube.storage.urls import name_of_source

with needing("the engine for xarray", "xarray", "xarray"):
    from xarray.backends import BackendArray, BackendEntrypoint
    from xarray.core.indexing import (
        IndexingSupport,
        LazilyIndexedArray,
        explicit_indexing_adapter,
    )


class DicubeBackend(BackendEntrypoint):
    """Opens dicube files as Datasets of one variable, `voxels`, that decode what is taken of them.

    The variable equals `Cube.to_xarray`. A dask chunk of it, with `chunks={}`, is a slice.
    """

    description: ClassVar[str] = "Open dicube files (.dcbs, .dcba, .dcbl, .dcbr)"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = (
        *("filename_or_obj", "drop_variables", "real", "level", "num_threads"),
        *("storage_options", "on_error", "verify", "max_memory"),
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        real: bool = True,
        level: int = 0,
        num_threads: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        on_error: str = "raise",
        verify: bool = True,
        max_memory: int | None = None,
    ) -> Any:
        """Open a file for `xarray.open_dataset`, without decoding anything.

        Args:
            filename_or_obj: see `dicube.open`.
            drop_variables: names of variables and coordinates to leave out.
            real: real values such as Hounsfield units; False for the stored ones. See
                `Cube.to_xarray`.
            level, num_threads, storage_options, on_error, verify, max_memory: see `dicube.open`.
                `num_threads=1` is best if many tasks of dask read at once.

        Raises:
            DicomCubeError: see `dicube.open`; or the volumes of the series differ in shape or
                position.

        Warns:
            UserWarning: see `Cube.to_xarray`.
        """
        cube = open_cube(
            filename_or_obj,
            level=level,
            num_threads=num_threads,
            storage_options=storage_options,
            on_error=on_error,
            verify=verify,
            max_memory=max_memory,
        )
        array, layout, parts = lazy_volumes(cube, real)
        found = data_array(LazilyIndexedArray(_Voxels(array)), layout, parts, real)
        chunks = dict(zip(found.dims, array.chunks, strict=True))
        found.variable.encoding["preferred_chunks"] = chunks
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables or ()
        dataset = found.to_dataset(name=VARIABLE).drop_vars(dropped, errors="ignore")
        dataset.set_close(cube.close)
        return dataset

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return whether a path or URL ends as those of dicube files do."""
        if not isinstance(filename_or_obj, (str, os.PathLike)):
            return False
        return is_dicube_name(name_of_source(filename_or_obj))


class _Voxels(BackendArray):
    """The values, for xarray's indexing."""

    def __init__(self, array: LazyVolumes) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key: Any) -> Any:
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.OUTER, self._array.read)
