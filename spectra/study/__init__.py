"""Plan and run: the only folder that decides what happens in which order."""
