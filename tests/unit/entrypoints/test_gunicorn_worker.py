"""What gunicorn refuses before it reaches Flask."""

import json

import pytest
from gunicorn.http.errors import InvalidHeader, LimitRequestHeaders, LimitRequestLine

from connectors.entrypoints.gunicorn_worker import ProblemWorker


class Caller:
    """A socket that records what is sent, or whose other end is closed."""

    def __init__(self, *, is_gone=False):
        self.received = b""
        self._is_gone = is_gone

    def sendall(self, data):
        if self._is_gone:
            raise BrokenPipeError
        self.received += data


def refuse(error, caller):
    ProblemWorker.__new__(ProblemWorker).handle_error(None, caller, ("127.0.0.1", 1), error)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (LimitRequestLine(9000, 8190), 414, "VALIDATION_ERROR"),
        (LimitRequestHeaders("limit request headers fields size"), 431, "VALIDATION_ERROR"),
        (InvalidHeader("Authorization: Bearer s3cret"), 400, "VALIDATION_ERROR"),
        (RuntimeError("s3cret"), 500, "INTERNAL_ERROR"),
    ],
)
def test_a_refusal_is_a_problem_document(error, status, code, caplog):
    """The answer is a problem document of the right length, and neither it nor the log repeats the request."""
    caller = Caller()
    refuse(error, caller)
    head, _, body = caller.received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    document = json.loads(body)
    assert lines[0].split()[1] == str(status)
    assert f"Content-Length: {len(body)}" in lines
    assert "Content-Type: application/problem+json" in lines
    assert (document["status"], document["code"]) == (status, code)
    assert f"X-Trace-Id: {document['trace_id']}" in lines
    assert "s3cret" not in caller.received.decode() + caplog.text


def test_a_client_that_has_gone_is_no_error():
    """A client that has disconnected causes no error."""
    refuse(LimitRequestLine(9000, 8190), Caller(is_gone=True))
