"""The providers: one package each, all without I/O. `contract.py` says what a package consists of."""
