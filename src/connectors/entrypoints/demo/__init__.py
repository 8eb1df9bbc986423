"""The demonstration: Core's whole journey, over HTTP, against the sandbox."""
