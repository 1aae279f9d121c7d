"""Who is related to whom: copies, starts, lineage groups, trees."""
