"""What drives the flows: the HTTP API, the command line, the sandbox, and the wiring."""
