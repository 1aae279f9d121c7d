"""The array seam: which library computes, on which device, in how much room.

Functions above take the namespace from their arrays; only this folder knows
that CuPy and torch exist.
"""
