"""The model hub: names, listings, byte ranges, and what is kept of them."""
