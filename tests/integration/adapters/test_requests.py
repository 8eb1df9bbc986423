"""Outbound HTTP against a real server on loopback that misbehaves on purpose."""

import base64
import gzip
import json
import logging
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from connectors.adapters.requests import OutboundLimits, RequestsProviderApi, RequestsTokenEndpoint, Transport
from connectors.domain.model.errors import (
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    SettingsError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import HttpRequest, HttpResponse
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import (
    BodyFormat,
    ClientAuthentication,
    CodeExchange,
    ProviderApp,
    TokenEndpointCall,
    TokenSet,
)
from connectors.domain.model.secret import Secret

LIMIT = 200_000

APP = ProviderApp(provider=ProviderSlug("github"), client_id="client:1", client_secret=Secret("s3cret/+&=ü"))
EXCHANGE = CodeExchange(
    code=Secret("the code/+&"), redirect_uri="https://core.example/cb?a=b", code_verifier=Secret("v" * 43)
)


class Seen:
    """One request as the server saw it."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.method = handler.command
        self.path = handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = handler.rfile.read(int(handler.headers.get("content-length", 0)))

    @property
    def form(self) -> dict[str, str]:
        return {name: value for name, [value] in parse_qs(self.body.decode(), strict_parsing=True).items()}


class Server:
    """A loopback server whose answers are written by the test, byte for byte where it matters."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.routes: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.stopping = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.seen.append(Seen(self))
                server.routes[self.path.partition("?")[0]](self)

            do_POST = do_PUT = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def answer(self, path: str, status: int = 200, body: bytes = b"", **headers: str) -> None:
        """Answer the path plainly. `content_type="…"` is the header `content-type`."""

        def write(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("content-length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.routes[path] = write

    def stop(self) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def transport():
    transport = Transport(OutboundLimits(timeout=timedelta(seconds=5), max_bytes=LIMIT))
    yield transport
    transport.close()


@pytest.fixture
def api(transport):
    return RequestsProviderApi(transport)


@pytest.fixture
def endpoint(transport):
    return RequestsTokenEndpoint(transport)


def get(url: str, **changes) -> HttpRequest:
    return HttpRequest(method="GET", url=url, **changes)


def cut_off(handler: BaseHTTPRequestHandler) -> None:
    """End the connection without an answer."""
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def whole_story(error: BaseException | None) -> str:
    """Every message that a printed traceback would hold, without the source lines of the test itself."""
    told = ""
    while error is not None:
        told += f"{error} {error!r}\n"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return told


# --- the provider API ----------------------------------------------------------------------------------------------


def test_an_answer_comes_back_whole(server, api):
    """Status, headers in lower case and body are the server's; ours are the method, query, headers and body sent."""
    server.answer("/things", 201, b'{"ok": true}', Content_Type="application/json", ETag='"1"')
    response = api.send(
        HttpRequest(
            method="PUT",
            url=f"{server.url}/things?a=1&b=%2F",
            headers={"Authorization": "Bearer t", "Content-Type": "text/plain"},
            body=b"\x00raw",
        )
    )
    assert response.status == 201
    assert response.headers["etag"] == '"1"'
    assert response.json() == {"ok": True}
    [seen] = server.seen
    assert (seen.method, seen.path, seen.body) == ("PUT", "/things?a=1&b=%2F", b"\x00raw")
    assert seen.headers["authorization"] == "Bearer t"
    assert seen.headers["content-type"] == "text/plain"
    assert seen.headers["user-agent"].startswith("poblysh-connectors/")


def test_a_rooms_user_agent_and_accept_stand(server, api):
    """What the request says itself is not overwritten."""
    server.answer("/x")
    api.send(get(f"{server.url}/x", headers={"User-Agent": "mine", "Accept": "application/vnd.github+json"}))
    assert server.seen[0].headers["user-agent"] == "mine"
    assert server.seen[0].headers["accept"] == "application/vnd.github+json"


@pytest.mark.parametrize("status", [204, 304, 400, 401, 404, 429, 500, 503])
def test_every_status_is_an_answer(server, api, status):
    """No status raises: reading it is the package's business."""
    server.answer("/x", status)
    assert api.send(get(f"{server.url}/x")).status == status


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server, api, status):
    """The redirect itself comes back and its target is never called."""
    server.answer("/from", status, Location=f"{server.url}/to?token=t")
    server.answer("/to")
    response = api.send(get(f"{server.url}/from", headers={"Authorization": "Bearer t"}))
    assert response.status == status
    assert response.headers["location"] == f"{server.url}/to?token=t"
    assert [seen.path for seen in server.seen] == ["/from"]


def test_no_cookie_is_kept(server, api):
    """What one call is told to remember is not told to the next, which may be another tenant's."""
    server.answer("/x", Set_Cookie="session=tenant-a; Path=/")
    for _ in range(2):
        api.send(get(f"{server.url}/x"))
    assert "cookie" not in server.seen[1].headers


def test_the_environment_does_not_interfere(server, api, monkeypatch, tmp_path):
    """Neither proxies nor netrc of the process are used."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server.answer("/x")
    assert api.send(get(f"{server.url}/x")).status == 200
    assert "authorization" not in server.seen[0].headers


def test_a_connection_is_used_again(server, api):
    """Two calls to one host, one TCP connection."""
    ports = []

    def write(handler):
        ports.append(handler.client_address[1])
        handler.send_response(200)
        handler.send_header("content-length", "2")
        handler.end_headers()
        handler.wfile.write(b"ok")

    server.routes["/x"] = write
    for _ in range(2):
        api.send(get(f"{server.url}/x"))
    assert ports[0] == ports[1]


def test_a_huge_body_is_refused(server, api):
    """A body over the limit is not kept, whatever its length claims; one at the limit is fine."""
    server.answer("/fits", body=b"x" * LIMIT)
    server.answer("/huge", body=b"x" * (LIMIT + 1))
    assert len(api.send(get(f"{server.url}/fits")).body) == LIMIT
    with pytest.raises(UnexpectedResponseError, match="more than"):
        api.send(get(f"{server.url}/huge"))


def test_an_endless_chunked_body_is_refused(server, api):
    """A body that never ends is cut at the limit."""

    def write(handler):
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        chunk = b"%x\r\n%b\r\n" % (10_000, b"x" * 10_000)
        try:
            while not server.stopping.is_set():
                handler.wfile.write(chunk)
        except OSError:
            handler.close_connection = True

    server.routes["/endless"] = write
    with pytest.raises(UnexpectedResponseError, match="more than"):
        api.send(get(f"{server.url}/endless"))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_is_read(server, api, encoding):
    """Decompression is done here, within the limit."""
    body = b"hello " * 1000
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    server.answer("/x", body=packed, Content_Encoding=encoding)
    assert api.send(get(f"{server.url}/x")).body == body
    assert "gzip" in server.seen[0].headers["accept-encoding"]


def test_a_gzip_bomb_is_refused(server, api):
    """Fifty megabytes in fifty kilobytes stop at the limit of decompressed bytes."""
    packed = gzip.compress(bytes(50_000_000))
    assert len(packed) < LIMIT
    server.answer("/bomb", body=packed, Content_Encoding="gzip")
    with pytest.raises(UnexpectedResponseError, match="more than"):
        api.send(get(f"{server.url}/bomb"))


def test_a_body_that_is_not_what_it_says_is_refused(server, api):
    """Rubbish under a gzip header is an unexpected answer."""
    server.answer("/x", body=b"not gzip at all", Content_Encoding="gzip")
    with pytest.raises(UnexpectedResponseError, match="decode"):
        api.send(get(f"{server.url}/x"))


def test_a_truncated_body_is_noticed(server, api):
    """Fewer bytes than promised are a cut answer, never a short success."""

    def write(handler):
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.write(b"only this")
        handler.close_connection = True

    server.routes["/cut"] = write
    with pytest.raises(ProviderUnavailableError):
        api.send(get(f"{server.url}/cut"))


def test_a_truncated_chunked_body_is_noticed(server, api):
    """A chunked body without its last chunk is a cut answer too."""

    def write(handler):
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\nhello\r\n")
        handler.close_connection = True

    server.routes["/cut"] = write
    with pytest.raises(ProviderUnavailableError):
        api.send(get(f"{server.url}/cut"))


def test_a_reset_connection_is_unavailability(server, api):
    """A connection that is reset means: try again later."""

    def reset(handler):
        # Linger of zero seconds makes close send a reset instead of an orderly end.
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True
        handler.connection.close()

    server.routes["/reset"] = reset
    with pytest.raises(ProviderUnavailableError):
        api.send(get(f"{server.url}/reset"))


def test_a_closed_port_is_unavailability(api):
    """Nobody listening means: try again later."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ProviderUnavailableError):
            api.send(get(f"http://127.0.0.1:{taken.getsockname()[1]}/?token=hush"))


def test_a_silent_server_is_given_up(server):
    """An answer that does not begin ends with the timeout."""
    server.routes["/silent"] = lambda handler: server.stopping.wait(10)
    api = RequestsProviderApi(Transport(OutboundLimits(timeout=timedelta(seconds=0.2))))
    with pytest.raises(ProviderUnavailableError, match="too long"):
        api.send(get(f"{server.url}/silent"))


def test_a_dripping_body_is_given_up(server):
    """A body that drips, each drop well inside the read timeout, ends with the deadline for the whole."""

    def drip(handler):
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        try:
            for _ in range(1000):
                handler.wfile.write(b"x")
                if server.stopping.wait(0.05):
                    break
        except OSError:
            pass
        handler.close_connection = True

    server.routes["/drip"] = drip
    api = RequestsProviderApi(Transport(OutboundLimits(timeout=timedelta(seconds=0.5))))
    started = time.monotonic()
    with pytest.raises(ProviderUnavailableError, match="too long"):
        api.send(get(f"{server.url}/drip"))
    assert time.monotonic() - started < 10


def test_rubbish_instead_of_http_is_unavailability(server, api):
    """A peer that does not speak HTTP is as good as away."""

    def write(handler):
        handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        handler.close_connection = True

    server.routes["/ssh"] = write
    with pytest.raises(ProviderUnavailableError):
        api.send(get(f"{server.url}/ssh"))


@pytest.mark.parametrize(
    "url",
    ["http://provider.example/x", "ftp://127.0.0.1/x", "//127.0.0.1/x", "nonsense", "https:///x", "http://[::1/x"],
)
def test_only_https_is_called_outside_this_machine(api, url):
    """Plain http to any other host, other schemes and what is no URL never get to a socket."""
    with pytest.raises(UnexpectedResponseError):
        api.send(get(f"{url}?token=hush"))


@pytest.mark.parametrize("value", ["hush\r\nx: y", "hush…"])
def test_a_header_that_http_cannot_carry_is_refused_quietly(server, api, value):
    """Line breaks and foreign characters in a header are refused without repeating it."""
    server.answer("/x")
    with pytest.raises(UnexpectedResponseError) as caught:
        api.send(get(f"{server.url}/x", headers={"Authorization": value}))
    assert "hush" not in whole_story(caught.value)
    assert server.seen == []


def test_no_error_has_the_query_in_it(server, api):
    """Whatever fails, neither the message nor the printed causes hold the URL's query."""
    server.routes["/reset"] = cut_off
    server.answer("/huge", body=b"x" * (LIMIT + 1))
    for path in ("/reset", "/huge"):
        with pytest.raises((ProviderUnavailableError, UnexpectedResponseError)) as caught:
            api.send(get(f"{server.url}{path}?token=hush"))
        assert "hush" not in whole_story(caught.value)


def test_many_threads_share_one_transport(server, api):
    """Eight threads get each its own answer."""

    def write(handler):
        body = handler.path.encode()
        handler.send_response(200)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    server.routes["/x"] = write
    wrong = []

    def call(thread: int) -> None:
        for n in range(20):
            path = f"/x?{thread}-{n}"
            if api.send(get(server.url + path)).body != path.encode():
                wrong.append(path)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(server.seen) == 160


def test_a_missing_file_of_certificates_is_a_settings_error():
    """It is noticed at the start, not at the first call."""
    with pytest.raises(SettingsError, match="POBLYSH_OUTBOUND_CA_FILE"):
        Transport(OutboundLimits(ca_file=Path("/does/not/exist.pem")))


# --- the token endpoint ----------------------------------------------------------------------------------------------


def read_token(response: HttpResponse) -> TokenSet:
    """A package that takes the token and trusts nothing else."""
    return TokenSet(access_token=Secret(response.json_object()["access_token"]), scopes=("from-package",))


def call_of(server: Server, **changes) -> TokenEndpointCall:
    return TokenEndpointCall(url=f"{server.url}/token", **changes)


def grant_token(server: Server, **members) -> None:
    server.answer("/token", body=json.dumps({"access_token": "t0ken", **members}).encode())


def basic_pair(seen: Seen) -> tuple[str, str]:
    scheme, _, encoded = seen.headers["authorization"].partition(" ")
    assert scheme == "Basic"
    client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
    return client_id, secret


PLAIN_APP = ProviderApp(provider=ProviderSlug("jira"), client_id="client-1", client_secret=Secret("s3cret"))


def test_a_code_is_exchanged_with_the_client_in_the_body(server, endpoint):
    """RFC 6749 §4.1.3 with client_secret_post and the PKCE verifier: exactly these parameters, unharmed."""
    grant_token(server)
    tokens = endpoint.exchange_code(APP, call_of(server), EXCHANGE, read_token)
    assert tokens.access_token.reveal() == "t0ken"
    [seen] = server.seen
    assert (seen.method, seen.path) == ("POST", "/token")
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
    assert seen.headers["accept"] == "application/json"
    assert "authorization" not in seen.headers
    assert seen.form == {
        "grant_type": "authorization_code",
        "code": "the code/+&",
        "redirect_uri": "https://core.example/cb?a=b",
        "code_verifier": "v" * 43,
        "client_id": "client:1",
        "client_secret": "s3cret/+&=ü",
    }


def test_without_pkce_no_verifier_is_sent(server, endpoint):
    """A package without PKCE sends no verifier, not an empty one."""
    grant_token(server)
    exchange = CodeExchange(code=Secret("c"), redirect_uri="https://core.example/cb")
    endpoint.exchange_code(APP, call_of(server), exchange, read_token)
    assert "code_verifier" not in server.seen[0].form


def test_a_code_is_exchanged_with_the_client_as_basic(server, endpoint):
    """With client_secret_basic the secret is in the header and not in the body."""
    grant_token(server)
    call = call_of(server, client_authentication=ClientAuthentication.BASIC)
    endpoint.exchange_code(PLAIN_APP, call, EXCHANGE, read_token)
    [seen] = server.seen
    assert basic_pair(seen) == ("client-1", "s3cret")
    assert seen.form == {
        "grant_type": "authorization_code",
        "code": "the code/+&",
        "redirect_uri": "https://core.example/cb?a=b",
        "code_verifier": "v" * 43,
    }


@pytest.mark.parametrize("authentication", list(ClientAuthentication))
def test_a_refresh_token_is_traded(server, endpoint, authentication):
    """RFC 6749 §6 with either client authentication: exactly these parameters."""
    grant_token(server)
    call = call_of(server, client_authentication=authentication)
    tokens = endpoint.refresh(PLAIN_APP, call, Secret("r/+&"), read_token)
    assert tokens.access_token.reveal() == "t0ken"
    [seen] = server.seen
    expected = {"grant_type": "refresh_token", "refresh_token": "r/+&"}
    if authentication is ClientAuthentication.BODY:
        assert "authorization" not in seen.headers
        assert seen.form == {**expected, "client_id": "client-1", "client_secret": "s3cret"}
    else:
        assert basic_pair(seen) == ("client-1", "s3cret")
        assert seen.form == expected


def test_a_json_body_has_the_same_parameters(server, endpoint):
    """Atlassian's JSON form carries what the form would, at the exchange and at the refresh."""
    grant_token(server)
    call = call_of(server, body_format=BodyFormat.JSON)
    endpoint.exchange_code(APP, call, EXCHANGE, read_token)
    endpoint.refresh(APP, call, Secret("r/+&"), read_token)
    exchanged, refreshed = server.seen
    for seen in (exchanged, refreshed):
        assert seen.headers["content-type"] == "application/json"
    assert json.loads(exchanged.body) == {
        "grant_type": "authorization_code",
        "code": "the code/+&",
        "redirect_uri": "https://core.example/cb?a=b",
        "code_verifier": "v" * 43,
        "client_id": "client:1",
        "client_secret": "s3cret/+&=ü",
    }
    assert json.loads(refreshed.body) == {
        "grant_type": "refresh_token",
        "refresh_token": "r/+&",
        "client_id": "client:1",
        "client_secret": "s3cret/+&=ü",
    }


def test_a_rooms_headers_are_sent(server, endpoint):
    """The call's own headers stand, over ours where they name the same."""
    grant_token(server)
    call = call_of(server, headers={"Accept": "application/vnd.x+json", "X-Extra": "1"})
    endpoint.refresh(APP, call, Secret("r"), read_token)
    assert server.seen[0].headers["accept"] == "application/vnd.x+json"
    assert server.seen[0].headers["x-extra"] == "1"


@pytest.mark.parametrize("members", [{"scope": "less"}, {"scope": ""}, {"expires_in": "soon"}, {"token_type": None}])
def test_the_libraries_opinion_of_the_answer_does_not_count(server, endpoint, members):
    """Fewer scopes, odd lifetimes and missing types are for the package to read, and what it makes of them comes back."""
    grant_token(server, **members)
    for tokens in (
        endpoint.exchange_code(APP, call_of(server), EXCHANGE, read_token),
        endpoint.refresh(APP, call_of(server), Secret("r"), read_token),
    ):
        assert tokens.scopes == ("from-package",)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"error": "bad_verification_code"}'),
        (400, b'{"error": "invalid_grant"}'),
        (404, b"<html>no</html>"),
        (500, b""),
        (302, b""),
    ],
)
def test_what_the_room_raises_comes_through(server, endpoint, status, body):
    """Any status and body is read by the package, and its error is the very one that the caller gets."""
    server.answer("/token", status, body, Location=f"{server.url}/elsewhere")
    server.answer("/elsewhere")
    raised = ReauthorizationRequiredError("gone")
    answers = []

    def refuse(response: HttpResponse) -> TokenSet:
        answers.append((response.status, response.body))
        raise raised

    for act in (
        lambda: endpoint.exchange_code(APP, call_of(server), EXCHANGE, refuse),
        lambda: endpoint.refresh(APP, call_of(server), Secret("r"), refuse),
    ):
        with pytest.raises(ReauthorizationRequiredError) as caught:
            act()
        assert caught.value is raised
    assert answers == [(status, body)] * 2
    assert {seen.path for seen in server.seen} == {"/token"}


def test_the_answer_of_a_token_endpoint_is_bounded(server, endpoint):
    """The same limits hold here, and the package is not asked."""
    server.answer("/token", body=b"x" * (LIMIT + 1))
    with pytest.raises(UnexpectedResponseError, match="more than"):
        endpoint.refresh(APP, call_of(server), Secret("r"), read_token)


def test_a_secret_is_never_sent_in_the_clear(endpoint):
    """Plain http to another host is refused before anything is sent."""
    call = TokenEndpointCall(url="http://provider.example/token")
    with pytest.raises(UnexpectedResponseError, match="not https"):
        endpoint.refresh(APP, call, Secret("r"), read_token)


def test_no_secret_is_in_errors_or_logs(server, endpoint, caplog):
    """At DEBUG, with success and with failure, no token, code, verifier or client secret is said."""
    grant_token(server)
    with caplog.at_level(logging.DEBUG):
        endpoint.exchange_code(APP, call_of(server), EXCHANGE, read_token)
        endpoint.refresh(APP, call_of(server), Secret("r3fresh"), read_token)
        server.routes["/token"] = cut_off
        with pytest.raises(ProviderUnavailableError) as caught:
            endpoint.refresh(APP, call_of(server), Secret("r3fresh"), read_token)
    said = caplog.text + whole_story(caught.value)
    for secret in ("t0ken", "the code", "the+code", "v" * 43, "s3cret", "r3fresh"):
        assert secret not in said
