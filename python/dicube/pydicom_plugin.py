"""Importing this module adds decoders and encoders to pydicom 3.

    import dicube.pydicom_plugin

    dataset.pixel_array  # HTJ2K (.201, .202, .203) and JPEG XL (.110, .111, .112)
    dataset.compress("1.2.840.10008.1.2.4.110")  # and .201, .202

pydicom 3.0 does not know the transfer syntaxes of JPEG XL; this module adds their names and
keywords. Encoding is lossless and doesn't transform colours: use RGB, not YBR_RCT, in datasets.
"""

from __future__ import annotations

from dicube.dicom.export.pydicom_coding import register

register()
