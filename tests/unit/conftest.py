"""Unit tests use no network: their sockets are closed."""

import pytest
from pytest_socket import disable_socket, enable_socket


@pytest.fixture(autouse=True, scope="package")
def closed_sockets():
    """Every attempt to open a socket is an error."""
    disable_socket()
    yield
    enable_socket()
