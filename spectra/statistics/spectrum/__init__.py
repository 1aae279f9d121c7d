"""One spectrum: its norms and ranks, and laws it may follow."""
