"""Describe, store and restore original DICOM files byte for byte, apart from their pixels.

Must not know merged metadata or dicube files.
"""
