"""PixelDataHeader at the path that the published package 0.3.0 has it."""

from dicube.pixel_header import PixelDataHeader as PixelDataHeader
