"""Members as maps: what they write to, read from, and have of the base."""
