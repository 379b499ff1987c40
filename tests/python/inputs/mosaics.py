"""Images that have the slices of a volume as tiles, as Siemens and UIH write them."""

from __future__ import annotations

import numpy as np
from inputs.dicom_series import item, make_slice
from inputs.private_elements import csa_header
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

OBLIQUE = [0.96, 0.28, 0, 0, 0, -1]
NORMAL = np.cross(OBLIQUE[:3], OBLIQUE[3:])


def mosaic(time: int, tiles: tuple[int, int]) -> Dataset:
    """Make an image of tiles, without what says how many slices they are."""
    dataset = make_slice(time, (tiles[0] * 16, tiles[1] * 12))
    dataset.Modality, dataset.SOPClassUID, dataset.RescaleIntercept = "MR", MRImageStorage, 0
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = OBLIQUE, [-50, 30, 20]
    dataset.SliceThickness, dataset.SpacingBetweenSlices = 3, 3.5
    dataset.RepetitionTime = 2000
    return dataset


def siemens(time: int, count: int, sign: int = 1) -> Dataset:
    """Make an image of so many slices, along the normal or against it."""
    across = int(np.ceil(np.sqrt(count)))
    dataset = mosaic(time, (across, across))
    dataset.Manufacturer, dataset.ImageType = "SIEMENS", ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0A, "US", count)
    values = {
        "NumberOfImagesInMosaic": [str(count)],
        "SliceNormalVector": [f"{sign * n:.8f}" for n in NORMAL],
    }
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", csa_header(values))
    return dataset


def uih(time: int, count: int, sign: int = 1) -> Dataset:
    """Make an image of so many slices, along the normal or against it."""
    across = int(np.ceil(np.sqrt(count)))
    dataset = mosaic(time, (-(-count // across), across))
    dataset.Manufacturer, dataset.ImageType = "UIH", ["ORIGINAL", "PRIMARY", "M", "VFRAME"]
    points = np.array([-50, 30, 20]) + np.arange(count)[:, None] * NORMAL * 3.5 * sign
    block = dataset.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x50, "DS", str(count))
    frames = [
        item(AcquisitionDate="20200101", ImagePositionPatient=[round(float(x), 5) for x in point])
        for point in points
    ]
    block.add_new(0x51, "SQ", frames)
    return dataset
