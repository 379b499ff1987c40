"""Lossy coding: regions of interest, error bounds, and the record of what was lost.

Must not know DICOM elements or the layout of files.
"""
