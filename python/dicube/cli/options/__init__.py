"""The options of the `dicube` command. Must not know what they do."""
