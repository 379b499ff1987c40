"""A series as a volume: geometry, split into volumes, checks.

Must not know files or pixel values.
"""
