"""Texts as the `dicube` command shows them. Must not know what they say."""

from __future__ import annotations


def one_line(text: str) -> str:
    """Return a text on one line, what a terminal would obey escaped: files say what they like."""
    shown = " ".join(text.split())
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in shown
    )
