"""Faults of the machine, real ones: rows of tables C in the tests' names."""
