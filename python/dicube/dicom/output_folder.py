"""Files in a folder that is written to: none replaced unasked, none ever half-written.

Must not know what is in them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable

from dicube.exceptions import CubeFileAccessError, TargetExistsError


def make_folder(target: str, overwrite: bool) -> None:
    """Make a folder where it is missing.

    Raises:
        TargetExistsError: it is a file, or a folder that is not empty, without `overwrite`.
        CubeFileAccessError: the operating system refuses.
    """
    if os.path.exists(target) and not os.path.isdir(target):
        raise TargetExistsError(f"{target} is a file, not a folder")
    try:
        os.makedirs(target, exist_ok=True)
        with os.scandir(target) as entries:
            occupied = next(entries, None)
    except OSError as error:
        raise CubeFileAccessError(f"can't write to {target}: {error.strerror}") from error
    if occupied is not None and not overwrite:
        raise TargetExistsError(
            f"{target} is not empty: it holds {occupied.name}",
            suggestion="choose another folder, or overwrite=True",
        )


def write_whole(path: str, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file beside its place and move it there, so that it is never seen half-written.

    Raises:
        CubeFileAccessError: the operating system refuses.
    """
    # Named as libdicube names its own; not after the file, whose name may be as long as one can be.
    beside = os.path.join(os.path.dirname(path), f".dicube-{secrets.token_hex(6)}")
    try:
        try:
            with open(beside, "xb") as file:
                for part in parts:
                    file.write(part)
            os.replace(beside, path)
        except BaseException:
            if os.path.exists(beside):
                os.unlink(beside)
            raise
    except OSError as error:
        raise CubeFileAccessError(f"can't write {path}: {error.strerror}") from error
