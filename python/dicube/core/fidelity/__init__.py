"""Whether an image is still what it was read from, and whether a file contradicts itself."""
