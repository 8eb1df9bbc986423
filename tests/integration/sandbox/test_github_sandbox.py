"""The sandbox's GitHub behaves as the provider's documentation says, over real HTTP on loopback."""

import base64
import hashlib
import hmac
import http.server
import json
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

import pytest
import requests

from connectors_sandbox import Fault, Sandbox, SandboxClock, SandboxServer, create_sandbox
from connectors_sandbox.delivery import Disorder
from connectors_sandbox.faults import FaultKind
from connectors_sandbox.github.records import Ordering
from connectors_sandbox.github.scopes import normalize

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CALLBACK = "http://127.0.0.1:9/callback"
EVENTS = ["issues", "issue_comment", "pull_request", "pull_request_review", "pull_request_review_comment", "push",
          "release", "member", "star", "fork", "organization", "repository"]  # fmt: skip


@pytest.fixture
def sandbox():
    sandbox = create_sandbox(SandboxClock(NOW), auto_consent=True)
    world = sandbox.github
    world.add_app("cid", "shh", callback_url=CALLBACK)
    world.add_user("octo", name="Octo Cat", email="octo@example.test")
    world.add_user("hubot")
    world.add_repository("octo/hello")
    return sandbox


@pytest.fixture
def server(sandbox):
    with SandboxServer(sandbox) as server:
        yield server


class Client:
    """A signed-in user's plain HTTP client."""

    def __init__(
        self, server: SandboxServer, login: str = "octo", scopes: str = "repo read:org admin:org_hook"
    ) -> None:
        self.base = server.base_url("github")
        self.api = f"{self.base}/api/v3"
        self.http = requests.Session()
        self.http.trust_env = False
        self.login = login
        self.grant = self.exchange(self.authorize(scope=scopes)["code"])
        self.http.headers["Authorization"] = f"Bearer {self.grant.get('access_token')}"

    def authorize(self, **query: str) -> dict[str, str]:
        """The callback's query."""
        query = {"client_id": "cid", "redirect_uri": CALLBACK, "state": "s t", "sandbox_user": self.login, **query}
        response = self.http.get(
            f"{self.base}/login/oauth/authorize", params={k: v for k, v in query.items() if v}, allow_redirects=False
        )
        assert response.status_code == 302, response.text
        return {name: values[0] for name, values in parse_qs(urlsplit(response.headers["Location"]).query).items()}

    def token(self, **fields: str) -> dict:
        response = self.http.post(
            f"{self.base}/login/oauth/access_token",
            data={"client_id": "cid", "client_secret": "shh", **fields},
            headers={"Accept": "application/json"},
        )
        assert response.status_code == 200
        return response.json()

    def exchange(self, code: str, **fields: str) -> dict:
        return self.token(code=code, **fields)

    def get(self, path: str, **options) -> requests.Response:
        return self.http.get(path if path.startswith("http") else self.api + path, **options)

    def sync_run(self, path: str) -> list:
        found, url = [], self.api + path
        while url:
            response = self.get(url)
            assert response.status_code == 200, response.text
            found += response.json()
            url = response.links.get("next", {}).get("url")
        return found


@pytest.fixture
def client(server):
    return Client(server)


class Receiver:
    """Takes webhooks and keeps them."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def events(self) -> list[str]:
        return [headers["x-github-event"] for headers, _ in self.received]

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.stop()


def hook_body(url: str, secret: str | None = "s3cret", kind: str = "json", events=EVENTS) -> dict:
    config = {"url": url, "content_type": kind, "insecure_ssl": "0", **({"secret": secret} if secret else {})}
    return {"name": "web", "active": True, "events": events, "config": config}


# OAuth


def test_code_is_exchanged_once(client):
    """A code gives a token once; the second try is told so with HTTP 200."""
    code = client.authorize(scope="repo")["code"]
    assert client.exchange(code)["access_token"].startswith("gho_")
    again = client.exchange(code)
    assert again["error"] == "bad_verification_code"
    assert set(again) == {"error", "error_description", "error_uri"}


def test_callback_echoes_state(client):
    """The state comes back unchanged."""
    assert client.authorize()["state"] == "s t"


def test_code_expires_after_ten_minutes(client, sandbox):
    """A code is dead once ten minutes have passed on the sandbox's clock."""
    code = client.authorize(scope="repo")["code"]
    sandbox.clock.advance(timedelta(minutes=10))
    assert client.exchange(code)["error"] == "bad_verification_code"


def test_code_belongs_to_client_and_redirect(client, sandbox):
    """Another app or another redirect URI cannot use a code, and a wrong secret neither."""
    sandbox.github.add_app("other", "pst", callback_url=CALLBACK)
    code = client.authorize(scope="repo")["code"]
    assert client.exchange(code, client_id="other", client_secret="pst")["error"] == "bad_verification_code"
    assert client.exchange(code, client_secret="no")["error"] == "incorrect_client_credentials"
    assert client.exchange(code, redirect_uri=f"{CALLBACK}/x")["error"] == "redirect_uri_mismatch"


def test_pkce_is_checked(client):
    """With a challenge the right verifier is mandatory, and only S256 of 43 characters is taken."""
    verifier = "v" * 50
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    ask = {"code_challenge": challenge, "code_challenge_method": "S256"}
    assert "access_token" in client.exchange(client.authorize(**ask)["code"], code_verifier=verifier)
    assert client.exchange(client.authorize(**ask)["code"])["error"] == "bad_verification_code"
    assert client.exchange(client.authorize(**ask)["code"], code_verifier="x")["error"] == "bad_verification_code"
    assert "error" in client.authorize(code_challenge=challenge, code_challenge_method="plain")
    assert "error" in client.authorize(code_challenge="short", code_challenge_method="S256")


def test_refusals_go_to_the_registered_callback(client, sandbox):
    """Denial, a foreign redirect URI and a suspended app come back as errors with the state."""
    assert client.authorize(deny="1")["error"] == "access_denied"
    foreign = client.authorize(redirect_uri="http://evil.example/callback")
    assert (foreign["error"], foreign["state"]) == ("redirect_uri_mismatch", "s t")
    sandbox.github.auth.apps["cid"].is_suspended = True
    assert client.authorize()["error"] == "application_suspended"


@pytest.mark.parametrize(
    ("uri", "is_good"),
    [
        ("http://127.0.0.1:1234/callback/deeper", True),
        ("http://127.0.0.1:9/callbackish", False),
        ("http://localhost:9/callback", False),
        ("https://127.0.0.1:9/callback", False),
    ],
)
def test_redirect_uri_rules(client, uri, is_good):
    """The path must be the callback's or below it; a loopback literal may use any port."""
    assert ("code" in client.authorize(redirect_uri=uri)) is is_good


def test_token_answer_is_a_form_by_default(client):
    """Without an Accept header for JSON the answer is form-encoded."""
    code = client.authorize(scope="repo")["code"]
    fields = {"client_id": "cid", "client_secret": "shh", "code": code}
    response = client.http.post(f"{client.base}/login/oauth/access_token", data=fields)
    assert response.headers["Content-Type"].startswith("application/x-www-form-urlencoded")
    assert parse_qs(response.text)["token_type"] == ["bearer"]


def test_scopes_are_normalized_and_may_be_fewer(client):
    """Implied scopes vanish from the comma-separated answer, and the user may grant less."""
    assert normalize(["repo", "public_repo", "read:org", "nonsense"]) == ("read:org", "repo")
    assert client.grant["scope"] == "admin:org_hook,read:org,repo"
    less = client.exchange(client.authorize(scope="repo read:org", sandbox_scopes="read:org")["code"])
    assert less["scope"] == "read:org"


def test_omitted_scope_repeats_the_earlier_grant(client, sandbox):
    """Without a scope an earlier grant is repeated without asking."""
    sandbox.core.auto_consent = False
    assert client.exchange(client.authorize(scope="")["code"])["scope"] == client.grant["scope"]


def test_classic_app_has_no_refresh_token(client):
    """A non-expiring app's answer has three members."""
    assert set(client.grant) == {"access_token", "token_type", "scope"}


def test_refresh_rotates_at_once(server, sandbox):
    """A refresh kills both old tokens; sending the old one again is refused and ends the family."""
    sandbox.github.auth.apps["cid"].is_expiring = True
    client = Client(server)
    first = client.grant
    assert first["expires_in"] == 28_800
    second = client.token(grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert second["refresh_token"] != first["refresh_token"]
    assert client.get("/user").status_code == 401
    client.http.headers["Authorization"] = f"Bearer {second['access_token']}"
    sandbox.clock.advance(timedelta(hours=8))
    expired = client.get("/user")
    assert (expired.status_code, expired.json()["message"]) == (401, "Bad credentials")
    third = client.token(grant_type="refresh_token", refresh_token=second["refresh_token"])
    client.http.headers["Authorization"] = f"Bearer {third['access_token']}"
    assert client.get("/user").status_code == 200
    again = client.token(grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert again["error"] == "bad_refresh_token"
    assert sandbox.github.families.reused == [first["refresh_token"]]
    assert client.get("/user").status_code == 401


def test_offline_access_asks_for_expiring_tokens(client):
    """The scope offline_access makes this sign-in expire, and is never shown as granted."""
    grant = client.exchange(client.authorize(scope="repo offline_access")["code"])
    assert grant["refresh_token"].startswith("ghr_")
    assert grant["scope"] == "repo"


def test_eleventh_token_kills_the_first(client):
    """Ten live tokens of a user, app and set of scopes are the most."""
    for _ in range(9):
        client.exchange(client.authorize(scope="repo read:org admin:org_hook")["code"])
    assert client.get("/user").status_code == 200
    client.exchange(client.authorize(scope="repo read:org admin:org_hook")["code"])
    assert client.get("/user").status_code == 401


def test_unsupported_grant_type(client):
    """An unknown grant type has its own error."""
    assert client.token(grant_type="password")["error"] == "unsupported_grant_type"


def test_revocation(client):
    """One token dies by DELETE …/token, all of a user's by DELETE …/grant; an unknown one is 404."""
    url, auth = f"{client.api}/applications/cid", ("cid", "shh")
    mine = {"access_token": client.grant["access_token"]}
    other = client.exchange(client.authorize(scope="repo")["code"])["access_token"]
    http = requests.Session()
    http.trust_env = False
    assert http.post(f"{url}/token", json=mine, auth=auth).json()["user"]["login"] == "octo"
    assert http.delete(f"{url}/token", json=mine, auth=("cid", "no")).status_code == 404
    assert http.delete(f"{url}/token", json={}, auth=auth).status_code == 422
    assert http.delete(f"{url}/token", json=mine, auth=auth).status_code == 204
    assert http.delete(f"{url}/token", json=mine, auth=auth).status_code == 404
    assert client.get("/user").status_code == 401
    assert http.delete(f"{url}/grant", json={"access_token": other}, auth=auth).status_code == 204
    assert http.post(f"{url}/token", json={"access_token": other}, auth=auth).status_code == 404


def test_consent_page_asks_and_obeys(server, sandbox):
    """The page shows app, accounts and scopes escaped; what is ticked is what is granted."""
    sandbox.core.auto_consent = False
    sandbox.github.add_app("cid", "shh", name="<b>Evil</b>", callback_url=CALLBACK)
    url = f"{server.base_url('github')}/login/oauth/authorize?" + urlencode(
        {"client_id": "cid", "scope": "repo read:org"}
    )
    page = requests.get(url)
    assert page.status_code == 200
    assert "&lt;b&gt;Evil&lt;/b&gt;" in page.text
    assert "<b>Evil" not in page.text
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    hubot = str(sandbox.github.account("hubot").id)
    answer = requests.post(
        url, data={"decision": "allow", "account": hubot, "scope": ["read:org"]}, allow_redirects=False
    )
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    assert sandbox.github.auth.codes[code].scopes == ("read:org",)
    assert str(sandbox.github.auth.codes[code].user_id) == hubot
    denied = requests.post(url, data={"decision": "deny"}, allow_redirects=False)
    assert "error=access_denied" in denied.headers["Location"]


# What holds for every API call


def test_every_answer_has_the_headers(client):
    """Scopes, the five rate-limit headers and an ETag are on every answer; 304 costs nothing."""
    first = client.get("/user")
    assert first.headers["X-OAuth-Scopes"] == "admin:org_hook, read:org, repo"
    for name in ("limit", "remaining", "used", "reset", "resource"):
        assert f"x-ratelimit-{name}" in first.headers
    again = client.get("/user", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["x-ratelimit-remaining"] == first.headers["x-ratelimit-remaining"]
    assert client.get("/rate_limit").json()["rate"]["remaining"] == int(first.headers["x-ratelimit-remaining"])


def test_user_agent_is_mandatory(sandbox):
    """A call without User-Agent is 403."""
    answer = sandbox.app.test_client().get("/github/api/v3/user", headers={"User-Agent": ""})
    assert answer.status_code == 403


def test_unknown_path_is_json(client):
    """An unknown path has GitHub's JSON."""
    assert client.get("/nowhere").json()["message"] == "Not Found"


def test_rate_limit_runs_out_and_comes_back(client, sandbox):
    """With nothing left the answer is 403 with remaining 0, until the window is over."""
    sandbox.github.set_remaining("octo", 1)
    assert client.get("/user").headers["x-ratelimit-remaining"] == "0"
    refused = client.get("/user")
    assert (refused.status_code, refused.headers["x-ratelimit-remaining"]) == (403, "0")
    assert int(refused.headers["x-ratelimit-reset"]) == int((NOW + timedelta(hours=1)).timestamp())
    sandbox.clock.advance(timedelta(hours=1))
    assert client.get("/user").status_code == 200


def test_renamed_repository_answers_301(client, sandbox):
    """The old name redirects to the address by id, path and query kept."""
    sandbox.github.open_issue("octo/hello", "One", by="octo")
    sandbox.github.rename_repository("octo/hello", "bye")
    moved = client.get("/repos/octo/hello/issues?state=all", allow_redirects=False)
    assert moved.status_code == 301
    assert moved.headers["Location"].endswith(
        f"/repositories/{sandbox.github.repository('octo/bye').id}/issues?state=all"
    )
    assert len(client.get("/repos/octo/hello/issues?state=all").json()) == 1


def test_lost_access_is_404(server, sandbox):
    """A private repository is 404 for who may not see it, or whose token lacks the scope."""
    world = sandbox.github
    world.add_repository("octo/secret", private=True)
    world.add_collaborator("octo/secret", "hubot")
    client, weak = Client(server, "hubot"), Client(server, "hubot", scopes="read:org")
    assert client.get("/repos/octo/secret").status_code == 200
    assert weak.get("/repos/octo/secret").status_code == 404
    assert [repo["full_name"] for repo in client.sync_run("/user/repos")] == ["octo/secret"]
    world.remove_collaborator("octo/secret", "hubot")
    assert client.get("/repos/octo/secret").status_code == 404
    assert client.sync_run("/user/repos") == []


# Lists


def test_paging(client, sandbox):
    """Pages are 30 by default and 100 at most, linked by the repository's id; all pages together show each once."""
    sandbox.github.populate("octo/hello", issues=230)
    first = client.get("/repos/octo/hello/issues")
    assert len(first.json()) == 30
    assert all(item["state"] == "open" for item in first.json())
    repo_id = sandbox.github.repository("octo/hello").id
    assert f"/repositories/{repo_id}/issues?page=2" in first.links["next"]["url"]
    assert len(client.get("/repos/octo/hello/issues?state=all&per_page=500").json()) == 100
    seen = client.sync_run("/repos/octo/hello/issues?state=all&sort=updated&direction=asc&per_page=100")
    assert [item["number"] for item in seen] == list(range(1, 231))
    assert sum("pull_request" in item for item in seen) == 46
    assert len(client.sync_run("/repos/octo/hello/pulls?state=all&per_page=100")) == 46


def test_since_is_inclusive(client, sandbox):
    """`since` keeps what changed at that second or later."""
    world = sandbox.github
    world.open_issue("octo/hello", "Old", by="octo")
    sandbox.clock.advance(timedelta(minutes=1))
    world.open_issue("octo/hello", "New", by="octo")
    path = "/repos/octo/hello/issues?state=all&sort=updated&direction=asc&since="
    assert [one["title"] for one in client.sync_run(f"{path}2026-11-22T12:01:00Z")] == ["New"]
    world.comment("octo/hello", 1, "bump", by="hubot")
    sandbox.clock.advance(timedelta(minutes=1))
    world.edit_issue("octo/hello", 1, title="Newest", by="octo")
    assert [one["number"] for one in client.sync_run(f"{path}2026-11-22T12:01:00Z")] == [2, 1]
    assert client.sync_run(f"{path}2026-11-22T12:01:00Z&sort=created")[0]["number"] in (1, 2)
    assert client.get("/repos/octo/hello/issues?since=yesterday").status_code == 422


def test_a_large_repository_is_cheap_to_page(client, sandbox):
    """A late page of 100,000 items is served from the indexes, not by sorting them again."""
    sandbox.github.populate("octo/hello", issues=100_000)
    page = client.get("/repos/octo/hello/issues?state=all&sort=updated&direction=asc&per_page=100&page=1000")
    assert [page.json()[0]["number"], page.json()[-1]["number"]] == [99_901, 100_000]
    assert "next" not in page.links
    assert page.elapsed < timedelta(seconds=2)


def test_ordering_cuts_like_sorting():
    """Any page of an ordering equals the same slice of a sorted list."""
    order, rows = Ordering(), []
    for key in range(20):
        at = NOW + timedelta(seconds=key * 7 % 11)
        order.add(key, at)
        rows.append((at, key))
    order.discard(3, rows[3][0])
    rows = sorted(rows[:3] + rows[4:])
    for is_ascending in (True, False):
        expected = [key for _, key in (rows if is_ascending else rows[::-1])]
        for start in range(0, 25, 4):
            keys, total = order.page(
                by_updated=True, is_ascending=is_ascending, since=None, start=start, stop=start + 4
            )
            assert (keys, total) == (expected[start : start + 4], 19)


def test_activity_pages_by_cursor(client, sandbox):
    """The activity list is paged by cursors and agrees with the pushes."""
    pushed = [sandbox.github.push("octo/hello", by="octo", messages=[f"c{n}"]).after for n in range(7)]
    seen = client.sync_run("/repos/octo/hello/activity?per_page=3")
    assert [one["after"] for one in seen] == pushed[::-1]
    assert {one["activity_type"] for one in seen} == {"push"}
    assert client.sync_run("/repos/octo/hello/activity?per_page=3&direction=asc")[0]["after"] == pushed[0]


def test_reviews_releases_and_events(client, server, sandbox):
    """Reviews are in capitals without others' pending ones; releases and issue events come newest first."""
    world = sandbox.github
    number = world.open_pull("octo/hello", "Add", by="octo").number
    world.review("octo/hello", number, by="hubot", state="APPROVED", body="ok")
    world.review("octo/hello", number, by="hubot", state="PENDING")
    world.merge_pull("octo/hello", number, by="octo")
    assert [one["state"] for one in client.sync_run(f"/repos/octo/hello/pulls/{number}/reviews")] == ["APPROVED"]
    states = [one["state"] for one in Client(server, "hubot").sync_run(f"/repos/octo/hello/pulls/{number}/reviews")]
    assert states == ["APPROVED", "PENDING"]
    assert [one["event"] for one in client.sync_run("/repos/octo/hello/issues/events")] == ["closed", "merged"]
    assert client.get(f"/repos/octo/hello/pulls/{number}").json()["merged"] is True
    world.publish_release("octo/hello", "v1", by="octo")
    world.publish_release("octo/hello", "v2", by="octo", draft=True)
    assert [one["tag_name"] for one in client.sync_run("/repos/octo/hello/releases")] == ["v2", "v1"]
    assert [one["tag_name"] for one in Client(server, "hubot").sync_run("/repos/octo/hello/releases")] == ["v1"]


# Hooks


def test_lagging_lists_show_what_was(client, sandbox):
    """A list that lags has a changed item in its earlier version, where that stood, and none that is newer than the lag."""
    world, url = sandbox.github, "/repos/octo/hello/issues?state=all&sort=updated&direction=asc"
    for title in ("first", "second"):
        world.open_issue("octo/hello", title, by="octo")
        sandbox.clock.advance(timedelta(minutes=5))
    comment = world.comment("octo/hello", 2, "old", by="octo")
    sandbox.clock.advance(timedelta(minutes=5))
    world.edit_issue("octo/hello", 1, title="changed", by="octo")
    world.edit_comment("octo/hello", comment.id, "new", by="octo")
    world.open_issue("octo/hello", "third", by="octo")
    world.push("octo/hello", by="octo")
    sandbox.core.index_lags["github"] = timedelta(seconds=90)
    assert [item["title"] for item in client.get(url).json()] == ["first", "second"]
    assert [item["body"] for item in client.get("/repos/octo/hello/issues/comments").json()] == ["old"]
    assert client.get("/repos/octo/hello/activity").json() == []
    sandbox.clock.advance(timedelta(seconds=90))
    assert [item["title"] for item in client.get(url).json()] == ["second", "changed", "third"]
    assert [item["body"] for item in client.get("/repos/octo/hello/issues/comments").json()] == ["new"]
    assert len(client.get("/repos/octo/hello/activity").json()) == 1


def test_pages_may_be_shorter_than_asked_for(client, sandbox):
    """A capped list has all its items on more pages, whose numbers count by the cap."""
    sandbox.github.populate("octo/hello", issues=23)
    sandbox.core.page_caps["github"] = 10
    url = "/repos/octo/hello/issues?state=all&per_page=100"
    assert len(client.get(url).json()) == 10
    assert len({item["number"] for item in client.sync_run(url)}) == 23


def test_issues_are_imported_moved_and_deleted(client, sandbox):
    """An import keeps its dates, a move keeps the date and the comments under other numbers, a deletion leaves no trace."""
    world = sandbox.github
    world.add_repository("octo/attic")
    born = datetime(1970, 1, 1, tzinfo=UTC)
    issue = world.import_issue("octo/hello", "Old", by="octo", created_at=born)
    world.import_issue("octo/hello", "Old pull", by="octo", created_at=born, closed_at=born, is_pull=True)
    world.comment("octo/hello", issue.number, "still here", by="hubot")
    world.open_issue("octo/attic", "Dust", by="octo")
    moved = world.transfer_issue("octo/hello", issue.number, "octo/attic", by="octo")
    assert moved.number == 2
    (listed,) = [item for item in client.get("/repos/octo/attic/issues").json() if item["title"] == "Old"]
    assert (listed["created_at"], listed["updated_at"]) == ("1970-01-01T00:00:00Z", "2026-11-22T12:00:00Z")
    (comment,) = client.get("/repos/octo/attic/issues/comments").json()
    assert comment["issue_url"].endswith("/issues/2")
    assert client.get("/repos/octo/hello/issues/comments").json() == []
    assert [item["title"] for item in client.get("/repos/octo/hello/issues?state=all").json()] == ["Old pull"]
    world.delete_comment("octo/attic", comment["id"], by="octo")
    world.delete_issue("octo/attic", moved.number, by="octo")
    assert [item["title"] for item in client.get("/repos/octo/attic/issues").json()] == ["Dust"]
    with pytest.raises(LookupError):
        world.delete_issue("octo/hello", 2, by="octo")


def test_a_deleted_repository_comes_back(client, sandbox):
    """A restored repository has its id and its contents again."""
    world = sandbox.github
    world.open_issue("octo/hello", "It flickers", by="octo")
    repo = world.repository("octo/hello")
    world.delete_repository("octo/hello")
    assert client.get("/repos/octo/hello").status_code == 404
    world.restore_repository(repo.id)
    assert client.get("/repos/octo/hello").json()["id"] == repo.id
    assert len(client.get("/repos/octo/hello/issues").json()) == 1


def test_a_draft_is_published_later(client, sandbox):
    """A draft's date is its commit's, and its publication has a date of its own."""
    world = sandbox.github
    release = world.publish_release("octo/hello", "v1", by="octo", draft=True, committed_at=NOW - timedelta(days=900))
    sandbox.clock.advance(timedelta(hours=1))
    world.publish_draft("octo/hello", release.id, by="octo")
    (listed,) = client.get("/repos/octo/hello/releases").json()
    dates = (listed["draft"], listed["created_at"], listed["published_at"])
    assert dates == (False, "2024-06-05T12:00:00Z", "2026-11-22T13:00:00Z")
    with pytest.raises(LookupError):
        world.publish_draft("octo/hello", release.id, by="octo")


def test_access_tokens_may_end_early(server, sandbox):
    """An access token that ended before it expired is replaced by refreshing."""
    sandbox.github.add_app("cid", "shh", callback_url=CALLBACK, is_expiring=True)
    client = Client(server)
    sandbox.github.end_tokens_early("octo")
    assert client.get("/user").status_code == 401
    fresh = client.token(grant_type="refresh_token", refresh_token=client.grant["refresh_token"])
    client.http.headers["Authorization"] = f"Bearer {fresh['access_token']}"
    assert client.get("/user").status_code == 200


def test_refresh_tokens_may_be_left_out(server, sandbox):
    """A GitHub that ignores the request for expiring tokens answers without refresh token and expiry."""
    app = sandbox.github.add_app("cid", "shh", callback_url=CALLBACK, is_expiring=True)
    client = Client(server)
    app.omits_refresh_tokens = True
    fresh = client.token(grant_type="refresh_token", refresh_token=client.grant["refresh_token"])
    assert sorted(fresh) == ["access_token", "scope", "token_type"]


def test_a_delivery_is_kept_for_three_days(client, sandbox, receiver):
    """An older delivery is no longer listed."""
    url, config = "/repos/octo/hello/hooks", {"url": receiver.url, "content_type": "json"}
    hook = client.http.post(client.api + url, json={"events": ["issues"], "config": config}).json()
    sandbox.deliver_pending()
    assert len(client.get(f"{url}/{hook['id']}/deliveries").json()) == 1
    sandbox.clock.advance(timedelta(days=3, seconds=1))
    assert client.get(f"{url}/{hook['id']}/deliveries").json() == []


def test_hook_is_registered_once_and_pinged(client, sandbox, receiver):
    """Creating gives 201 with a masked secret and a signed ping; again it is 422; without the right 404."""
    url = f"{client.api}/repos/octo/hello/hooks"
    made = client.http.post(url, json=hook_body(receiver.url))
    assert made.status_code == 201
    assert made.json()["config"]["secret"] == "********"
    sandbox.deliver_pending()
    headers, body = receiver.received[0]
    assert headers["x-github-event"] == "ping"
    assert json.loads(body)["hook_id"] == made.json()["id"]
    assert headers["x-hub-signature-256"] == "sha256=" + hmac.new(b"s3cret", body, "sha256").hexdigest()
    again = client.http.post(url, json=hook_body(receiver.url))
    assert again.status_code == 422
    assert again.json()["errors"][0]["message"] == "Hook already exists on this repository"
    sandbox.github.add_repository("hubot/own")
    assert client.http.post(f"{client.api}/repos/hubot/own/hooks", json=hook_body(receiver.url)).status_code == 404


def test_hook_defaults_are_form_and_push(client, sandbox, receiver):
    """Without events and content type a hook takes pushes as a form, signed over the encoded bytes."""
    config = {"url": receiver.url, "secret": "k"}
    made = client.http.post(f"{client.api}/repos/octo/hello/hooks", json={"config": config}).json()
    assert (made["events"], made["config"]["content_type"]) == (["push"], "form")
    sandbox.github.push("octo/hello", by="octo")
    sandbox.github.open_issue("octo/hello", "Not taken", by="octo")
    sandbox.deliver_pending()
    assert receiver.events() == ["ping", "push"]
    headers, body = receiver.received[1]
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert headers["x-hub-signature-256"] == "sha256=" + hmac.new(b"k", body, "sha256").hexdigest()
    assert json.loads(unquote_plus(body.decode().removeprefix("payload=")))["ref"] == "refs/heads/main"


def test_deleting_needs_admin(server, sandbox, receiver):
    """A token with write:repo_hook creates a hook and cannot delete it."""
    weak = Client(server, scopes="write:repo_hook")
    url = f"{weak.api}/repos/octo/hello/hooks"
    hook_id = weak.http.post(url, json=hook_body(receiver.url)).json()["id"]
    assert weak.http.delete(f"{url}/{hook_id}").status_code == 404
    strong = Client(server)
    patched = strong.http.patch(f"{url}/{hook_id}", json={"config": {"url": receiver.url, "content_type": "json"}})
    assert "secret" not in patched.json()["config"]
    assert strong.http.delete(f"{url}/{hook_id}").status_code == 204
    assert strong.get(f"{url}/{hook_id}").status_code == 404


def test_failed_delivery_is_not_retried_but_redelivered(client, sandbox, receiver):
    """A failure stays in the log; an attempt sends the same GUID again."""
    url = f"{client.api}/repos/octo/hello/hooks"
    hook_id = client.http.post(url, json=hook_body(receiver.url)).json()["id"]
    sandbox.deliver_pending()
    receiver.status = 500
    sandbox.github.open_issue("octo/hello", "One", by="octo")
    sandbox.deliver_pending()
    sandbox.clock.advance(timedelta(days=1))
    assert sandbox.deliver_pending() == []
    failed = client.get(f"{url}/{hook_id}/deliveries").json()[0]
    assert (failed["status_code"], failed["event"], failed["action"]) == (500, "issues", "opened")
    receiver.status = 202
    attempt = client.http.post(f"{url}/{hook_id}/deliveries/{failed['id']}/attempts")
    assert attempt.status_code == 202
    sandbox.deliver_pending()
    assert receiver.received[-1][0]["x-github-delivery"] == failed["guid"]
    newest = client.get(f"{url}/{hook_id}/deliveries?per_page=1")
    assert (newest.json()[0]["redelivery"], newest.json()[0]["status"]) == (True, "OK")
    assert len(client.sync_run(f"/repos/octo/hello/hooks/{hook_id}/deliveries?per_page=1")) == 3
    shown = client.get(f"{url}/{hook_id}/deliveries/{failed['id']}").json()
    assert shown["request"]["payload"]["issue"]["title"] == "One"


def test_an_archived_repository_is_read_only(client, sandbox, receiver):
    """It is listed as archived, its issues can be read, and it takes no hook until it is opened again."""
    sandbox.github.archive("octo/hello")
    url = f"{client.api}/repos/octo/hello"
    assert client.http.get(url).json()["archived"] is True
    assert client.http.get(f"{url}/issues").status_code == 200
    refused = client.http.post(f"{url}/hooks", json=hook_body(receiver.url))
    assert (refused.status_code, refused.json()["message"]) == (403, "Repository was archived so is read-only.")
    sandbox.github.archive("octo/hello", is_archived=False)
    assert client.http.post(f"{url}/hooks", json=hook_body(receiver.url)).status_code == 201


def test_single_sign_on_hides_an_organization(client, sandbox):
    """Lists are short and name it, what is its own is refused with a URL, and an authorized app sees all of it again."""
    sandbox.github.add_organization("acme", owner="octo")
    sandbox.github.add_repository("acme/app")
    repos, own = f"{client.api}/user/repos", f"{client.api}/repos/acme/app"
    before = client.http.get(repos).json()
    sandbox.github.require_sign_on("acme")
    short = client.http.get(repos)
    organization = sandbox.github.account("acme").id
    assert short.headers["X-GitHub-SSO"] == f"partial-results; organizations={organization}"
    assert {one["full_name"] for one in before} - {one["full_name"] for one in short.json()} == {"acme/app"}
    for url in (own, f"{own}/issues", f"{client.api}/organizations/{organization}/repos"):
        refused = client.http.get(url)
        assert refused.status_code == 403
        assert refused.headers["X-GitHub-SSO"].startswith("required; url=http")
    sandbox.github.authorize_sign_on("acme", "cid")
    assert client.http.get(repos).json() == before
    assert [one["full_name"] for one in client.http.get(url).json()] == ["acme/app"]


def test_organization_and_repository_hooks_both_fire(client, sandbox, receiver):
    """Two hooks on one event give two GUIDs; organization events go to the organization's hook only."""
    world = sandbox.github
    world.add_organization("acme", owner="octo")
    world.add_repository("acme/app")
    assert client.http.post(f"{client.api}/orgs/acme/hooks", json=hook_body(receiver.url)).status_code == 201
    client.http.post(f"{client.api}/repos/acme/app/hooks", json=hook_body(receiver.url + "2"))
    sandbox.deliver_pending()
    receiver.received.clear()
    world.open_issue("acme/app", "One", by="octo")
    world.add_member("acme", "hubot")
    sandbox.deliver_pending()
    assert receiver.events() == ["issues", "issues", "organization"]
    assert len({headers["x-github-delivery"] for headers, _ in receiver.received}) == 3
    assert [org["login"] for org in client.sync_run("/user/orgs")] == ["acme"]


def test_disorder_drops_and_doubles(client, sandbox, receiver):
    """Dropped deliveries are in the log as failures, doubled ones arrive twice under one GUID."""
    url = f"{client.api}/repos/octo/hello/hooks"
    hook_id = client.http.post(url, json=hook_body(receiver.url)).json()["id"]
    sandbox.deliver_pending()
    sandbox.deliveries.disorder = Disorder(drop=1)
    sandbox.github.open_issue("octo/hello", "Lost", by="octo")
    sandbox.deliveries.disorder = Disorder(duplicate=1, shuffle=True)
    sandbox.github.open_issue("octo/hello", "Twice", by="octo")
    sandbox.deliver_pending()
    assert receiver.events() == ["ping", "issues", "issues"]
    assert len({headers["x-github-delivery"] for headers, _ in receiver.received[1:]}) == 1
    assert 0 in [line["status_code"] for line in client.get(f"{url}/{hook_id}/deliveries").json()]


def act_out(world) -> None:
    """Everything that the event table names, once."""
    repo = "acme/app"
    world.open_issue(repo, "Bug", by="octo", body="It broke")
    world.assign(repo, 1, "hubot", by="octo")
    world.comment(repo, 1, "Looking", by="hubot")
    world.close_issue(repo, 1, by="hubot")
    world.reopen_issue(repo, 1, by="octo")
    world.open_pull(repo, "Fix", by="hubot", draft=True)
    world.ready_for_review(repo, 2, by="hubot")
    world.request_review(repo, 2, "octo", by="hubot")
    world.review(repo, 2, by="octo", state="CHANGES_REQUESTED", body="Hm")
    world.review_comment(repo, 2, "Here", by="octo")
    world.comment(repo, 2, "Done", by="hubot")
    world.close_pull(repo, 2, by="hubot")
    world.reopen_pull(repo, 2, by="hubot")
    world.merge_pull(repo, 2, by="octo")
    world.push(repo, by="octo", branch="new", messages=["a", "b"])
    world.delete_branch(repo, "new", by="octo")
    world.publish_release(repo, "v1", by="octo", name="First")
    world.add_collaborator(repo, "hubot")
    world.add_member("acme", "hubot")
    world.star(repo, by="hubot")
    world.fork(repo, by="hubot")


def test_payloads_parse_as_githubs_own(client, sandbox, receiver):
    """Every event of the table validates against the published webhook schemas."""
    webhooks = pytest.importorskip("githubkit.webhooks")
    sandbox.github.add_organization("acme", owner="octo")
    sandbox.github.add_repository("acme/app")
    client.http.post(f"{client.api}/orgs/acme/hooks", json=hook_body(receiver.url, events=["*"]))
    act_out(sandbox.github)
    sandbox.deliver_pending()
    seen = set()
    for headers, body in receiver.received:
        webhooks.parse(headers["x-github-event"], body)
        seen.add((headers["x-github-event"], json.loads(body).get("action")))
    assert {
        ("issues", "opened"), ("issues", "assigned"), ("issues", "closed"), ("issues", "reopened"),
        ("issue_comment", "created"), ("pull_request", "opened"), ("pull_request", "ready_for_review"),
        ("pull_request", "review_requested"), ("pull_request", "closed"), ("pull_request", "reopened"),
        ("pull_request_review", "submitted"), ("pull_request_review_comment", "created"), ("push", None),
        ("release", "published"), ("member", "added"), ("organization", "member_added"), ("star", "created"),
        ("fork", None),
    } <= seen  # fmt: skip


def test_webhook_and_api_tell_the_same(client, sandbox, receiver):
    """Identities and times in a webhook are those that REST gives."""
    sandbox.github.add_organization("acme", owner="octo")
    sandbox.github.add_repository("acme/app")
    client.http.post(f"{client.api}/orgs/acme/hooks", json=hook_body(receiver.url))
    act_out(sandbox.github)
    sandbox.deliver_pending()
    payloads = [(headers["x-github-event"], json.loads(body)) for headers, body in receiver.received]
    merged = next(body for event, body in payloads if event == "pull_request" and body["pull_request"]["merged"])
    shell = client.get("/repos/acme/app/issues/2").json()
    assert merged["pull_request"]["merged_at"] == shell["pull_request"]["merged_at"]
    assert merged["pull_request"]["id"] != shell["id"]
    pushes = {(body["ref"], body["before"], body["after"]) for event, body in payloads if event == "push"}
    assert pushes == {(one["ref"], one["before"], one["after"]) for one in client.sync_run("/repos/acme/app/activity")}
    comments = {body["comment"]["id"] for event, body in payloads if event == "issue_comment"}
    assert comments == {
        one["id"] for one in client.sync_run("/repos/acme/app/issues/comments?sort=updated&direction=asc")
    }
    assert len(client.sync_run("/repos/acme/app/pulls/comments")) == 1
    push = next(body for event, body in payloads if event == "push")
    assert isinstance(push["repository"]["pushed_at"], int)


# Faults


def test_faults_strike_and_pass(client, sandbox):
    """Each kind of fault strikes as often as it was asked to, then all is well."""
    path, provider = "/api/v3/user", "github"
    secondary = {"message": "You have exceeded a secondary rate limit.", "documentation_url": "x#secondary-rate-limits"}
    sandbox.faults.add(Fault(provider, path, status=403, headers={"Retry-After": "7"}, body=secondary, times=1))
    answer = client.get("/user")
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()) == (403, "7", secondary)
    sandbox.faults.add(Fault(provider, path, status=502, html=True, times=1))
    assert client.get("/user").text.startswith("<html>")
    sandbox.faults.add(Fault(provider, path, kind=FaultKind.TRUNCATED, times=1))
    with pytest.raises(requests.exceptions.JSONDecodeError):
        client.get("/user").json()
    for kind in (FaultKind.RESET, FaultKind.CUT):
        sandbox.faults.add(Fault(provider, path, kind=kind, times=1))
        with pytest.raises(requests.RequestException):
            client.get("/user")
    for kind in (FaultKind.SLOW, FaultKind.DELAY):
        sandbox.faults.add(Fault(provider, path, kind=kind, seconds=0.05, times=1))
        assert client.get("/user").elapsed >= timedelta(seconds=0.04 if kind is FaultKind.DELAY else 0)
    assert client.get("/user").json()["login"] == "octo"


def test_lost_answer_of_a_refresh(server, sandbox):
    """The world rotates although the client never hears of it."""
    sandbox.github.auth.apps["cid"].is_expiring = True
    client = Client(server)
    sandbox.faults.add(Fault("github", "/login/oauth/access_token", kind="lost_answer", times=1))
    refresh = {"grant_type": "refresh_token", "refresh_token": client.grant["refresh_token"]}
    with pytest.raises(requests.ConnectionError):
        client.token(**refresh)
    assert client.token(**refresh)["error"] == "bad_refresh_token"


def test_fault_probability_is_seeded(sandbox):
    """The same seed gives the same unlucky requests."""

    def outcomes(one: Sandbox) -> list[int]:
        one.faults.add(Fault("github", "/api/v3/nothing", status=500, probability=0.5))
        return [one.app.test_client().get("/github/api/v3/nothing").status_code for _ in range(12)]

    first, second = outcomes(create_sandbox(seed=3)), outcomes(create_sandbox(seed=3))
    assert first == second
    assert set(first) == {404, 500}


def test_requests_are_logged(client, sandbox):
    """The sandbox knows what it was asked."""
    client.get("/user")
    assert [one.status for one in sandbox.core.requests_to("github", "/api/v3/user")] == [200]


# A client that GitHub's users know


def test_githubkit_works_against_it(server, sandbox, receiver):
    """A third-party client reads user, repositories, issues and pulls, and manages hooks."""
    githubkit = pytest.importorskip("githubkit")
    sandbox.github.populate("octo/hello", issues=150)
    sandbox.github.review("octo/hello", 5, by="hubot", body="fine")
    sandbox.github.comment("octo/hello", 1, "Hi", by="hubot")
    sandbox.github.review_comment("octo/hello", 5, "There", by="hubot")
    sandbox.github.publish_release("octo/hello", "v1", by="octo")
    sandbox.github.push("octo/hello", by="octo")
    token = Client(server).grant["access_token"]
    base_url = f"{server.base_url('github')}/api/v3/"
    with githubkit.GitHub(token, base_url=base_url, trust_env=False, http_cache=False, auto_retry=False) as kit:
        rest = kit.rest
        assert rest.users.get_authenticated().parsed_data.login == "octo"
        assert [repo.full_name for repo in rest.repos.list_for_authenticated_user().parsed_data] == ["octo/hello"]
        assert rest.repos.get("octo", "hello").parsed_data.full_name == "octo/hello"
        listed = list(rest.paginate(rest.issues.list_for_repo, owner="octo", repo="hello", state="all"))
        assert len(listed) == 150
        assert len(rest.pulls.list("octo", "hello", state="all").parsed_data) == 30
        assert rest.pulls.get("octo", "hello", 5).parsed_data.number == 5
        assert rest.pulls.list_reviews("octo", "hello", 5).parsed_data[0].state == "APPROVED"
        assert len(rest.pulls.list_review_comments_for_repo("octo", "hello").parsed_data) == 1
        assert len(rest.issues.list_comments_for_repo("octo", "hello").parsed_data) == 1
        assert rest.repos.list_releases("octo", "hello").parsed_data[0].tag_name == "v1"
        assert rest.repos.list_activities("octo", "hello").parsed_data[0].activity_type == "push"
        assert rest.issues.list_events_for_repo("octo", "hello").parsed_data == []
        assert rest.rate_limit.get().parsed_data.resources.core.limit == 5_000
        hook = rest.repos.create_webhook(
            "octo", "hello", events=["issues"], config={"url": receiver.url, "content_type": "json", "secret": "x"}
        ).parsed_data
        sandbox.deliver_pending()
        assert rest.repos.list_webhooks("octo", "hello").parsed_data[0].id == hook.id
        log = rest.repos.list_webhook_deliveries("octo", "hello", hook.id).parsed_data
        assert log[0].status == "OK"
        rest.repos.redeliver_webhook_delivery("octo", "hello", hook.id, log[0].id)
        rest.repos.delete_webhook("octo", "hello", hook.id)
        with pytest.raises(githubkit.exception.RequestFailed):
            rest.repos.get_webhook("octo", "hello", hook.id)
