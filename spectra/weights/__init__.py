"""From bytes to linear maps: files, formats, names and layer stacks."""
