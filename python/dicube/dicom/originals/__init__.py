"""Original DICOM files, kept without their pixels and restored to the byte.

Must not know merged metadata or dicube files.
"""
