"""The rule, what it looks at, and why it decided."""
