"""Checkpoints merged into one: planned, read, written."""
