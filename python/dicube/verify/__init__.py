"""Check a dicube file: is it whole, and is it equal to its originals?

Must not know the command line.
"""
