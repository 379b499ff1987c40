"""Read DICOM files: where they come from, which belong together, and what one holds.

Must not know merged metadata or dicube files.
"""
