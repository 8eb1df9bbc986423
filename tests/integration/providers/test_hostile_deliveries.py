"""Deliveries as an attacker, or a vendor on a bad day, would send them: spoilt fields, spoilt proofs.

A spoilt field under a good proof is accepted and kept, whatever it means. A spoilt proof is 401, and nothing is kept.
"""

import hashlib
import hmac
import json
import random
from collections import Counter
from datetime import timedelta
from itertools import count
from urllib.parse import urlsplit
from uuid import uuid4

import attrs
import pytest

from connectors.domain.providers.registry import installed_providers
from connectors_sandbox.github.webhooks import signature_headers
from connectors_sandbox.google.keys import make_key
from connectors_sandbox.jira.webhooks import sign_jwt
from connectors_sandbox.slack.events import Preparation
from connectors_sandbox.zoho import mail
from tests.support.acts import ACTS, fresh_name, jira_site, zoho_address
from tests.support.stage import CLIQ_SECRET, GITHUB_APP, JIRA_ADMIN_SECRET, JIRA_APP, SIGNING_SECRET, SLACK_APP

SLUGS = [provider.slug for provider in installed_providers() if provider.slug in ACTS]
SPOILT = 80
"""Spoilt documents a provider: a sample of all that there are, the same in every run."""
HUGE = "A" * 70_000
SIGNED_OVER_BODY = {"github", "slack", "zoho-mail"}

_numbers = count(1)


# --- how each vendor proves itself, written apart from the packages -------------------------------------------------------


@attrs.frozen
class Sample:
    """A real delivery that was received, and how to send another like it."""

    stage: object
    slug: str
    name: str
    outgoing: object

    @property
    def url(self):
        """Where it went to."""
        return self.outgoing.url

    @property
    def document(self):
        """What it said; a channel's notifications say it in headers."""
        body = self.outgoing.attempts[-1].sent_body
        return json.loads(body) if body else {}

    @property
    def now(self):
        """The vendor's time."""
        return self.stage.sandbox.clock.now()

    def headers(self, body, *, later=timedelta(), secret=None):
        """What the vendor would send with this body, `later` than now, or somebody who has only another secret."""
        sent = self._proven(body, self.now + later, secret)
        number = next(_numbers)
        match self.slug:
            case "github":
                sent["X-GitHub-Delivery"] = str(uuid4())
            case "jira":
                sent["X-Atlassian-Webhook-Identifier"] = uuid4().hex
            case "google-drive" | "google-calendar":
                sent["X-Goog-Message-Number"] = str(1_000_000 + number)
        return sent

    def _proven(self, body, at, secret):
        sandbox = self.stage.sandbox
        sent = dict(self.outgoing.prepare(1, at)[0] if self.outgoing.prepare else self.outgoing.headers)
        match self.slug:
            case "github":
                (hook,) = sandbox.github.hooks_on(sandbox.github.repository(f"{self.name}/lamp"))
                sent |= signature_headers(secret or hook.secret, body)
            case "slack":
                app = sandbox.slack.auth.apps[SLACK_APP[0]]
                sent = Preparation(attrs.evolve(app, signing_secret=secret or SIGNING_SECRET), body, [])(1, at)[0]
            case "jira" if secret:
                app = attrs.evolve(sandbox.jira.auth.apps[JIRA_APP[0]], client_secret=secret)
                sent["Authorization"] = f"Bearer {sign_jwt(app, '712020:mallory', 'jti', at)}"
            case "google-drive" | "google-calendar" if secret:
                sent["X-Goog-Channel-Token"] = secret
            case "gmail" if secret:
                sent["Authorization"] = f"Bearer {forged_push_token(sandbox, self.now)}"
            case "zoho-cliq":
                sent["X-Webhook-Token"] = secret or CLIQ_SECRET
            case "zoho-mail":
                known = sandbox.zoho.mailboxes[zoho_address(self.name)].hook.secret
                sent["X-Hook-Signature"] = mail.sign(secret or known, body)
        return dict(sent)


PROOFS = {
    "github": "X-Hub-Signature-256",
    "slack": "X-Slack-Signature",
    "jira": "Authorization",
    "google-drive": "X-Goog-Channel-Token",
    "google-calendar": "X-Goog-Channel-Token",
    "gmail": "Authorization",
    "zoho-cliq": "X-Webhook-Token",
    "zoho-mail": "X-Hook-Signature",
}
"""The header that proves the sender."""
TOO_EARLY_OR_LATE = {
    "slack": (timedelta(seconds=-330), timedelta(seconds=330)),
    "jira": (timedelta(minutes=-10), timedelta(minutes=10)),
    "gmail": (timedelta(hours=-2), timedelta(minutes=5)),
}
"""How far from now a proof is refused, where the vendor's proof says when it was made."""


def forged_push_token(sandbox, now):
    """A token with the real claims and the real key's id, signed with a key that is not Google's."""
    (subscription,) = sandbox.google.pubsub.subscriptions.values()
    stamp = int(now.timestamp())
    claims = {
        "aud": subscription.audience,
        "email": subscription.service_account,
        "email_verified": True,
        "iat": stamp,
        "exp": stamp + 3600,
        "iss": "https://accounts.google.com",
    }
    return attrs.evolve(make_key(99), kid=sandbox.google.keys.newest().kid).sign(claims)


@pytest.fixture(scope="module")
def sample(stage):
    """One real delivery of each provider, made when first asked for."""
    made = {}

    def get(slug):
        if slug not in made:
            act, name, core = ACTS[slug], fresh_name(), stage.tenant()
            connection = core.connect(slug, act.prepare(stage.sandbox, name), act.options(name))
            act.finish(stage.sandbox, name, core.webhook_url(connection))
            stage.deliver()
            act.play(stage.sandbox, name)
            made[slug] = Sample(stage, slug, name, stage.deliver()[0])
        return made[slug]

    return get


# --- spoilt fields under a good proof ----------------------------------------------------------------------------------


def paths_of(document, path=()):
    """Where every field of a document is."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from paths_of(value, (*path, key))


def others_of(value):
    """Values of other types than this one."""
    return [one for one in (7, -1.5, True, "text", [], {}, [[]], {"id": {}}) if type(one) is not type(value)]


def spoilt(document, path, how, rng):
    """A copy of the document in which one field is missing, null, of another type, or huge."""
    copy = json.loads(json.dumps(document))
    parent = copy
    for key in path[:-1]:
        parent = parent[key]
    match how:
        case "missing":
            del parent[path[-1]]
        case "null":
            parent[path[-1]] = None
        case "other type":
            parent[path[-1]] = rng.choice(others_of(parent[path[-1]]))
        case "huge":
            parent[path[-1]] = rng.choice([HUGE, 10**400, [HUGE], {HUGE: HUGE}, -(10**30), "\x00\ud800\U0001f4a5"])
    return copy


def numbered(slug, document):
    """The document under an identity of its own, so that none is taken for a redelivery of another."""
    copy, number = dict(document), next(_numbers)
    match slug:
        case "slack":
            if isinstance(copy.get("event_id"), str) and len(copy["event_id"]) < 100:
                copy["event_id"] = f"Ev{number:010}"
        case "gmail":
            message = copy.get("message")
            if isinstance(message, dict):
                ids = {one: f"{9 * 10**15 + number}" for one in ("messageId", "message_id") if message.get(one)}
                copy["message"] = {**message, **ids}
    return {**copy, "n": number}


def hostile_documents(slug, document):
    """A fair share of all ways to spoil one field."""
    rng = random.Random(slug)
    every = [(path, how) for path in paths_of(document) for how in ("missing", "null", "other type", "huge")]
    for path, how in rng.sample(every, min(SPOILT, len(every))):
        yield json.dumps(numbered(slug, spoilt(document, path, how, rng))).encode()


def hostile_bodies():
    """Bodies that are no such document at all."""
    for body in (
        b"null",
        b"7",
        b'"text"',
        b"[]",
        b"[{}]",
        b"{",
        b"not json",
        b"\xff\xfe\x00",
        b"\x00",
        b'{"a": NaN, "b": 1e999}',
        b'{"a": "\\ud800"}',
        b"[" * 50_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
    ):
        yield body + b" " * next(_numbers)


@pytest.mark.parametrize("slug", SLUGS)
def test_fields(stage, sample, slug):
    """A document with a spoilt field, or none at all, is received and kept: no 500, and nothing is lost."""
    source = sample(slug)
    bodies = [*hostile_documents(slug, source.document), *hostile_bodies()]
    answers = Counter()
    for body in bodies:
        answer = stage.post(source.url, source.headers(body), body)
        answers[answer.status_code] += 1
        assert answer.status_code in {200, 202}, (answer.status_code, answer.text[:300], body[:300])
    kept = stage.rows("SELECT body, status, error FROM deliveries WHERE provider = :slug", slug=slug)
    statuses = {bytes(body): (status, error) for body, status, error in kept}
    lost = [body[:200] for body in bodies if body not in statuses]
    assert lost == []
    crashed = {error for body in bodies if (error := statuses[body][1]) and error.startswith("internal error")}
    assert crashed == set()
    assert {statuses[body][0] for body in bodies} <= {"processed", "ignored", "failed"}


@pytest.mark.parametrize("slug", ["google-drive", "google-calendar"])
def test_fields_of_a_channel(stage, sample, slug):
    """A notification's fields are headers: any of them may be missing or mad, and what cannot be told is not lost."""
    source = sample(slug)
    names = [name for name in source.headers(b"") if name.startswith("X-Goog") and name != PROOFS[slug]]
    for name in names:
        for value in (None, "", "7", "é\x80", "A" * 5_000, "https://evil.example/calendars/../events", "%00"):
            headers = source.headers(b"")
            headers.pop(name) if value is None else headers.update({name: value.encode("latin-1")})
            answer = stage.post(source.url, headers, b"")
            identifies = name in {"X-Goog-Channel-ID", "X-Goog-Message-Number", "X-Goog-Resource-ID"}
            assert answer.status_code in ({202, 401} if identifies else {202}), (name, value, answer.text)


# --- spoilt proofs -----------------------------------------------------------------------------------------------------


def spoilt_proofs(good):
    """The proof cut, prolonged, changed, and otherwise mistreated; None leaves it away."""
    for value in (
        None,
        "",
        good[:-1],
        good[:-8],
        good[: len(good) // 2],
        good[8:],
        good + "0",
        good + good,
        good.swapcase(),
        good[:-3] + ("abc" if good[-3:] != "abc" else "cba"),
        "é" + good[1:],
        "ÿ" * len(good),
        good[:-4] + "\x80\x81\x82\x83",
        "A" * 8_000,
        "sha256=",
        "v0=",
        "Bearer",
        "Bearer a.b.c",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
    ):
        if value != good:
            yield value


def counted(stage, slug):
    """How much there is of a provider's."""
    query = """SELECT (SELECT count(*) FROM deliveries WHERE provider = :slug),
                      (SELECT count(*) FROM signals WHERE provider = :slug),
                      (SELECT count(*) FROM jobs WHERE provider = :slug)"""
    return stage.rows(query, slug=slug)


def refused(stage, url, headers, body):
    """Send what must not be believed."""
    answer = stage.post(url, headers, body)
    assert (answer.status_code, answer.json()["code"]) == (401, "INVALID_SIGNATURE"), (headers, answer.text)
    assert answer.headers["Content-Type"] == "application/problem+json"


def forgery(source):
    """A body that would make a signal."""
    return json.dumps(numbered(source.slug, source.document)).encode() if source.document else b""


@pytest.mark.parametrize("slug", SLUGS)
def test_proofs(stage, sample, slug):
    """A proof that is cut, longer, changed, of another secret, too old or too new is refused, and nothing is kept."""
    source, proof = sample(slug), PROOFS[slug]
    body = forgery(source)
    before = counted(stage, slug)
    for value in spoilt_proofs(source.headers(body)[proof]):
        headers = {name: text for name, text in source.headers(body).items() if name != proof}
        if slug == "github":
            headers.pop("X-Hub-Signature")
        if value is not None:
            headers[proof] = value.encode("latin-1")
        refused(stage, source.url, headers, body)
    refused(stage, source.url, source.headers(body, secret="s" * 43), body)
    for later in TOO_EARLY_OR_LATE.get(slug, ()):
        refused(stage, source.url, source.headers(body, later=later), body)
    if slug in SIGNED_OVER_BODY:
        refused(stage, source.url, source.headers(body), body + b" ")
        refused(stage, source.url, source.headers(body), body[:-1])
    assert counted(stage, slug) == before

    # And the same, well proven, is believed.
    assert stage.post(source.url, source.headers(body), body).status_code in {200, 202}
    assert counted(stage, slug)[0][0] == before[0][0] + 1


def test_only_sha_256_counts_at_github(stage, sample):
    """GitHub's SHA-1 signature, however good, proves nothing."""
    source = sample("github")
    body = forgery(source)
    headers = source.headers(body)
    del headers["X-Hub-Signature-256"]
    refused(stage, source.url, headers, body)


@pytest.mark.parametrize("slug", SLUGS)
def test_another_tenants_url(stage, sample, slug):
    """A proof is good for the URL that it was made for: at a stranger's URL it opens nothing."""
    source, stranger = sample(slug), stage.tenant()
    assert stranger.call("PUT", f"/tenants/{stranger.tenant_id}").status_code == 201
    parts = urlsplit(source.url).path.split("/")
    if len(parts) < 4:
        pytest.skip("one URL for all tenants: the accounts that a proven event names say whose it is")
    path = "/".join([*parts[:3], stranger.tenant_id, *parts[4:]])
    body = forgery(source)
    answer = stage.post(stage.url + path, source.headers(body), body)
    assert answer.status_code in {401, 404}, answer.text
    assert stranger.signals() == stranger.inbox() == []


def test_the_secret_that_zoho_announces_is_kept_once(stage, sample):
    """A second announcement, by whoever, does not replace the first secret; that one goes on proving."""
    source = sample("zoho-mail")
    body = b"{}"
    headers = {"X-Hook-Secret": "mallory", "X-Hook-Signature": mail.sign("mallory", body)}
    refused(stage, source.url, headers, body)
    body = forgery(source)
    refused(stage, source.url, {"X-Hook-Signature": mail.sign("mallory", body)}, body)
    assert stage.post(source.url, source.headers(body), body).status_code == 200


def test_an_administrators_signature(stage):
    """Jira's own webhooks are held to the secret that is configured, and to a day."""
    act, name, core = ACTS["jira"], fresh_name(), stage.tenant()
    core.connect("jira", act.prepare(stage.sandbox, name))
    site, url = jira_site(stage.sandbox, name), f"{stage.url}/webhooks/jira/{core.tenant_id}"
    now = stage.sandbox.clock.now()
    worklog = {
        "self": f"{site.url}/rest/api/2/issue/1/worklog/2",
        "id": "2",
        "issueId": "1",
        "started": now.isoformat(),
    }

    def made(at):
        stamp = int(at.timestamp() * 1000)
        return json.dumps({"timestamp": stamp, "webhookEvent": "worklog_created", "worklog": worklog}).encode()

    def signature(body, secret=JIRA_ADMIN_SECRET):
        return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()

    body = made(now)
    for value in spoilt_proofs(signature(body)):
        refused(stage, url, {} if value is None else {"X-Hub-Signature": value.encode("latin-1")}, body)
    refused(stage, url, {"X-Hub-Signature": signature(body, "another")}, body)
    for hours in (-25, 25):
        body = made(now + timedelta(hours=hours))
        refused(stage, url, {"X-Hub-Signature": signature(body)}, body)
    assert core.inbox() == []
    body = made(now)
    assert stage.post(url, {"X-Hub-Signature": signature(body)}, body).status_code == 202
    assert [one["kind"] for one in core.signals()] == ["work_logged"]


def test_github_app_secret_is_no_webhook_secret(stage, sample):
    """Our OAuth client's secret proves no delivery."""
    source = sample("github")
    body = forgery(source)
    refused(stage, source.url, source.headers(body, secret=GITHUB_APP[1]), body)
