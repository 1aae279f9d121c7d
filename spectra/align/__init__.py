"""Networks made comparable before they are compared. NumPy and SciPy."""
