"""Connections: connect, disconnect, settings."""
