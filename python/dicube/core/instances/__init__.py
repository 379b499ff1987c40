"""Single DICOM files in a dicube file: kept whole, restored alone, added late."""
