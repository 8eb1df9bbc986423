"""Zoho in the sandbox, with our whole service (in memory) on the other side of real HTTP."""

import http.server
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
import requests

from connectors import Connectors
from connectors.adapters.requests import RequestsProviderApi, Transport
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import (
    AuthorizationDeniedError,
    ClientRejectedError,
    DeliveryRejectedError,
    ForbiddenHostError,
    RateLimitedError,
    ReauthorizationRequiredError,
)
from connectors.domain.model.ids import ConnectionId, ProviderSlug, TenantId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.webhook import WebhookRequest
from connectors.domain.providers.registry import ProviderRegistry
from connectors.domain.providers.zoho_cliq import ZOHO_CLIQ
from connectors.domain.providers.zoho_mail import ZOHO_MAIL
from connectors_sandbox import Fault, SandboxClock, SandboxServer, create_sandbox
from connectors_sandbox.zoho.mail import WebhookNotSavedError

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TENANT = TenantId(UUID(int=7))
CALLBACK = "http://127.0.0.1:9/callback"
EVA, TOM = "eva@zylker.eu", "tom@zylker.com"
CLIQ_SECRET = "sent-by-the-script"


class Door:
    """A loopback server that hands webhooks to the service, and answers what the service answers."""

    def __init__(self):
        self.service = None
        self.answers = []
        door = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = door.take(self.path, dict(self.headers), body)
                door.answers.append((status, answer))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, connection):
        own = self.service.connectors.webhook_secrets.url(connection.tenant_id, connection.id)
        return f"http://127.0.0.1:{self.server.server_port}{urlsplit(own).path}"

    def take(self, path, headers, body):
        _, _, slug, tenant, connection, key = path.split("/")
        request = WebhookRequest(
            provider=ProviderSlug(slug),
            tenant_id=TenantId(UUID(tenant)),
            connection_id=ConnectionId(UUID(connection)),
            url_key=key,
            headers=headers,
            body=body,
            received_at=self.service.clock.now(),
        )
        try:
            acceptance = self.service.connectors.ingest.accept_delivery(request)
        except DeliveryRejectedError:
            return 401, b"{}"
        if acceptance.reply is not None:
            return acceptance.reply.status, acceptance.reply.body
        return acceptance.success_status, b'{"status":"accepted"}'


class Service:
    """Our service, with the sandbox's clock."""

    def __init__(self, server, **options):
        self.sandbox = server.sandbox
        self.clock = self
        self.transport = Transport()
        apps = {
            provider.slug: ProviderApp(
                provider=provider.slug,
                client_id="1000.CID",
                client_secret=Secret("shh"),
                webhook_secrets=(Secret(CLIQ_SECRET),),
                base_url=server.base_url("zoho"),
                options=provider.read_options({name: options[name] for name in provider.options if options.get(name)}),
            )
            for provider in (ZOHO_MAIL, ZOHO_CLIQ)
        }
        self.connectors = Connectors.in_memory(
            respond=RequestsProviderApi(self.transport).send,
            registry=ProviderRegistry([ZOHO_MAIL, ZOHO_CLIQ]),
            apps=apps,
            clock=self,
            redirect_uri=CALLBACK,
        )

    def now(self):
        return self.sandbox.clock.now()

    def sleep(self, pause):
        self.sandbox.clock.advance(pause)

    def consent(self, slug, who, **extra):
        """The redirect's query."""
        url = self.connectors.connect.start_authorization(TENANT, slug).authorize_url
        with requests.Session() as browser:
            browser.trust_env = False
            params = {"sandbox_user": who, **extra}
            answer = browser.get(url, params=params, allow_redirects=False, timeout=10)
        assert answer.status_code == 302, answer.text
        query = urlsplit(answer.headers["Location"]).query
        assert query.endswith("&")
        return {name: values[0] for name, values in parse_qs(query).items()}

    def connect(self, slug, who):
        (connection,) = self.connectors.connect.complete_authorization(slug, self.consent(slug, who))
        return connection

    def sync(self, connection, job_type=JobType.INCREMENTAL, **more):
        """The job of a read, run to its end; limits are waited out."""
        job = self.connectors.jobs.request(TENANT, connection.id, job_type, **more)
        while (job := self.connectors.sync.run(TENANT, job.id)).retry_after is not None:
            assert job.streams.aside == 0, job.error
            self.sandbox.clock.advance(max(job.retry_after - self.now(), timedelta(seconds=1)))
        assert job.status is JobStatus.SUCCEEDED, job.error
        return job

    def backfill(self, connection):
        return self.sync(connection, JobType.BACKFILL, since=self.now() - timedelta(days=30))

    def signals(self):
        found, cursor = {}, None
        while True:
            page = self.connectors.queries.list_signals(TENANT, limit=100, cursor=cursor, with_payload=True)
            found |= {one.dedupe_key: one for one in page.items}
            cursor = page.next_cursor
            if cursor is None:
                return found

    def deliveries(self):
        return self.connectors.queries.list_deliveries(TENANT, limit=100).items

    def connection(self, connection):
        return self.connectors.queries.get_connection(TENANT, connection.id)


@pytest.fixture
def server():
    sandbox = create_sandbox(SandboxClock(NOW), auto_consent=True)
    sandbox.zoho.add_client("1000.CID", "shh", redirect_uris=[CALLBACK])
    sandbox.zoho.add_user(EVA, name="Eva Keeper", location="eu")
    sandbox.zoho.add_user(TOM, name="Tom Fisher")
    with SandboxServer(sandbox) as server:
        yield server


@pytest.fixture
def service(server):
    service = Service(server)
    yield service
    service.transport.close()


@pytest.fixture
def door(service):
    door = Door()
    door.service = service
    yield door
    door.server.shutdown()
    door.server.server_close()


def later(server, **span):
    server.sandbox.clock.advance(timedelta(**(span or {"minutes": 1})))


# --- accounts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("who", "location"), [(EVA, "eu"), (TOM, "us")])
def test_everybody_is_connected_in_their_own_data_centre(server, service, who, location):
    """Consent begins at home in `us`; the code, the tokens and the API are the user's own."""
    connection = service.connect("zoho-mail", who)
    mailbox = server.sandbox.zoho.mailboxes[who]
    assert connection.account.id == str(mailbox.account_id)
    assert connection.account.metadata["location"] == location
    paths = [one.path for one in server.sandbox.core.requests_to("zoho")]
    assert paths[0] == "/us/accounts/oauth/v2/auth"
    assert all(path.startswith(f"/{location}/") for path in paths[1:])


def test_a_redirect_to_another_server_gets_no_secret(server, service):
    """The state is spent, and nothing was sent anywhere."""
    query = service.consent("zoho-mail", EVA)
    before = len(server.sandbox.core.requests)
    evil = query["accounts-server"].replace("/eu/", "/us/")
    with pytest.raises(ForbiddenHostError):
        service.connectors.connect.complete_authorization("zoho-mail", {**query, "accounts-server": evil})
    assert len(server.sandbox.core.requests) == before


def test_a_code_at_the_wrong_data_centre(service):
    """`invalid_client` under 200 is an error of the client."""
    query = service.consent("zoho-mail", EVA)
    there = query["accounts-server"].replace("/eu/", "/us/")
    with pytest.raises(ClientRejectedError):
        service.connectors.connect.complete_authorization(
            "zoho-mail", {**query, "accounts-server": there, "location": "us"}
        )


def test_a_client_without_multi_dc(server, service):
    """Users of other data centres cannot be connected, and the operator is told why."""
    server.sandbox.zoho.add_client("1000.CID", "shh", data_centres=["us"])
    with pytest.raises(ClientRejectedError):
        service.connect("zoho-mail", EVA)


def test_a_slow_exchange(server, service):
    """Codes die after a minute."""
    query = service.consent("zoho-mail", EVA)
    later(server, seconds=61)
    with pytest.raises(ReauthorizationRequiredError):
        service.connectors.connect.complete_authorization("zoho-mail", query)


def test_the_user_says_no(service):
    """A denial is told as one."""
    with pytest.raises(AuthorizationDeniedError):
        service.connectors.connect.complete_authorization("zoho-mail", service.consent("zoho-mail", EVA, deny="1"))


def test_tokens_are_refreshed_for_months(server, service):
    """The refresh token and the data centre survive every refresh."""
    connection = service.connect("zoho-mail", EVA)
    for _ in range(5):
        later(server, days=20)
        service.sync(connection)
    assert service.connection(connection).status is ConnectionStatus.ACTIVE


def test_a_throttled_refresh_is_no_dead_grant(server, service):
    """ "Access Denied" says when to come again, and the connection stays active."""
    connection = service.connect("zoho-mail", EVA)
    for _ in range(9):
        service.connectors.connect.refresh(TENANT, connection.id)
    with pytest.raises(RateLimitedError) as caught:
        service.connectors.connect.refresh(TENANT, connection.id)
    assert caught.value.retry_at == service.now() + timedelta(minutes=10)
    assert service.connection(connection).status is ConnectionStatus.ACTIVE
    later(server, minutes=10)
    service.connectors.connect.refresh(TENANT, connection.id)


def test_a_token_that_dies_early_is_refreshed_once_the_throttle_ends(server, service):
    """A 401 leads to one refresh; while Zoho refuses to issue tokens, the connection waits and stays active."""
    connection = service.connect("zoho-mail", EVA)
    world = server.sandbox.zoho
    world.throttle_tokens(EVA)
    assert world.end_access_tokens(EVA) == 1
    world.receive_mail(EVA, "Lamp")
    later(server)
    service.backfill(connection)
    assert service.now() - NOW >= timedelta(minutes=10)
    assert len(service.signals()) == 1
    assert service.connection(connection).status is ConnectionStatus.ACTIVE


def test_the_twenty_first_consent_evicts_the_first(server, service):
    """Nobody is told; the next refresh finds out, and the user has to connect again."""
    world = server.sandbox.zoho
    connection = service.connect("zoho-mail", EVA)
    first = world.auth.grants[0].refresh
    for _ in range(20):
        world.consent_elsewhere("1000.CID", EVA)
    assert first not in [grant.refresh for grant in world.auth.grants]
    with pytest.raises(ReauthorizationRequiredError):
        service.connectors.connect.refresh(TENANT, connection.id)
    assert service.connection(connection).status is ConnectionStatus.REAUTHORIZATION_REQUIRED


def test_disconnecting_revokes(server, service):
    """The grant is gone at Zoho, and no token was ever in a URL."""
    connection = service.connect("zoho-mail", EVA)
    grant = server.sandbox.zoho.auth.grants[0]
    ended = service.connectors.disconnect.end_connection(TENANT, connection.id)
    assert (ended.status, ended.last_error) == (ConnectionStatus.REVOKED, None)
    assert server.sandbox.zoho.auth.grants == []
    assert all(grant.refresh not in one.query for one in server.sandbox.core.requests)


def test_the_other_data_centre_refuses_the_token(server, service):
    """401 in the product's own shape; without a header, Cliq answers a blank page."""
    service.connect("zoho-cliq", EVA)
    (token,) = server.sandbox.zoho.auth.grants[0].access
    base = server.base_url("zoho")
    with requests.Session() as plain:
        plain.trust_env = False
        mail = plain.get(f"{base}/us/mail/api/accounts", headers={"Authorization": f"Zoho-oauthtoken {token}"})
        cliq = plain.get(f"{base}/us/cliq/api/v2/channels", headers={"Authorization": f"Zoho-oauthtoken {token}"})
        blank = plain.get(f"{base}/eu/cliq/api/v2/channels")
    assert (mail.status_code, mail.json()["data"]["errorCode"]) == (401, "INVALID_OAUTHTOKEN")
    assert (cliq.status_code, cliq.json()["code"]) == (401, "oauthtoken_invalid")
    assert (blank.status_code, blank.text) == (401, "")


# --- mail --------------------------------------------------------------------------------------------------------------


def test_mail_by_push_and_by_polling(server, service, door):
    """After the handshake every mail is told once, whoever saw it first, and however often."""
    world = server.sandbox.zoho
    connection = service.connect("zoho-mail", EVA)
    world.save_mail_webhook(EVA, door.url(connection), is_signed=True)
    service.backfill(connection)
    server.sandbox.deliveries.disorder.duplicate = 1.0
    for number in range(3):
        later(server)
        world.mail_webhooks.has_id_string = number != 1
        world.receive_mail(EVA, f"Lamp & <{number}>")
    world.receive_mail(EVA, "Buy now", folder="Spam")
    sent = world.send_mail(EVA, "Out it goes")
    world.send_task(EVA, "Change the bulb")
    server.sandbox.deliver_pending()
    assert {status for status, _ in door.answers} == {200}
    pushed = service.signals()
    assert {one.title for one in pushed.values()} == {f"Lamp & <{n}>" for n in range(3)}
    later(server)
    service.sync(connection)
    service.sync(connection)
    both = service.signals()
    account = connection.account.id
    assert set(both) == set(pushed) | {f"zmail:{account}:{sent.id}"}
    assert {one.kind.value for one in both.values()} == {"email_received", "email_sent"}
    assert {key: one.occurred_at for key, one in both.items()}.items() >= {
        (key, one.occurred_at) for key, one in pushed.items()
    }
    assert [one.event for one in service.deliveries()].count("task") == 1


def test_the_secret_is_taken_once(server, service, door):
    """A second announcement, and deliveries signed with its secret, are refused; Zoho's own go on."""
    world = server.sandbox.zoho
    connection = service.connect("zoho-mail", EVA)
    world.save_mail_webhook(EVA, door.url(connection))
    assert door.take(urlsplit(door.url(connection)).path, {"X-Hook-Secret": "attackers"}, b"{}")[0] == 401
    with pytest.raises(WebhookNotSavedError):
        world.save_mail_webhook(EVA, door.url(connection))
    # A new URL is announced with the old secret: signed with it, the announcement proves itself.
    world.save_mail_webhook(EVA, door.url(connection), is_signed=True)
    world.receive_mail(EVA, "Still here")
    (sent,) = server.sandbox.deliver_pending()
    assert sent.last_attempt.status == 200
    assert [one.title for one in service.signals().values()] == ["Still here"]


def test_without_a_secret_nothing_is_taken(service, door):
    """A signed delivery before any announcement is refused."""
    connection = service.connect("zoho-mail", EVA)
    path = urlsplit(door.url(connection)).path
    assert door.take(path, {"X-Hook-Signature": "AAAA"}, b"{}")[0] == 401
    assert door.take(path, {}, b"{}")[0] == 401


@pytest.mark.parametrize("status", [429, 400])
def test_polling_through_moving_pages_and_locks(server, service, status):
    """700 messages, one more between any two pages, and a lock in the middle: all are told."""
    world = server.sandbox.zoho
    world.throttle_status = status
    for number in range(700):
        later(server, seconds=10)
        world.receive_mail(EVA, f"Mail {number}")
    later(server)
    connection = service.connect("zoho-mail", EVA)
    for _ in range(26):
        world.mail_limiter.admits(EVA)
    world.receive_between_pages(EVA, 3)
    job = service.backfill(connection)
    service.sync(connection)
    assert job.progress.signals >= 700
    titles = {one.title for one in service.signals().values()}
    assert titles == {f"Mail {number}" for number in range(700)} | {f"Meanwhile {number}" for number in range(3)}
    assert service.now() - NOW > timedelta(seconds=7000 + 15 * 60)


def test_mail_of_a_deleted_folder_is_in_the_trash(server, service):
    """Neither the reader nor the webhook reports it; restored, its mail is read with its own date."""
    world = server.sandbox.zoho
    world.add_folder(EVA, "Parts")
    at = NOW - timedelta(days=3)
    world.import_mail(EVA, "Lamp", time=round(at.timestamp() * 1000), folder="Parts")
    world.delete_folder(EVA, "Parts")
    later(server)
    connection = service.connect("zoho-mail", EVA)
    service.backfill(connection)
    assert service.signals() == {}
    world.restore_folder(EVA, "Parts")
    later(server)
    service.sync(connection)
    (signal,) = service.signals().values()
    assert (signal.title, signal.occurred_at, signal.container.name) == ("Lamp", at, "Parts")


def test_a_webhook_that_was_removed_sends_nothing(server, service, door):
    """Made again, it announces another secret, which is refused."""
    world = server.sandbox.zoho
    connection = service.connect("zoho-mail", EVA)
    world.save_mail_webhook(EVA, door.url(connection))
    world.remove_mail_webhook(EVA)
    world.receive_mail(EVA, "Lamp")
    assert server.sandbox.deliver_pending() == []
    with pytest.raises(WebhookNotSavedError):
        world.save_mail_webhook(EVA, door.url(connection))


def test_a_search_writes_the_same_mail_in_another_way(server, service):
    """Numeric ids and other spellings: the parser of rows reads both."""
    from connectors.domain.providers.zoho_mail.payloads import read_row

    world = server.sandbox.zoho
    mail = world.receive_mail(EVA, "Lamp & fuse")
    connection = service.connect("zoho-mail", EVA)
    (token,) = world.auth.grants[0].access
    base = f"{server.base_url('zoho')}/eu/mail/api/accounts/{connection.account.id}/messages"
    with requests.Session() as plain:
        plain.trust_env = False
        plain.headers["Authorization"] = f"Zoho-oauthtoken {token}"
        (found,) = plain.get(f"{base}/search", params={"searchKey": "newMails", "receivedTime": "1"}).json()["data"]
        (listed,) = plain.get(f"{base}/view", params={"folderId": mail.folder_id, "limit": "5"}).json()["data"]
    assert found["messageId"] == mail.id
    assert listed["messageId"] == str(mail.id)
    assert listed["sentDateInGMT"] != listed["receivedTime"]
    assert read_row(found) == read_row(listed)


# --- cliq --------------------------------------------------------------------------------------------------------------


def busy_channel(server, bot):
    world = server.sandbox.zoho
    chat = world.add_channel("Engineering", [EVA], location="eu")
    world.add_channel("Foreign", [TOM])
    if bot is not None:
        world.add_bot_to_channel(bot.id, chat.id, by=EVA)
    posted = []
    for number in range(6):
        later(server)
        posted.append(world.post_message(chat.id, f"Message {number}", by=EVA))
    posted.append(world.post_message(chat.id, "The plan", by=EVA, type="file", file_name="plan.pdf"))
    world.post_message(chat.id, "Eva joined", by=EVA, type="info")
    later(server)
    world.edit_message(chat.id, posted[0].id, "Message zero")
    world.delete_message(chat.id, posted[1].id)
    world.run_operation(chat.id, "thread_closed", by=EVA, data={"thread_chat_id": "CT_9"})
    world.run_operation(chat.id, "painted_blue", by=EVA)
    later(server)
    return chat, posted


@pytest.mark.parametrize("kind", ["webhook", "deluge"])
def test_cliq_by_push_and_by_polling(server, kind):
    """Both kinds of bots and reading agree; edits and deletions come by push only; nothing is ever posted back."""
    world = server.sandbox.zoho
    door = Door()
    bot = world.add_bot("Signals", "unset", kind=kind, secret=CLIQ_SECRET, location="eu")
    service = Service(server, public_key=bot.public_key)
    door.service = service
    try:
        connection = service.connect("zoho-cliq", EVA)
        bot.url = door.url(connection)
        chat, posted = busy_channel(server, bot)
        server.sandbox.deliver_pending()
        assert set(door.answers) == {(200, b"{}")}
        root = f"cliq:eu:{chat.id}"
        messages = {f"{root}:{one.id}" for one in posted}
        pushed = service.signals()
        changes = [key for key in pushed if key.endswith(":deleted") or ":edited:" in key]
        assert {key for key in pushed if pushed[key].kind.value == "message_posted"} == messages
        assert (len(changes), sum(one.kind.value == "thread_closed" for one in pushed.values())) == (2, 1)
        service.backfill(connection)
        service.sync(connection)
        assert set(service.signals()) == set(pushed)
        assert service.connection(connection).metadata["bot_chats"] == [chat.id]
    finally:
        service.transport.close()
        door.server.shutdown()
        door.server.server_close()


def test_a_bot_without_message_ids(server, service, door):
    """A push without an id becomes a read of that chat, where it can be read."""
    world = server.sandbox.zoho
    connection = service.connect("zoho-cliq", EVA)
    chat, _ = busy_channel(server, None)
    service.backfill(connection)
    before = set(service.signals())
    bot = world.add_bot(
        "Signals", door.url(connection), kind="deluge", secret=CLIQ_SECRET, location="eu", has_message_ids=False
    )
    bot.chats.add(chat.id)
    later(server, minutes=30)
    message = world.mention_bot(bot.id, chat.id, "@signals look", by=EVA)
    server.sandbox.deliver_pending()
    assert set(service.signals()) == before
    later(server)
    service.sync(connection, JobType.WEBHOOK, target=f"chat:{chat.id}")
    assert set(service.signals()) - before == {f"cliq:eu:{chat.id}:{message.id}"}
    direct = world.message_bot(bot.id, "Just us", by=EVA)
    server.sandbox.deliver_pending()
    (told,) = [one for one in service.signals().values() if one.title == "Just us"]
    assert told.payload["derived"] == {"low_confidence": True}
    assert str(direct.time) in told.dedupe_key


def test_a_forged_call_is_refused(server, service, door):
    """A bot of somebody else, or a script with another secret, is not believed."""
    world = server.sandbox.zoho
    connection = service.connect("zoho-cliq", EVA)
    chat = world.add_channel("Engineering", [EVA], location="eu")
    for kind in ("webhook", "deluge"):
        bot = world.add_bot("Evil", door.url(connection), kind=kind, secret="guess", location="eu")
        world.add_bot_to_channel(bot.id, chat.id, by=EVA)
    server.sandbox.deliver_pending()
    assert [status for status, _ in door.answers] == [401, 401]
    assert service.signals() == {}


def test_channels_are_listed_by_status_and_by_short_pages(server, service):
    """Archived channels are listed as such and read; Cliq may put fewer on a page than asked for."""
    world = server.sandbox.zoho
    chats = [world.add_channel(f"Channel {number}", [TOM], location="eu") for number in range(5)]
    for chat in chats:
        world.post_message(chat.id, f"In {chat.name}", by="another")
        world.join_channel(chat.id, EVA)
    world.archive_channel(chats[4].id)
    server.sandbox.core.page_caps["zoho"] = 2
    later(server)
    connection = service.connect("zoho-cliq", EVA)
    service.backfill(connection)
    assert {one.title for one in service.signals().values()} == {f"In Channel {number}" for number in range(5)}
    (token,) = world.auth.grants[0].access
    with requests.Session() as plain:
        plain.trust_env = False
        plain.headers["Authorization"] = f"Zoho-oauthtoken {token}"
        url = f"{server.base_url('zoho')}/eu/cliq/api/v2/channels"
        listed = plain.get(url, params={"status": "archived"}).json()["channels"]
        world.unarchive_channel(chats[4].id)
        after = plain.get(url, params={"status": "archived"}).json()["channels"]
    assert [(one["chat_id"], one["status"]) for one in listed] == [(chats[4].id, "archived")]
    assert after == []


def test_a_deleted_bot_hears_nothing(server, service, door):
    """Nobody is told, and messages are found by reading only."""
    world = server.sandbox.zoho
    connection = service.connect("zoho-cliq", EVA)
    bot = world.add_bot("Signals", door.url(connection), kind="deluge", secret=CLIQ_SECRET, location="eu")
    chat = world.add_channel("Engineering", [EVA], location="eu")
    world.add_bot_to_channel(bot.id, chat.id, by=EVA)
    server.sandbox.deliver_pending()
    world.delete_bot(bot.id)
    world.post_message(chat.id, "Is it in?", by=EVA)
    assert server.sandbox.deliver_pending() == []


def add_busy_channel(service, world):
    """2,500 messages of the last fifty minutes: more than a minute's reads can tell."""
    chat = world.add_channel("Busy", [EVA], location="eu")
    for number in range(2500):
        at = round(service.now().timestamp() * 1000) - 3_000_000 + number * 1000
        world.post_message(chat.id, f"Message {number}", by="another", time=at)


@pytest.mark.parametrize(("status", "newest_first"), [(429, True), (400, False)])
def test_reading_waits_every_lock_out(server, service, status, newest_first):
    """Where somebody else has used up the user's 15 reads a minute, the sync waits ten minutes and then has them all."""
    world = server.sandbox.zoho
    world.throttle_status, world.newest_first = status, newest_first
    connection = service.connect("zoho-cliq", EVA)
    add_busy_channel(service, world)
    for _ in range(14):
        world.message_limiter.admits(EVA)
    job = service.backfill(connection)
    assert job.progress.signals == 2500
    assert service.now() - NOW >= timedelta(minutes=10)


@pytest.mark.parametrize(("slug", "minutes"), [("zoho-cliq", 10), ("zoho-mail", 15)])
def test_a_user_is_locked_out_for_what_they_did_elsewhere(server, service, slug, minutes):
    """A read waits until the lock ends, and no longer than a minute more."""
    world = server.sandbox.zoho
    chat = world.add_channel("Engineering", [EVA], location="eu")
    world.post_message(chat.id, "Lamp", by="another")
    world.receive_mail(EVA, "Lamp")
    later(server)
    connection = service.connect(slug, EVA)
    world.lock_out(EVA)
    began = service.now()
    service.backfill(connection)
    assert {one.title for one in service.signals().values()} == {"Lamp"}
    assert timedelta(minutes=minutes) <= service.now() - began < timedelta(minutes=minutes + 1)


def test_reading_is_never_locked_out(server, service):
    """By itself a sync keeps to the 15 reads a minute: nothing is refused, and minutes do what took ten each."""
    connection = service.connect("zoho-cliq", EVA)
    add_busy_channel(service, server.sandbox.zoho)
    assert service.backfill(connection).progress.signals == 2500
    assert {one.status for one in server.sandbox.core.requests_to("zoho", "/eu/cliq/")} == {200}
    assert service.now() - NOW < timedelta(minutes=5)


def test_more_than_a_page_in_one_millisecond(server, service):
    """What the API cannot show does not stop the sync."""
    world = server.sandbox.zoho
    connection = service.connect("zoho-cliq", EVA)
    chat = world.add_channel("Busy", [EVA], location="eu")
    at = round(NOW.timestamp() * 1000) - 60_000
    for _ in range(130):
        world.post_message(chat.id, "at once", by="another", time=at)
    after = world.post_message(chat.id, "after", by="another", time=at + 1)
    later(server)
    service.backfill(connection)
    assert f"cliq:eu:{chat.id}:{after.id}" in service.signals()


def test_faults_of_the_network(server, service):
    """A gateway's page and a truncated answer cost a retry or the page, never the connection."""
    connection = service.connect("zoho-mail", EVA)
    server.sandbox.zoho.receive_mail(EVA, "Lamp")
    later(server)
    server.sandbox.faults.add(Fault(provider="zoho", path="/eu/mail/*", status=502, html=True, times=2))
    service.backfill(connection)
    assert len(service.signals()) == 1
    assert service.connection(connection).status is ConnectionStatus.ACTIVE


def test_the_control_pages_know_zoho(server):
    """Another process can do what a test does."""
    with requests.Session() as plain:
        plain.trust_env = False
        url = f"{server.url}/_sandbox/zoho/receive_mail"
        answer = plain.post(url, json={"email": EVA, "subject": "By hand"})
        state = plain.get(f"{server.url}/_sandbox/state").json()
    assert answer.json()["result"]["subject"] == "By hand"
    assert {one["email"]: one["mails"] for one in state["providers"]["zoho"]["mailboxes"]} == {EVA: 1, TOM: 0}
