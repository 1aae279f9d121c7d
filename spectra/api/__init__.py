"""The public objects: thin faces over values."""
