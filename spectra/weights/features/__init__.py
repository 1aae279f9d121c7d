"""Features of items, one row an item, as files hold them."""
