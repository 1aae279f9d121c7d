"""From small matrices to numbers, nulls and verdicts. NumPy, no weights."""
