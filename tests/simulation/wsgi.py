"""One request to a WSGI application, without a socket and without a test client."""

from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs


@attrs.frozen
class WsgiAnswer:
    """What the application answered."""

    status: int
    headers: Mapping[str, str]
    """Lower-case names; a name that came twice has its values joined by a comma."""
    body: bytes


def call_wsgi(
    app: Callable[..., Iterable[bytes]], method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
) -> WsgiAnswer:
    """The application's answer to one request (PEP 3333)."""
    parts = urlsplit(url)
    content = body or b""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(parts.path).encode().decode("latin-1"),
        "QUERY_STRING": parts.query,
        "SERVER_NAME": parts.hostname,
        "SERVER_PORT": str(parts.port or 80),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": parts.netloc,
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": parts.scheme,
        "wsgi.input": BytesIO(content),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    answered: dict[str, Any] = {}

    def start_response(status: str, sent: list[tuple[str, str]], _error: object = None) -> None:
        merged: dict[str, str] = {}
        for name, value in sent:
            known = merged.get(name.lower())
            merged[name.lower()] = value if known is None else f"{known}, {value}"
        answered.update(status=int(status.split(maxsplit=1)[0]), headers=merged)

    chunks = app(environ, start_response)
    try:
        content = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return WsgiAnswer(answered["status"], answered["headers"], content)
