"""Runs a sandbox on 127.0.0.1 in a thread of this process."""

import threading
from types import TracebackType
from typing import Self
from wsgiref.types import WSGIEnvironment

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from connectors_sandbox.app import Sandbox, create_sandbox


class QuietHandler(WSGIRequestHandler):
    """Logs nothing: a query may contain a code, and the sandbox has its own log."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002  the parent's name
        """Log nothing."""

    def connection_dropped(self, error: BaseException, environ: WSGIEnvironment | None = None) -> None:  # noqa: ARG002
        """Read no further request from a connection that was reset on purpose."""
        self.close_connection = True


class SandboxServer:
    """A running sandbox; use it as a context manager, or call `start` and `stop`.

    Args:
        sandbox: the sandbox to serve; None for a new one.
        port: 0 picks a free one.
        deliver: whether webhooks are sent automatically; without it tests call `sandbox.deliver_pending()`.
    """

    def __init__(self, sandbox: Sandbox | None = None, port: int = 0, *, deliver: bool = False) -> None:
        self.sandbox = sandbox or create_sandbox()
        self._port = port
        self._deliver = deliver
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port, without a trailing slash; known once started."""
        return self.sandbox.core.url

    def base_url(self, provider: str) -> str:
        """The value for a provider's base-URL setting, as in `http://127.0.0.1:9100/github`."""
        return self.sandbox.core.base_url(provider)

    def start(self) -> Self:
        """Listen, and serve in a daemon thread.

        Raises:
            OSError: the port is taken.
        """
        server = make_server("127.0.0.1", self._port, self.sandbox.app, threaded=True, request_handler=QuietHandler)
        # A handler that hangs after a test must not delay the end of the process.
        server.daemon_threads = True  # type: ignore[attr-defined]  # of ThreadedWSGIServer, which make_server returns
        self.sandbox.core.url = f"http://127.0.0.1:{server.server_port}"
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="sandbox-server", daemon=True)
        self._thread.start()
        if self._deliver:
            self.sandbox.core.deliveries.start()
        return self

    def stop(self) -> None:
        """Stop delivering and serving, and free the port; does nothing if it is not running."""
        self.sandbox.core.deliveries.stop()
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is not None and thread is not None:
            server.shutdown()
            thread.join()
            server.server_close()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()
