"""How alike networks represent the same items, beside permuted items."""
