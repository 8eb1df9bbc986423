"""The providers: one room each, all without I/O. `contract.py` is the form a room fills in."""
