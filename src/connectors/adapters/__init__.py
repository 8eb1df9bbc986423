"""Implementations of the ports, named by technology. Each turns its library's exceptions into ours."""
