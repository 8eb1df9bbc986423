"""A server that really runs: the API on a loopback port, in a thread."""

import threading
from contextlib import contextmanager

from werkzeug.serving import WSGIRequestHandler, make_server


class QuietHandler(WSGIRequestHandler):
    """Says nothing on standard error, and keeps what was asked."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code="-", size="-"):
        self.server.requests.append((self.command, self.path, int(code)))

    def log(self, *args):
        pass


@contextmanager
def running(app):
    """The server; `server.url` is where it is and `server.requests` what it was asked."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
    server.requests = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
