"""The registry of codecs: 'jxl' (JPEG XL, for `.dcba`) and 'jph' (HTJ2K, for `.dcbs`).

Codecs convert single images to bytes and back. They know no files and no DICOM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from dicube.codecs.jph import JphCodec
from dicube.codecs.jxl import JxlCodec

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ImageCodec",
    "JphCodec",
    "JxlCodec",
    "get_codec",
    "is_codec_available",
    "list_codecs",
    "register_codec",
]


@runtime_checkable
class ImageCodec(Protocol):
    """The interface of a codec.

    Attributes:
        id: its number in files and in the C library.
        name: its name in this registry, in lower case.
        extensions: of files that contain a bare codestream.
    """

    id: int
    name: str
    extensions: tuple[str, ...]

    def encode(self, image: NDArray[Any], /, **options: Any) -> bytes:
        """Encode one image.

        Args:
            image: (rows, columns), or (rows, columns, 3) for colour.
            options: of the codec, by name.

        Returns:
            The codestream.
        """

    def decode(self, data: Any, /, **options: Any) -> NDArray[Any]:
        """Decode one image.

        Args:
            data: the codestream.
            options: of the codec, by name.

        Returns:
            The image, with the shape of the one encoded. JPEG XL restores the dtype; HTJ2K only
            that of integers of at most 32 bits.
        """

    def is_available(self) -> bool:
        """Return whether the codec can be used."""

    def get_version(self) -> str:
        """Return name and version of the library behind it."""


_codecs: dict[str, Any] = {}


def register_codec(codec: Any) -> None:
    """Add a codec to the registry; replace the codec with the same name, if there is one.

    Raises:
        TypeError: it isn't an `ImageCodec`.

    Example:
        >>> from dicube.codecs import JxlCodec, register_codec
        >>> register_codec(JxlCodec())  # replaces 'jxl'
    """
    if not isinstance(codec, ImageCodec):
        raise TypeError(f"expected an ImageCodec, found {type(codec).__name__}")
    _codecs[codec.name.lower()] = codec


def get_codec(name: str) -> Any:
    """Return a codec by its name, ignoring case.

    Raises:
        ValueError: there is no codec with that name.

    Example:
        >>> from dicube.codecs import get_codec
        >>> codec = get_codec("jph")
        >>> image = np.arange(12, dtype="uint16").reshape(3, 4)
        >>> bool((codec.decode(codec.encode(image)) == image).all())
        True
    """
    codec = _codecs.get(name.lower())
    if codec is None:
        raise ValueError(f"Unknown codec {name!r}; available: {', '.join(list_codecs())}")
    return codec


def list_codecs() -> list[str]:
    """Return the names of all codecs, sorted.

    Example:
        >>> from dicube.codecs import list_codecs
        >>> list_codecs()
        ['jph', 'jxl']
    """
    return sorted(_codecs)


def is_codec_available(name: str) -> bool:
    """Return whether a codec with that name is registered and can be used.

    Example:
        >>> from dicube.codecs import is_codec_available
        >>> is_codec_available("jxl"), is_codec_available("jpeg")
        (True, False)
    """
    codec = _codecs.get(name.lower())
    return codec is not None and bool(codec.is_available())


register_codec(JxlCodec())
register_codec(JphCodec())
