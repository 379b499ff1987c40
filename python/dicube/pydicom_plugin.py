"""Decoders and encoders for pydicom 3: import this module, and pydicom has them.

    import dicube.pydicom_plugin

    dataset.pixel_array  # HTJ2K (.201, .202, .203) and JPEG XL (.110, .111, .112)
    dataset.compress("1.2.840.10008.1.2.4.110")  # and .201, .202

pydicom 3.0 does not know JPEG XL's transfer syntaxes; with this it does, by name and keyword too.
Encoding is lossless, and keeps the colours as they are: give datasets RGB, not YBR_RCT.
"""

from __future__ import annotations

from dicube.dicom.export.pydicom_coding import register

register()
