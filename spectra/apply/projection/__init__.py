"""Where a checkpoint that was not in the fit lies among the members."""
