"""A population as few shared directions, and its members made again."""
