"""Records of what lossy coding changed in an image, and the section that stores them.

Knows numbers and JSON. It must not know pixels or DICOM.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicube.exceptions import InvalidCubeFileError
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.dcb_writer import DcbWriter
from dicube.strict_json import check_json_memory, dump_json, parse_json

_LOSS = "loss"  # JSON
_VERSION = 1


@dataclass(frozen=True)
class Loss:
    """One lossy coding of an image, measured on every sample.

    Attributes:
        settings: how it was requested: 'max_error', 'distance', or 'foreground' and 'background'.
        max_error: the largest difference of a sample, in stored units.
        rmse: root mean square error, in stored units.
        least, greatest: smallest and largest stored value before coding.
        changed: share of the samples that changed.
        ratio: bytes of the samples divided by bytes of the coded frames.
    """

    settings: Mapping[str, float]
    max_error: int
    rmse: float
    least: int
    greatest: int
    changed: float
    ratio: float

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in dB, the peak being greatest - least; inf without errors."""
        span = self.greatest - self.least
        return 20 * math.log10(span / self.rmse) if self.rmse and span else math.inf

    def __str__(self) -> str:
        asked = ", ".join(f"{name} {value:g}" for name, value in self.settings.items())
        return (
            f"{asked}: maximum error {self.max_error}, RMSE {self.rmse:.4g}, "
            f"PSNR {self.psnr:.1f} dB over {self.least} to {self.greatest}, ratio {self.ratio:.2f}"
        )


def write_losses(writer: DcbWriter, losses: Sequence[Loss]) -> None:
    """Write the section that records losses, if there are any."""
    if losses:
        records = [dataclasses.asdict(loss) for loss in losses]
        text = dump_json({"version": _VERSION, "losses": records}, default=_plain)
        writer.write_section(_LOSS, text.encode())


def read_losses(reader: DcbReader) -> tuple[Loss, ...]:
    """Return the losses that a file records, the earliest first.

    Raises:
        InvalidCubeFileError: the section is malformed.
    """
    data = reader.sections.get(_LOSS)
    if not data:
        return ()
    try:
        check_json_memory(data, len(data), reader.max_memory)
        return tuple(_loss_of(entry) for entry in parse_json(data)["losses"])
    except InvalidCubeFileError as error:
        raise type(error)(f"section {_LOSS}: {error.message}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidCubeFileError(
            f"section {_LOSS}: expected records of losses ({type(error).__name__})"
        ) from None


def has_plain_frames(reader: DcbReader) -> bool:
    """Return whether every decoder of the codec decodes the frames to the file's samples."""
    rescaled = any("distance" in loss.settings for loss in read_losses(reader))
    return reader.extension != ".dcbr" and not rescaled


def _loss_of(entry: Mapping[str, Any]) -> Loss:
    loss = Loss(
        {str(name): float(value) for name, value in entry["settings"].items()},
        int(entry["max_error"]),
        float(entry["rmse"]),
        int(entry["least"]),
        int(entry["greatest"]),
        float(entry["changed"]),
        float(entry["ratio"]),
    )
    whole = (loss.max_error, loss.least, loss.greatest)
    if (
        not 0 <= loss.rmse < math.inf
        or loss.least > loss.greatest
        or any(abs(number) >= 1 << 64 for number in whole)
    ):
        raise ValueError("a number is out of range")
    return loss


def _plain(value: Any) -> Any:
    """Return the Python number inside a numpy scalar, which JSON can't hold."""
    return value.item()
