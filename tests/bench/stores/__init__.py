"""All stores, by name and in the order of the tables."""

from __future__ import annotations

from stores.arrays import Blosc2, Blosc2Patches, NnUnet, Npy, Zarr, ZarrPatches, ZarrShards
from stores.coded_frames import Htj2k, JpegLs, JpegXl
from stores.cubes import DicubeArchive, DicubeSmallBlocks, DicubeSpeed, Published
from stores.itk import SimpleItkDicom, SimpleItkNifti, SimpleItkNrrd
from stores.python_readers import NibabelGzip, NibabelPlain, Pydicom
from stores.store import Series, Store

__all__ = ["STORES", "Series", "Store"]

_STORES: tuple[type[Store], ...] = (
    DicubeSpeed,
    DicubeSmallBlocks,
    DicubeArchive,
    Published,
    Pydicom,
    SimpleItkDicom,
    NibabelGzip,
    NibabelPlain,
    SimpleItkNifti,
    SimpleItkNrrd,
    Htj2k,
    JpegXl,
    JpegLs,
    Blosc2,
    Blosc2Patches,
    NnUnet,
    Zarr,
    ZarrPatches,
    ZarrShards,
    Npy,
)

STORES = {store.__name__: store for store in _STORES}
