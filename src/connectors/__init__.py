"""Poblysh Connectors: connect accounts, receive webhooks, read APIs, and turn all of it into Signals.

`Connectors.in_memory()` is a working system for tests; `Connectors.from_settings()` the real one.
"""

from importlib.metadata import version

from connectors.domain.model.connection import Connection, ConnectionStatus, ExternalAccount
from connectors.domain.model.errors import ConnectorsError
from connectors.domain.model.secret import Secret
from connectors.domain.model.signal import Actor, Container, Origin, Signal, SignalFilter, SignalKind, Subject
from connectors.entrypoints.library import Connectors

__version__ = version("poblysh-connectors")

__all__ = [
    "Actor",
    "Connection",
    "ConnectionStatus",
    "Connectors",
    "ConnectorsError",
    "Container",
    "ExternalAccount",
    "Origin",
    "Secret",
    "Signal",
    "SignalFilter",
    "SignalKind",
    "Subject",
    "__version__",
]
