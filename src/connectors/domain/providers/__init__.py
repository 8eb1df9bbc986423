"""The providers: one package each, all without I/O. `contract.py` is the form a package fills in."""
