"""What only a real socket shows: bodies without a length, and bodies that are too long."""

import json
import socket

import pytest

from connectors.entrypoints.flask import ApiSettings
from tests.support.api import ONLY_TENANT, ROOT_TOKEN, make_api
from tests.support.running import running

LIMIT = 1000


@pytest.fixture
def server():
    with running(make_api(settings=ApiSettings(max_body_bytes=LIMIT)).app) as server:
        yield server


def send(server, head, body=b"", *, hang_up=False):
    """The status and document that a hand-written request gets."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(
            b"POST /webhooks/github HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head + b"\r\n" + body
        )
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, document = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(document)["code"]


def chunks(*bodies):
    return b"".join(b"%x\r\n%s\r\n" % (len(body), body) for body in bodies) + b"0\r\n\r\n"


def test_a_chunked_body_within_the_limit_is_read(server):
    """A body without a length is read whole: its missing signature is what is wrong with it."""
    assert send(server, b"Transfer-Encoding: chunked\r\n", chunks(b"{}", b" " * 500)) == (401, "INVALID_SIGNATURE")


def test_a_chunked_body_past_the_limit_is_413(server):
    """A body without a length is cut off at the limit."""
    answer = send(server, b"Transfer-Encoding: chunked\r\n", chunks(b" " * 600, b" " * 600))
    assert answer == (413, "PAYLOAD_TOO_LARGE")


def test_a_chunked_body_at_the_limit_is_read(server):
    """The limit itself is not too long."""
    answer = send(server, b"Transfer-Encoding: chunked\r\n", chunks(b" " * LIMIT))
    assert answer == (401, "INVALID_SIGNATURE")


def test_a_body_that_breaks_off_is_refused(server):
    """A relayed body shorter than its declared length is not kept cut."""
    head = f"Authorization: Bearer {ROOT_TOKEN}\r\nX-Tenant-Id: {ONLY_TENANT}\r\nContent-Length: 100\r\n".encode()
    assert send(server, head, b"{}", hang_up=True) == (400, "VALIDATION_ERROR")


def test_a_long_body_is_refused_unread(server):
    """A declared length past the limit is 413 before a byte of the body is there."""
    assert send(server, b"Content-Length: 99999999999\r\n") == (413, "PAYLOAD_TOO_LARGE")
