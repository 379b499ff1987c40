"""JphCodec, where the published package has it."""

from dicube.codecs.jph import JphCodec

__all__ = ["JphCodec"]
