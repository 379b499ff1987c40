"""Data elements: parse their bytes and convert their values (PS3.5).

Must not know series, metadata or pixels.
"""
