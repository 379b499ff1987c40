"""A parser for VirtualiZarr: a dicube file as a virtual Zarr array, without copying a byte.

    vz.open_virtual_dataset(url, registry=registry, parser=DicubeParser())

Each chunk is a frame where it lies in the file, decoded by the codecs of `integrations.zarr`. Must
not know how a file is laid out, or which coordinates and attributes volumes get.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicube.codecs.records import JPH
from dicube.core.cube import cube_of
from dicube.core.cube_parts import CubeParts
from dicube.core.geometry.layout import Layout
from dicube.core.handover import VARIABLE, data_array
from dicube.core.instances.stored_files import expect_frames
from dicube.core.lazy_volumes import lazy_volumes
from dicube.core.slice_values import bits_of_slices, real_values
from dicube.dicom.series.colours import has_palette
from dicube.dicom.transfer_syntaxes import known_interpretation
from dicube.exceptions import DataConsistencyError, needing
from dicube.integrations.zarr import HTJ2KCodec, JXLCodec
from dicube.storage import DcbReader
from dicube.storage.urls import without_credentials

with needing("a parser for VirtualiZarr (on Python 3.12 or newer)", "virtualizarr", "virtualizarr"):
    from obspec_utils.readers import BlockStoreReader
    from virtualizarr.manifests import ChunkManifest, ManifestArray, ManifestGroup, ManifestStore
    from virtualizarr.manifests.utils import create_v3_array_metadata

RESCALE = ("rescale_slope", "rescale_intercept")  # variables, of each slice
_FRONT = 1 << 18  # bytes of a request, as where dicube itself reads URLs


class DicubeParser:
    """Makes a virtual Zarr array of the frames of a dicube file.

    The array is the variable `voxels`, with the dims, coordinates and attributes of
    `Cube.to_xarray(real=False)`: stored values, whose `scale_factor` and `add_offset` xarray
    applies unless it opens them with `mask_and_scale=False`. If slices differ in these, there are
    variables `rescale_slope` and `rescale_intercept` of each slice instead.

    Metadata and the masks of a `.dcbr` are left out. The checksums of frames are not compared,
    because Zarr has no place for them.
    """

    def __call__(self, url: str, registry: Any) -> Any:
        """Return a `ManifestStore` of a file.

        Args:
            url: of the file, with its scheme.
            registry: the stores to read from, an `ObjectStoreRegistry`.

        Raises:
            InvalidCubeFileError: not a dicube file, or a damaged one, or one without frames.
            DataConsistencyError: a frame is no chunk of the volumes: it is a mosaic of slices; its
                samples are indices of a palette or colours other than RGB, or words which hold
                more than the value; or the volumes of the series differ in shape or position.

        Warns:
            UserWarning: nothing but the order of the slices distinguishes volumes.
        """
        store, path = registry.resolve(url)
        with DcbReader(BlockStoreReader(store, path, block_size=_FRONT)) as reader:
            expect_frames(reader)
            arrays = _arrays_of(reader, url)
        return ManifestStore(ManifestGroup(arrays=arrays), registry=registry)


def _arrays_of(reader: DcbReader, url: str) -> dict[str, Any]:
    """Return the array of the voxels, and those of its coordinates, by their names."""
    volumes, layout, parts = lazy_volumes(cube_of(reader), real=False)
    shape, samples = volumes.shape, reader.shape[3:]
    reason = _problem(layout, parts, is_colour=bool(samples))
    if reason:
        raise DataConsistencyError(
            f"{without_credentials(url)}: no virtual array has these voxels: {reason}",
            suggestion="open it by xarray with engine='dicube'",
        )
    order = range(reader.shape[0]) if layout.order is None else layout.order
    described = data_array(np.broadcast_to(np.zeros((), reader.dtype), shape), layout, parts, False)
    codec = HTJ2KCodec if reader.codec == JPH.name else JXLCodec
    voxels = create_v3_array_metadata(
        shape=shape,
        data_type=reader.dtype,
        chunk_shape=volumes.chunks,
        codecs=[codec(samples=samples[0] if samples else 1).to_dict()],
        attributes=described.attrs,
        dimension_names=described.dims,
    )
    ranges = np.array([reader.coded_range(frame) for frame in order], np.uint64)
    of_slices = shape[: len(shape) - len(reader.shape) + 1]
    grid = (*of_slices, *(1,) * (len(reader.shape) - 1))
    manifest = ChunkManifest.from_arrays(
        paths=np.full(grid, url, np.dtypes.StringDType()),
        offsets=ranges[:, 0].reshape(grid),
        lengths=ranges[:, 1].reshape(grid),
    )
    arrays = {VARIABLE: ManifestArray(metadata=voxels, chunkmanifest=manifest)}
    for name, coordinate in described.coords.items():
        arrays[str(name)] = _inlined(coordinate.values, coordinate.dims, coordinate.attrs)
    if not samples:
        values = real_values("float64", reader.dtype, parts.meta, parts.header)
        rescale = () if values.line else values.rescale_of(len(order))
        for name, numbers in zip(RESCALE, rescale, strict=False):
            of_each = numbers[np.asarray(order)].reshape(of_slices)
            arrays[name] = _inlined(of_each, described.dims[: of_each.ndim], {})
    return arrays


def _problem(layout: Layout, parts: CubeParts, is_colour: bool) -> str:
    """Return why frames are no chunks of the volumes; '' if they are."""
    meta = parts.meta
    if layout.tiles is not None:
        return "each frame is a mosaic of several slices"
    if has_palette(meta):
        return "samples are indices of a palette"
    values = [] if meta is None else meta.get("PhotometricInterpretation", force_nonshared=True)
    others = {str(value) for value in values if value not in (None, "", "RGB")}
    if is_colour and others:
        return f"colours are {', '.join(sorted(map(known_interpretation, others)))}"
    if bits_of_slices(meta, parts.header) is not None:
        return "samples are words that hold other bits beside the value"
    return ""


def _inlined(values: NDArray[Any], dims: tuple[str, ...], attrs: dict[str, Any]) -> Any:
    """Return an array of one chunk with its values."""
    metadata = create_v3_array_metadata(
        shape=values.shape,
        data_type=values.dtype,
        chunk_shape=values.shape,
        codecs=[{"name": "bytes", "configuration": {"endian": "little"}}],
        attributes=attrs,
        dimension_names=dims,
    )
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    chunk = {"path": "", "offset": 0, "length": len(data), "data": data}
    manifest = ChunkManifest({".".join("0" * values.ndim): chunk})
    return ManifestArray(metadata=metadata, chunkmanifest=manifest)
