"""Ends what we have at vendors, and proves it before it is forgotten."""
