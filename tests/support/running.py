"""A real HTTP server: the API on a loopback port, in a thread."""

import threading
from contextlib import contextmanager

from werkzeug.serving import WSGIRequestHandler, make_server


class QuietHandler(WSGIRequestHandler):
    """Logs nothing to standard error, and records the requests."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code="-", size="-"):
        self.server.requests.append((self.command, self.path, int(code)))

    def log(self, *args):
        pass


@contextmanager
def running(app):
    """The server: `server.url` is its address, `server.requests` are the requests so far."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
    server.requests = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
