"""What DicomMeta is made of: lookup, table of values, frames and the order of slices.

Must not know files or pixels.
"""
