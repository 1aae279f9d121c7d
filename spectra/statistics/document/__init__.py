"""All of it as one document: the report."""
