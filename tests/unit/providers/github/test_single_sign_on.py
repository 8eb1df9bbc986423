"""What an organization with single sign-on hides is not claimed, and the reason says where to authorize the app."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.api import GitHubStub
from tests.support.builders import NOW, TENANT
from tests.unit.providers.github.support import respond

from connectors.adapters.memory.clock import ManualClock
from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError, text_with_next_step
from connectors.domain.model.http import HttpRequest
from connectors.domain.model.stream_state import StreamStatus
from connectors.domain.providers.github import GITHUB, sso
from connectors.entrypoints.library import Connectors

URL = "https://github.com/orgs/acme/sso?authorization_request=AB12"
REFUSAL = {"x_github_sso": f"required; url={URL}"}
HIDDEN = "organization:9"


class SignOn(GitHubStub):
    """A GitHub whose organization 9 hides its one repository until the app is authorized."""

    def __init__(self, *, is_hidden=True):
        super().__init__()
        self.is_hidden = is_hidden

    def __call__(self, request):
        path = urlsplit(request.url).path
        mine, theirs = self.repository(1, "ada/lamp"), self.repository(2, "acme/app")
        if path == "/user/repos":
            if self.is_hidden:
                return respond(self.body([mine]), x_github_sso="partial-results; organizations=9")
            return respond(self.body([mine, theirs]))
        if self.is_hidden and ("/organizations/9/" in path or path.startswith("/repos/acme/")):
            return respond(b"{}", 403, **REFUSAL)
        if path == "/repos/acme/app":
            return respond(self.body(theirs))
        return super().__call__(request)

    def repository(self, id_, full_name):
        return {"id": id_, "full_name": full_name, "html_url": f"https://github.com/{full_name}", "archived": False}

    def body(self, document):
        return self._json(document).body


class Account:
    """A system in memory with one connection of GitHub."""

    def __init__(self, github, **options):
        self.github, self.clock = github, ManualClock(NOW)
        self.connectors = Connectors.in_memory(respond=github, clock=self.clock)
        start = self.connectors.connect.start_authorization(TENANT, "github", options=options)
        state = parse_qs(urlsplit(start.authorize_url).query)["state"][0]
        (self.connection,) = self.connectors.connect.complete_authorization("github", {"code": "c", "state": state})
        self.read()

    def read(self):
        for _ in range(12):
            self.clock.advance(timedelta(minutes=10))
            self.connectors.schedule.tick()
            self.connectors.run_pending()

    def streams(self):
        with self.connectors.connect.unit_of_work() as uow:
            return {one.key: one for one in uow.streams.list(TENANT, self.connection.id)}

    def details(self):
        return self.connectors.queries.inspect_connection(TENANT, self.connection.id)

    def is_complete(self):
        shown = self.connectors.coverage.show(TENANT, self.connection.id)
        return {one.family.name: one.is_complete for one in shown if one.family.is_read}


@pytest.mark.parametrize("options", [{}, {"repositories": ["ada/lamp", "acme/app"]}])
def test_what_is_hidden_stands_aside(options):
    """Whether found or chosen: a stream is aside for it with the URL of the header, and no family is claimed."""
    account = Account(SignOn(), **options)
    (aside,) = [one for one in account.streams().values() if one.status is StreamStatus.BLOCKED]
    assert aside.key == ("repository:acme/app" if options else HIDDEN)
    assert URL in aside.reason
    assert not account.details().is_all_readable
    assert not any(account.is_complete().values())


@pytest.mark.parametrize("options", [{}, {"repositories": ["ada/lamp", "acme/app"]}])
def test_what_is_shown_again_is_read(options):
    """Once the user has authorized the app, the repository has its streams, and everything is complete again."""
    account = Account(SignOn(), **options)
    account.github.is_hidden = False
    account.read()
    streams = account.streams()
    assert "issues:2" in streams
    assert {one.status for one in streams.values()} == {StreamStatus.READY}
    assert all(account.is_complete().values())
    assert account.details().is_all_readable


def test_without_single_sign_on_nothing_stands_aside():
    """A list without the header is whole."""
    account = Account(SignOn(is_hidden=False))
    assert not any(sso.is_hidden(one.stream) for one in account.streams().values() if one.key)
    assert all(account.is_complete().values())


def test_a_list_of_a_repository_that_is_short_is_refused():
    """Rows that are left out of any list are not taken for rows that are not there."""

    class Short(SignOn):
        def __call__(self, request):
            if request.url.partition("?")[0].endswith("/issues"):
                return respond(b"[]", x_github_sso="partial-results; organizations=9")
            return super().__call__(request)

    streams = Account(Short(is_hidden=False)).streams()
    assert (streams["issues:1"].status, streams["releases:1"].status) == (StreamStatus.BLOCKED, StreamStatus.READY)


@pytest.mark.parametrize(
    ("header", "hidden"),
    [
        ("", ()),
        ("required; url=https://x.example", ()),
        ("partial-results; organizations=21955855,20582480", ("21955855", "20582480")),
        ("Partial-Results;organizations = 7, 7", ("7",)),
    ],
)
def test_who_hides_something(header, hidden):
    """The organizations of the header, each once."""
    assert sso.read_hidden(respond(x_github_sso=header)) == hidden


@pytest.mark.parametrize("header", ["partial-results", "partial-results; organizations=", "partial-results; x=1"])
def test_a_short_list_that_names_nobody(header):
    """It is an error: what is missing cannot be told."""
    with pytest.raises(UnexpectedResponseError):
        sso.read_hidden(respond(x_github_sso=header))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"required; url={URL}", URL),
        ("required", "settings"),
        ("required; url=javascript:alert(1)", "settings"),
        ("required; url=https://x.example/" + "y" * 600, "yyy"),
    ],
)
def test_where_to_authorize(header, expected):
    """The URL that the header gives, bounded, else where to look for it."""
    request = HttpRequest(method="GET", url="https://api.github.com/repos/acme/app/issues")
    error = GITHUB.limits.read_failure(request, respond(b"{}", 403, x_github_sso=header), NOW)
    assert isinstance(error, AccessLostError)
    assert expected in error.next_step
    assert len(text_with_next_step(error)) < 700
