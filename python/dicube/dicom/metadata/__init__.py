"""The parts of DicomMeta: lookup, table of elements, frames, slice order.

Must not know files or pixels.
"""
