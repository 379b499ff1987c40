"""Names and UIDs under a secret key: keyed hashes that are the same in each run.

Must not know DICOM elements or files of images.
"""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass, field

from dicube.exceptions import CubeFileAccessError, DataConsistencyError
from dicube.regular_files import open_regular

_KEY_SIZE, _LEAST_KEY = 32, 16  # bytes


@dataclass(frozen=True)
class SecretKey:
    """A secret key.

    Attributes:
        data: its bytes. Whoever has them can confirm a guess of a path or a UID.
    """

    data: bytes = field(repr=False)

    def digest(self, purpose: str, text: str) -> bytes:
        """Return the HMAC-SHA-256 of a text, different for each purpose."""
        message = f"{purpose}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self.data, message, "sha256")

    @property
    def fingerprint(self) -> str:
        """What tells this key from others, and nothing else about it."""
        return self.digest("fingerprint", "").hex()[:16]

    def name_of(self, text: str) -> str:
        """Return what stands for a path, or an original UID, in catalogues and reports."""
        return f"hmac:{self.digest('name', text).hex()[:32]}"

    def uid_of(self, uid: str) -> str:
        """Return what replaces a UID: the same for equal UIDs (PS3.5 B.2)."""
        digest = bytearray(self.digest("uid", uid)[:16])
        digest[6] = digest[6] & 0x0F | 0x40  # a UUID of version 4, as such UIDs are made from
        digest[8] = digest[8] & 0x3F | 0x80
        return f"2.25.{int.from_bytes(digest, 'big')}"


def read_key(path: str | os.PathLike[str], *, create: bool = False) -> SecretKey:
    """Read the key in a file.

    Args:
        path: of the file.
        create: make the file, with a random key, if it is missing. Only this user may read it.

    Raises:
        CubeFileAccessError: the file is missing, or can't be read or made.
        DataConsistencyError: it has less than 16 bytes.
    """
    try:
        if create and not os.path.lexists(path):
            os.makedirs(os.path.dirname(path) or os.curdir, exist_ok=True)
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with open(descriptor, "wb") as made:
                made.write(secrets.token_bytes(_KEY_SIZE))
                made.flush()
                os.fsync(descriptor)
        with open_regular(path) as file:
            data = file.read()
    except OSError as error:
        raise CubeFileAccessError(
            f"can't read the key {os.fspath(path)}: {error.strerror}"
        ) from error
    if len(data) < _LEAST_KEY:
        raise DataConsistencyError(
            f"{os.fspath(path)}: expected a key of {_LEAST_KEY} bytes or more, found {len(data)}"
        )
    return SecretKey(data)
