"""The measurements of one series, and the ratios computed from them. Knows stores by name only.

Must not know how they were measured, or how they are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from contest import Measured
from stores import STORES


@dataclass
class Results:
    """The measurements of one series.

    Attributes:
        volume: bytes of the stored values.
        measured: measurements by operation and store name.
        sizes: bytes of each store's files.
        fetched: bytes that an operation fetched, by operation and store name.
        bare_loop: median seconds of each measurement of bare_loop.cpp, by name; empty without it.
    """

    volume: int
    measured: dict[tuple[str, str], Measured] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    fetched: dict[tuple[str, str], float] = field(default_factory=dict)
    bare_loop: dict[str, float] = field(default_factory=dict)

    def seconds(self, what: str) -> float:
        """Return the median time of an operation, named 'STORE OPERATION'.

        Raises:
            KeyError: the operation was not measured.
        """
        store, operation = what.split()
        measured = self.measured[operation, store]
        if measured.error:
            raise KeyError(measured.error)
        return measured.median

    def peak(self, what: str) -> float:
        """Return the peak memory of an operation beyond that before it, in MB."""
        store, operation = what.split()
        return self.measured[operation, store].peak / 1e6

    def share(self, what: str) -> float:
        """Return the bytes that an operation fetches, as a percentage of the file."""
        store, operation = what.split()
        return 100 * self.fetched[operation, store] / self.sizes[store]

    def as_data(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        stores: dict[str, Any] = {}
        for (operation, store), measured in self.measured.items():
            about = stores.setdefault(
                store,
                {
                    "title": STORES[store].title,
                    "versions": measured.versions,
                    "bytes": self.sizes.get(store),
                    "operations": {},
                },
            )
            about["operations"][operation] = asdict(measured) | (
                {"median": measured.median, "spread": measured.spread} if measured.seconds else {}
            )
            if (operation, store) in self.fetched:
                about["operations"][operation]["fetched"] = self.fetched[operation, store]
        return {
            "volume_bytes": self.volume,
            "stores": stores,
            "bare_loop": self.bare_loop,
            "figures": self.figures(),
        }

    def figures(self) -> dict[str, float]:
        """Return those of `FIGURES` whose measurements exist."""

        def value(figure: Figure) -> float | None:
            try:
                return figure(self)
            except KeyError:
                return None

        figures = {text: value(figure) for text, figure in FIGURES.items()}
        return {text: number for text, number in figures.items() if number is not None}


Figure = Callable[[Results], float]


def _ratio(above: str, below: str) -> Figure:
    """Return the ratio of the times of two operations."""
    return lambda results: results.seconds(above) / results.seconds(below)


def _speed(what: str) -> Figure:
    """Return the MB/s of an operation on the whole volume."""
    return lambda results: results.volume / 1e6 / results.seconds(what)


def _milliseconds(what: str) -> Figure:
    return lambda results: 1000 * results.seconds(what)


def _bare(above: str, below: str) -> Figure:
    """Return the ratio of two times of the bare loop."""
    return lambda results: results.bare_loop[above] / results.bare_loop[below]


# Each name gives numerator and denominator. The bare loop is the codec alone (bare_loop.cpp).
FIGURES: dict[str, Figure] = {
    "load .dcbs: published / dicube": _ratio("Published read", "DicubeSpeed read"),
    "load .dcbs: bare loop / libdicube": _bare("bare decode fresh", "dicube decode fresh"),
    "load .dcbs: bare loop / dicube": lambda results: (
        results.bare_loop["bare decode fresh"] / results.seconds("DicubeSpeed read")
    ),
    "load: .dcbs / blosc2": _ratio("DicubeSpeed read", "Blosc2 read"),
    "bytes: blosc2 / .dcbs": lambda results: results.sizes["Blosc2"] / results.sizes["DicubeSpeed"],
    "load: .dcbs / imagecodecs' HTJ2K": _ratio("DicubeSpeed read", "Htj2k read"),
    "load: .dcba / imagecodecs' JPEG XL": _ratio("DicubeArchive read", "JpegXl read"),
    "load .dcbs: real values / stored ones": _ratio("DicubeSpeed real", "DicubeSpeed read"),
    "load .dcbs: memory beyond the volume, MB": lambda results: (
        results.peak("DicubeSpeed read") - results.volume / 1e6
    ),
    "save .dcbs: published / dicube": _ratio("Published write", "DicubeSpeed write"),
    "save .dcbs without original files: published / dicube": _ratio(
        "Published write", "DicubeSpeed write_without_originals"
    ),
    "save .dcbs, only pixels: published / dicube": _ratio(
        "Published write_pixels", "DicubeSpeed write_pixels"
    ),
    "save .dcbs: bare loop / libdicube": _bare("bare encode", "dicube encode"),
    "save .dcbs: with checking / without": _ratio("DicubeSpeed write_checked", "DicubeSpeed write"),
    "save .dcbs: memory beyond the image, MB": lambda results: results.peak("DicubeSpeed write"),
    "folder to image: published / dicube": _ratio("Published folder", "DicubeSpeed folder"),
    "folder to image: dicube / pydicom": _ratio("DicubeSpeed folder", "Pydicom folder"),
    "open .dcbs and a frame, ms": _milliseconds("DicubeSpeed slice"),
    "open .dcbs and a frame: published / dicube": _ratio("Published slice", "DicubeSpeed slice"),
    "open .dcbs and metadata, ms": _milliseconds("DicubeSpeed open_metadata"),
    "open .dcbs and metadata: published / dicube": _ratio(
        "Published open", "DicubeSpeed open_metadata"
    ),
    "all .dcbs frames: whole / level 1": _ratio("DicubeSpeed read_cube", "DicubeSpeed level_1"),
    "all .dcbs frames: whole / level 3": _ratio("DicubeSpeed read_cube", "DicubeSpeed level_3"),
    "over HTTP, 20 ms late: a slice, ms": _milliseconds("DicubeSpeed far_slice"),
    "over HTTP: all frames, ms": _milliseconds("DicubeSpeed far_read_cube"),
    "over HTTP: level 1, ms": _milliseconds("DicubeSpeed far_level_1"),
    "over HTTP: level 3, ms": _milliseconds("DicubeSpeed far_level_3"),
    "over HTTP: bytes of level 1, % of the file": lambda results: results.share(
        "DicubeSpeed far_level_1"
    ),
    "over HTTP: bytes of level 3, % of the file": lambda results: results.share(
        "DicubeSpeed far_level_3"
    ),
    "patches/s: .dcbs / blosc2 cut for them": _ratio(
        "Blosc2Patches training", "DicubeSpeed training"
    ),
    "patches/s: .dcbs / blosc2": _ratio("Blosc2 training", "DicubeSpeed training"),
    "patches/s: .dcbs / nnU-Net's blosc2": _ratio("NnUnet training", "DicubeSpeed training"),
    "patches/s: .dcbs / .nii.gz": _ratio("NibabelGzip training", "DicubeSpeed training"),
    "patches/s, files held open: .dcbs / blosc2": _ratio(
        "Blosc2 training_held", "DicubeSpeed training_held"
    ),
    "patches/s: .dcbs with blocks of 32 / of 64": _ratio(
        "DicubeSpeed training_held_one", "DicubeSmallBlocks training_held_one"
    ),
    "load .dcbs: blocks of 32 / of 64": _ratio(
        "DicubeSmallBlocks read_one_thread", "DicubeSpeed read_one_thread"
    ),
    "256 x 256 of a 4096 x 3328 frame, .dcbs, ms": _milliseconds("DicubeSpeed large_patch"),
    "256 x 256 of a 4096 x 3328 frame: blosc2 / .dcbs": _ratio(
        "Blosc2 large_patch", "DicubeSpeed large_patch"
    ),
    "load: .dcba / .nii.gz, nibabel": _ratio("DicubeArchive read", "NibabelGzip read"),
    ".dcbs decode, one thread, MB/s": _speed("DicubeSpeed read_one_thread"),
    ".dcbs encode, one thread, MB/s": _speed("DicubeSpeed write_one_thread"),
    ".dcba decode, one thread, MB/s": _speed("DicubeArchive read_one_thread"),
    ".dcba encode, one thread, MB/s": _speed("DicubeArchive write_one_thread"),
    "bytes: volume / .dcbs": lambda results: results.volume / results.sizes["DicubeSpeed"],
    "bytes: volume / .dcba": lambda results: results.volume / results.sizes["DicubeArchive"],
    ".dcba smaller than .dcbs, %": lambda results: (
        100 - 100 * results.sizes["DicubeArchive"] / results.sizes["DicubeSpeed"]
    ),
}
