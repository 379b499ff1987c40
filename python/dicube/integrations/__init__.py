"""Hand volumes to other programs: a module for each, which imports its library when imported."""
