"""Texts as the `dicube` command prints them. Must not know what they are about."""

from __future__ import annotations

from dicube.exceptions import DicomCubeError

# What suggestions say of Python's arguments, and the options of the command.
_OPTION_OF_ARGUMENT = {
    "against=": "--against",
    "catalogue=": "--catalogue",
    "exact=False": "--exact no",
    "key=": "--key",
    "overwrite=True": "--overwrite",
    "real_world=": "--real-world",
    "series_uid=": "--series-uid",
    "to_dicom_folder": "a DICOM folder",
}


def text_of(error: DicomCubeError) -> str:
    """Return the message and the suggestion of an error, in terms of the command's options."""
    suggestion = error.text.removeprefix(error.message)
    for argument, option in _OPTION_OF_ARGUMENT.items():
        suggestion = suggestion.replace(argument, option)
    return error.message + suggestion


def one_line(text: str) -> str:
    """Return a text on one line, with control characters escaped.

    Texts from files may hold sequences that a terminal would execute.
    """
    shown = " ".join(text.split())
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in shown
    )
