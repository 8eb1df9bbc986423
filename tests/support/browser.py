"""A headless Chromium, driven through its DevTools pipe: no driver, no extra package, no open port."""

import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--metrics-recording-only",
    "--window-size=1200,2000",
)
MAX_WAIT = 30
"""Seconds that a page may take: this is a slow machine's worst."""


def find_chromium():
    """Where Chromium is, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One tab, and every request that it made."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer
        self._number = 0
        self._session = None
        self._buffer = b""
        self.requested = []
        self.complaints = []
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._send(f"{domain}.enable")

    def open(self, url):
        """Go there."""
        self._send("Page.navigate", url=url)

    def run(self, script):
        """What the script comes to, a JSON value."""
        answer = self._send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait_for(self, script):
        """Until the script is true."""
        deadline = time.monotonic() + MAX_WAIT
        while time.monotonic() < deadline:
            if self.run(f"Boolean({script})"):
                return
            time.sleep(0.05)
        raise AssertionError(
            f"never true: {script}\n{self.complaints}\n" + str(self.run("document.body.innerText"))[:3000]
        )

    def _send(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._writer.write(json.dumps(message).encode() + b"\0")
        self._writer.flush()
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer.get("method"), answer.get("params", {}))

    def _receive(self):
        while b"\0" not in self._buffer:
            read = os.read(self._reader.fileno(), 65536)
            assert read, "Chromium is gone"
            self._buffer += read
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, method, parameters):
        if method == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"]))


@contextmanager
def chromium(folder):
    """A page of a fresh browser, whose profile lives in the folder."""
    to_read, to_write = os.pipe(), os.pipe()

    def wire():
        # Chromium reads commands on descriptor 3 and answers on 4.
        spare = [os.dup(to_write[0]), os.dup(to_read[1])]
        os.dup2(spare[0], 3)
        os.dup2(spare[1], 4)

    process = subprocess.Popen(
        [find_chromium(), *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={folder}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=False,  # Python's own are closed on exec all the same; the two must not be
        preexec_fn=wire,  # noqa: PLW1509 - it only calls dup2
        start_new_session=True,
    )
    os.close(to_write[0])
    os.close(to_read[1])
    reader, writer = os.fdopen(to_read[0], "rb", buffering=0), os.fdopen(to_write[1], "wb")
    try:
        yield Page(reader, writer)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        if process.poll() is None:
            process.kill()
            process.wait()
        with suppress(OSError):
            writer.close()
        reader.close()
