"""Write DICOM anew, from metadata and pixels.

Must not know dicube files, or how original files are kept.
"""
