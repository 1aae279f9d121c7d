"""Checkpoints of one training run in the order of their steps."""
