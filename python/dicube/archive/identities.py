"""Whether an archive holds identified series, or de-identified ones, and under which key.

Its files say so, as the catalogue may be lost. Must not know how series are de-identified.
"""

from __future__ import annotations

from dicube.archive.deidentify import KEY_IN_USE
from dicube.archive.places import Place
from dicube.archive.pseudonyms import SecretKey
from dicube.core.cube_parts import read_meta, read_originals
from dicube.exceptions import DataConsistencyError, DicomCubeError
from dicube.storage.dcb_reader import DcbReader

_NO_KEY = "none"


def expect_same_identities(place: Place, key: SecretKey | None) -> None:
    """Raise if an archive would hold de-identified series beside others, or those of two keys.

    Its files tell: the first that can be read, as all others are of the same kind.
    """
    found = next(filter(None, (_key_in_use(place, name) for name, _ in place.series_files())), None)
    wanted = _NO_KEY if key is None else key.fingerprint
    if found in (None, wanted):
        return
    if key is None:
        text = "the archive holds de-identified series only: expected deidentify='basic'"
    elif found == _NO_KEY:
        text = "the archive holds series that are not de-identified"
    else:
        text = "the series of the archive were de-identified with another key"
    raise DataConsistencyError(text, suggestion="add them to an archive of their own")


def _key_in_use(place: Place, name: str) -> str:
    """Return the fingerprint of the key of a file, or `_NO_KEY`; '' if the file can't be read."""
    try:
        with place.local_file(name) as path, DcbReader(path, num_threads=1) as reader:
            if read_originals(reader) is not None:
                return _NO_KEY  # it was not de-identified here
            meta = read_meta(reader)
    except DicomCubeError:
        return ""
    methods = None if meta is None else meta.get_of_slice("DeidentificationMethod", 0)
    for method in methods if isinstance(methods, list) else [methods]:
        if isinstance(method, str) and method.startswith(KEY_IN_USE):
            return method.removeprefix(KEY_IN_USE)
    return _NO_KEY
