"""Pure functions of arrays; the namespace is taken from the data."""
