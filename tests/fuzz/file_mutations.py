"""Change the content of dicube files, and seal them with the checksums of what they then hold.

Checksums, digests of original files and packing are right, so that readers get to see what the
sections say. Must not know what readers do with a file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from random import Random

import zstandard
from field_mutations import mutated_fields, mutated_nifti
from file_parts import Parts, joined, parsed
from json_mutations import mutated_text
from original_mutations import (
    changed_originals,
    copied_originals,
    mutated_index,
    mutated_originals,
)

from dicube.codecs import get_codec
from dicube.dicom.originals.model import Originals
from dicube.exceptions import DicomCubeError
from dicube.storage import DcbReader
from dicube.storage.packed_text import pack_bytes, pack_text, unpack_bytes

PACKED = ("dicom_meta", "originals", "nifti", "nifti_end")
_JSON = ("dicom_meta", "space", "colour_space", "pixel_header", "loss")
_LARGEST = 1 << 20  # bytes of a file that is changed once more, as its frames may be repeated
_STATUSES = (
    *("consistent", "inconsistent", "non_uniform_rescale_factor", "unreadable_rescale", ""),
    *("missing_spacing", "gap_location", "CONSISTENT", "\ud800", "consistent\n", "x" * 300),
)
_NO_FILE = (ValueError, LookupError, TypeError, struct.error, zstandard.ZstdError, DicomCubeError)


def mutated_file(file: bytes, pick: Random) -> bytes:
    """Return a file with changed content, sealed; the file itself if nothing comes of it."""
    for _ in range(pick.choice((1, 1, 1, 2, 3))):
        if len(file) <= _LARGEST:
            file = _mutated_once(file, pick)
    return file


def _mutated_once(file: bytes, pick: Random) -> bytes:
    try:
        parts = parsed(file)
        pick.choice(_MUTATIONS)(parts, file, pick)
        return joined(parts)
    except _NO_FILE:
        return file


def crossed(one: bytes, other: bytes, pick: Random) -> bytes:
    """Return the first file with one of the second's sections, or with its frames, sealed."""
    try:
        parts, given = parsed(one), parsed(other)
        if pick.random() < 0.1 and given.frames:
            parts.frames = given.frames
            names = ["Image"]
        else:
            names = [pick.choice(list(given.sections))]
            if names[0].startswith("originals"):
                names = [name for name in given.sections if name.startswith("originals")]
        parts.sections |= {name: given.sections[name] for name in names}
        return joined(parts)
    except _NO_FILE:
        return one


def _mutate_section(parts: Parts, file: bytes, pick: Random) -> None:
    """Change the content of one section."""
    known = [name for name in parts.sections if name != "Image"]
    name = pick.choice(known)
    if name in ("dicom_meta", "originals") and pick.random() < 0.3:  # the largest grammars
        name = pick.choice(known)
    if name == "originals" and pick.random() < 0.5:
        _change_originals(parts, file, mutated_originals, pick)
        return
    data = parts.sections[name]
    content = unpack_bytes(data) if name in PACKED else data
    if name in _JSON:
        text = mutated_text(content, pick)
        content = text.encode("utf-8", "surrogatepass" if pick.random() < 0.1 else "replace")
    elif name == "originals" and pick.random() < 0.9:
        content = mutated_index(content, pick)
    elif name == "nifti":
        content = mutated_nifti(content, pick)
    elif name == "dicom_status":
        content = pick.choice(_STATUSES).encode("utf-8", "surrogatepass")
    else:
        content = mutated_fields(content, pick)
    parts.sections[name] = _packed(name, content, pick)


def _change_originals(
    parts: Parts, file: bytes, change: Callable[[Originals, Random], Originals], pick: Random
) -> None:
    changed = changed_originals(file, change, pick)
    changed["originals"] = _packed("originals", changed["originals"], pick)
    parts.sections |= changed


def _packed(name: str, content: bytes, pick: Random) -> bytes:
    """Pack a section: nearly always as writers do."""
    if name not in PACKED:
        return content
    kind = pick.randrange(60)
    if kind == 0:
        return content
    if kind == 1:
        return zstandard.ZstdCompressor(write_content_size=False).compress(content)
    if kind == 2:
        return zstandard.compress(content) * 2
    if kind == 3:
        return struct.pack("<LL", 0x184D2A50, 1 << 31) + zstandard.compress(content)
    if kind == 4:
        return zstandard.compress(content + bytes(pick.choice((1 << 16, 1 << 20, 1 << 25))))
    if name == "dicom_meta":
        try:
            return pack_text(content.decode())
        except UnicodeDecodeError:
            return zstandard.compress(content)
    return pack_bytes(content)


def _mutate_frames(parts: Parts, file: bytes, pick: Random) -> None:
    """Change which frames there are, or a sample of one."""
    at, kind = pick.randrange(len(parts.frames)), pick.randrange(6)
    if kind == 0:
        parts.frames.append(parts.frames[at])
    elif kind == 1:
        del parts.frames[at]
    elif kind == 2:
        pick.shuffle(parts.frames)
    elif kind == 3:
        parts.frames *= pick.choice((2, 3))
    else:
        with DcbReader(file, num_threads=1, max_memory=64 << 20) as reader:
            frame, codec = reader.read_frames(at, at + 1)[0].copy(), get_codec(reader.codec)
        flat = frame.reshape(-1).view(f"u{frame.dtype.itemsize}")
        flat[pick.randrange(flat.size)] ^= 1
        parts.frames[at] = codec.encode(frame)


def _amplify(parts: Parts, file: bytes, pick: Random) -> None:
    """Let few bytes stand for very many: frames, copies of originals, or values in JSON."""
    kind = pick.randrange(4)
    if kind == 0:
        parts.frames *= 100
        parts.shares = pick.random() < 0.5
    elif kind < 3 and "originals" in parts.sections:
        _change_originals(parts, file, copied_originals, pick)
    else:
        name = pick.choice([name for name in parts.sections if name in _JSON])
        data = parts.sections[name]
        text = _inflated((unpack_bytes(data) if name in PACKED else data).decode(), pick)
        parts.sections[name] = _packed(name, text.encode(), pick)


def _inflated(text: str, pick: Random) -> str:
    """Return JSON text in which a list, an object or a text is repeated very often."""
    at = pick.choice([match.end() for match in re.finditer(r"[\[{\"]", text)])
    count = pick.choice((1000, 10_000, 100_000, 1_000_000))
    if text[at - 1] == '"':
        more = "x" * count
    elif text[at - 1] == "[":
        more = pick.choice(("0,", "null,", "[],", "{},", '"",', "[[[]]],", '{"vr":"US"},')) * count
    else:
        tags = (f'"{number:08X}":{{"vr":"US","shared":true}},' for number in range(count // 10))
        more = "".join(tags)
    return text[:at] + more + text[at:]


def _mutate_layout(parts: Parts, _file: bytes, pick: Random) -> None:
    """Remove, empty or rename a section, or change the shape or the kind of the file."""
    kind = pick.randrange(7)
    name = pick.choice(list(parts.sections))
    if kind == 0:
        del parts.sections[name]
    elif kind == 1:
        parts.sections[name] = b""
    elif kind == 2:
        other = pick.choice((*PACKED, *_JSON, "dicom_status", "frame_levels", "x", "X"))
        parts.sections[other] = parts.sections.pop(name)
    elif kind == 3:
        parts.sections[pick.choice(list(parts.sections))] = parts.sections[name]
    elif kind == 4:
        parts.magic = b"DCMCUBE" + pick.choice((b"A", b"L", b"R", b"S", b"X"))
    elif "Image" in parts.sections:
        parts.sections["Image"] = mutated_fields(parts.sections["Image"], pick)


_MUTATIONS: tuple[Callable[[Parts, bytes, Random], None], ...]
_MUTATIONS = (*(_mutate_section,) * 8, _amplify, _amplify, _mutate_frames, _mutate_layout)
