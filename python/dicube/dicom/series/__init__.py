"""A series seen as a volume: geometry, volumes, and what is wrong with it.

Must not know files or pixel values.
"""
