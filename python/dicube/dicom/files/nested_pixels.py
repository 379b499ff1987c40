"""Decodes the pixels of a sequence item, such as an icon.

They are coded in the transfer syntax of the file, or native (PS3.5 A.4). Must not know series.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from numpy.typing import NDArray
from pydicom.config import IGNORE
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID

from dicube.dicom.files.instance_reading import instance_of
from dicube.dicom.files.sources import DatasetInMemory
from dicube.dicom.files.volume import read_volume


def decode_item(elements: bytes, syntax: str, name: str) -> tuple[NDArray[Any], str]:
    """Return the samples of a sequence item with coded pixels.

    Args:
        elements: the pixels and the elements that describe them, in explicit VR little endian.
        syntax: UID of the transfer syntax of the file.
        name: name of the item for messages.

    Returns:
        The samples as (frame, row, column) or (frame, row, column, sample); and their photometric
        interpretation, '' if it is the item's.

    Raises:
        DicomCubeError: the pixels can't be decoded.
    """
    dataset = read_dataset(BytesIO(elements), False, True)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax, IGNORE)
    instance = instance_of(DatasetInMemory(name, dataset))
    volume, interpretations = read_volume([instance], [range(instance.frame_count)], 1)
    return volume, "".join(interpretations)
