"""Write new DICOM files from metadata and pixels.

Must not know dicube files, or how original files are kept.
"""
