"""The command line: parse, call one flow, print."""

from connectors.entrypoints.cli.app import main

__all__ = ["main"]
