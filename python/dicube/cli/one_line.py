"""Texts as the `dicube` command prints them. Must not know what they are about."""

from __future__ import annotations


def one_line(text: str) -> str:
    """Return a text on one line, with control characters escaped.

    Texts from files may hold sequences that a terminal would execute.
    """
    shown = " ".join(text.split())
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in shown
    )
