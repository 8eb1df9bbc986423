"""The sandbox's Slack behaves as the provider's documentation says, over real HTTP on loopback."""

import http.server
import json
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from connectors_sandbox import Sandbox, SandboxClock, SandboxServer, create_sandbox

slack_sdk = pytest.importorskip("slack_sdk", reason="needs slack_sdk, a test dependency")
from slack_sdk.errors import SlackApiError  # noqa: E402
from slack_sdk.signature import Clock, SignatureVerifier  # noqa: E402

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CALLBACK = "http://127.0.0.1:9/callback"
BOT = "channels:history,channels:read,groups:history,groups:read,reactions:read,users:read,team:read,channels:join"
SIGNING_SECRET = "sign-me"


class Receiver:
    """Takes events and keeps them; answers challenges unless told otherwise."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.status, self.headers, self.answers_challenge = 200, {}, True
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(({k.lower(): v for k, v in self.headers.items()}, body))
                challenge = json.loads(body).get("challenge") if receiver.answers_challenge else None
                answer = (challenge or "").encode()
                self.send_response(receiver.status)
                for name, value in {**receiver.headers, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/slack"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def envelopes(self) -> list[dict]:
        return [json.loads(body) for _, body in self.received]

    def types(self) -> list[str]:
        return [one["event"]["type"] if "event" in one else one["type"] for one in self.envelopes()]

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def sandbox(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    sandbox = create_sandbox(SandboxClock(NOW), auto_consent=True)
    world = sandbox.slack
    world.add_app("cid", "shh", redirect_urls=[CALLBACK], signing_secret=SIGNING_SECRET, app_id="A1")
    world.add_team("acme", name="Acme", team_id="T1")
    world.add_user("acme", "ada", user_id="U1")
    world.add_user("acme", "bob", user_id="U2")
    world.add_channel("acme", "general", by="ada", channel_id="C1")
    return sandbox


@pytest.fixture
def server(sandbox):
    with SandboxServer(sandbox) as server:
        yield server


def authorize(server: SandboxServer, **query: str) -> dict[str, str]:
    """The callback's query."""
    asked = {"client_id": "cid", "scope": BOT, "redirect_uri": CALLBACK, "state": "s t", **query}
    with requests.Session() as http_client:
        http_client.trust_env = False
        answer = http_client.get(
            f"{server.base_url('slack')}/oauth/v2/authorize?{urlencode(asked)}", allow_redirects=False, timeout=10
        )
    if answer.status_code != 302:
        return {"refused": answer.text}
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def sdk(server: SandboxServer, token: str | None = None) -> "slack_sdk.WebClient":
    """Slack's own client."""
    return slack_sdk.WebClient(token=token, base_url=f"{server.base_url('slack')}/api/")


def exchange(server: SandboxServer, code: str, **changes: str):
    fields = {"client_id": "cid", "client_secret": "shh", "code": code, "redirect_uri": CALLBACK, **changes}
    return sdk(server).oauth_v2_access(**fields)


def install(server: SandboxServer, **query: str):
    return exchange(server, authorize(server, **query)["code"])


def error_of(call, *args, **kwargs) -> str:
    with pytest.raises(SlackApiError) as caught:
        call(*args, **kwargs)
    assert caught.value.response.status_code == 200
    return caught.value.response["error"]


@pytest.fixture
def bot(sandbox: Sandbox, server: SandboxServer):
    """Slack's own client with the bot's token, the bot being in #general."""
    client = sdk(server, install(server)["access_token"])
    sandbox.slack.invite_bots("acme", "general", by="ada")
    return client


# OAuth


def test_slacks_own_client_installs_a_bot(server):
    """The documented answer: bot on top, `authed_user` with an id only, nothing that rotates."""
    callback = authorize(server)
    assert callback["state"] == "s t"
    answer = exchange(server, callback["code"]).data
    assert answer["access_token"].startswith("xoxb-")
    assert (answer["app_id"], answer["team"], answer["enterprise"]) == ("A1", {"id": "T1", "name": "Acme"}, None)
    assert (answer["token_type"], answer["scope"], answer["authed_user"]) == ("bot", BOT, {"id": "U1"})
    assert not {"expires_in", "refresh_token"} & set(answer)
    who = sdk(server, answer["access_token"]).auth_test().data
    assert (who["url"], who["team_id"], who["user_id"]) == ("https://acme.slack.com/", "T1", answer["bot_user_id"])


def test_user_tokens_stand_beside_or_instead_of_the_bots(server):
    """With `user_scope` they are in `authed_user`; with nothing else there is no token on top."""
    both = install(server, user_scope="channels:history").data
    assert both["authed_user"]["access_token"].startswith("xoxp-")
    assert both["authed_user"]["token_type"] == "user"
    alone = install(server, scope="", user_scope="channels:read", sandbox_user="T1:U2").data
    assert "access_token" not in alone
    assert alone["authed_user"]["id"] == "U2"


def test_codes_and_clients_are_checked(sandbox, server):
    """Every refusal is a 200 with Slack's own code."""
    code = authorize(server)["code"]
    assert error_of(exchange, server, code, client_id="nobody") == "invalid_client_id"
    assert error_of(exchange, server, code, client_secret="wrong") == "bad_client_secret"
    assert error_of(exchange, server, code, redirect_uri=CALLBACK + "/else") == "bad_redirect_uri"
    assert error_of(exchange, server, "1.2.3") == "invalid_code"
    exchange(server, code)
    assert error_of(exchange, server, code) == "code_already_used"
    late = authorize(server)["code"]
    sandbox.clock.advance(timedelta(minutes=10))
    assert error_of(exchange, server, late) == "invalid_code"


def test_the_redirect_must_be_registered_or_below(server):
    """Another URL, a fragment or a look-alike is refused on the page itself."""
    assert "code" in authorize(server, redirect_uri=CALLBACK + "/slack")
    for wrong in ("http://127.0.0.1:9/other", CALLBACK + "#x", CALLBACK + "er", "http://evil.test/callback"):
        assert "bad_redirect_uri" in authorize(server, redirect_uri=wrong)["refused"]


def test_a_user_may_deny_and_sign_in_scopes_stand_alone(server):
    """`access_denied` comes back; `openid` cannot be combined."""
    assert authorize(server, deny="1") == {"error": "access_denied", "state": "s t"}
    assert authorize(server, scope="openid,channels:read") == {"refused": "invalid_scope"}


def test_team_is_only_a_hint(sandbox, server):
    """A user can end in another workspace than was asked for."""
    sandbox.slack.add_team("beta", team_id="T2")
    sandbox.slack.add_user("beta", "eve", user_id="U9")
    assert install(server, team="T2").data["team"]["id"] == "T2"
    assert install(server, team="T2", sandbox_user="T1:U1").data["team"]["id"] == "T1"


def test_an_organization_wide_install_names_no_team(sandbox, server):
    """`team` is null and `is_enterprise_install` true."""
    sandbox.slack.add_app("wide", "w", redirect_urls=[CALLBACK], organization_wide=True)
    sandbox.slack.add_team("grid", team_id="T3", enterprise="Big Org")
    sandbox.slack.add_user("grid", "kim", user_id="U7")
    callback = authorize(server, client_id="wide", sandbox_user="T3:U7")
    answer = exchange(server, callback["code"], client_id="wide", client_secret="w").data
    assert (answer["team"], answer["is_enterprise_install"], answer["enterprise"]["name"]) == (None, True, "Big Org")


def refresh(server, token, **changes):
    fields = {"client_id": "rot", "client_secret": "r", "grant_type": "refresh_token", "refresh_token": token}
    return sdk(server).oauth_v2_access(**{**fields, **changes})


def test_rotation(sandbox, server):
    """12 hours, a new refresh token each time, a grace for the used one and then the end, two live access tokens, pairs
    apart."""
    sandbox.slack.add_app("rot", "r", redirect_urls=[CALLBACK], rotating=True)
    callback = authorize(server, client_id="rot", user_scope="channels:read")
    first = exchange(server, callback["code"], client_id="rot", client_secret="r").data
    assert (first["expires_in"], first["access_token"][:12]) == (43200, "xoxe.xoxb-1-")
    assert first["authed_user"]["access_token"].startswith("xoxe.xoxp-1-")
    second = refresh(server, first["refresh_token"]).data
    assert (second["token_type"], second["refresh_token"] != first["refresh_token"]) == ("bot", True)
    user = refresh(server, first["authed_user"]["refresh_token"]).data
    assert (user["token_type"], user["access_token"][:12]) == ("user", "xoxe.xoxp-1-")
    assert sdk(server, first["access_token"]).auth_test()["ok"]
    refresh(server, second["refresh_token"])
    assert error_of(sdk(server, first["access_token"]).auth_test) == "token_revoked"
    assert sdk(server, second["access_token"]).auth_test()["expires_in"] == 43200
    sandbox.slack.auth.access_lifetime = timedelta(minutes=5)
    assert refresh(server, user["refresh_token"])["expires_in"] == 300
    fourth = refresh(server, second["refresh_token"]).data
    assert sandbox.slack.families.reused == [second["refresh_token"]]
    assert (
        error_of(refresh, server, fourth["refresh_token"], client_id="cid", client_secret="shh")
        == "invalid_refresh_token"
    )
    sandbox.clock.advance(timedelta(minutes=5))
    sandbox.slack.auth.access_lifetime = timedelta(minutes=1)
    fifth = refresh(server, fourth["refresh_token"]).data
    sandbox.clock.advance(timedelta(minutes=1))
    assert error_of(sdk(server, fifth["access_token"]).auth_test) == "token_expired"
    assert error_of(refresh, server, second["refresh_token"]) == "invalid_refresh_token"
    assert error_of(refresh, server, fifth["refresh_token"]) == "invalid_refresh_token"
    assert error_of(sdk(server, fifth["access_token"]).auth_test) == "token_revoked"


def test_auth_revoke_and_what_it_leaves(sandbox, server, bot, receiver):
    """The last token without rotation takes the bot along; with rotation events keep coming."""
    assert sandbox.slack.save_request_url("cid", receiver.url)
    assert bot.auth_revoke(test="true")["revoked"] is False
    assert bot.auth_revoke()["revoked"] is True
    assert error_of(bot.auth_test) == "token_revoked"
    sandbox.deliver_pending()
    assert receiver.types()[1:] == ["app_uninstalled", "tokens_revoked"]


def test_apps_uninstall_ends_every_token_and_tells_in_either_order(sandbox, server, bot, receiver):
    """Client id and secret are wanted beside the token."""
    sandbox.slack.save_request_url("cid", receiver.url)
    sandbox.slack.sends_uninstall_first = False
    assert error_of(bot.apps_uninstall, client_id="cid", client_secret="no") == "bad_client_secret"
    assert bot.apps_uninstall(client_id="cid", client_secret="shh")["ok"]
    sandbox.deliver_pending()
    assert receiver.types()[1:] == ["tokens_revoked", "app_uninstalled"]
    assert error_of(bot.auth_test) == "token_revoked"


# Web API


def test_history_is_newest_first_and_oldest_is_exclusive(sandbox, bot):
    """Replies stand only in conversations.replies, which repeats the parent; broadcasts in both."""
    world = sandbox.slack
    parent = world.post("acme", "general", "question", by="ada")
    plain = world.post("acme", "general", "plain", by="bob")
    reply = world.post("acme", "general", "answer", by="bob", thread=parent)
    loud = world.post("acme", "general", "for all", by="bob", thread=parent, broadcast=True)
    history = bot.conversations_history(channel="C1").data
    assert [one["ts"] for one in history["messages"]] == [loud, plain, parent]
    assert history["messages"][-1] | {"reply_count": 2, "latest_reply": loud} == history["messages"][-1]
    assert "channel" not in history["messages"][0]
    assert [one["ts"] for one in bot.conversations_history(channel="C1", oldest=parent)["messages"]] == [loud, plain]
    assert bot.conversations_history(channel="C1", oldest=parent, inclusive=True)["messages"][-1]["ts"] == parent
    replies = [page["messages"] for page in bot.conversations_replies(channel="C1", ts=parent, limit=1)]
    assert [[one["ts"] for one in page] for page in replies] == [[parent, reply], [parent, loud]]


def test_slacks_own_client_pages_through_short_and_empty_pages(sandbox, bot):
    """A page may be shorter than its limit, or empty, and still have a cursor."""
    sandbox.slack.populate("acme", "general", messages=45, by="ada")
    sandbox.slack.gives_short_pages = True
    pages = [page["messages"] for page in bot.conversations_history(channel="C1", limit=20)]
    assert [len(page) for page in pages] == [0, 10, 10, 10, 10, 5]
    channels = [one["id"] for page in bot.conversations_list(limit=1) for one in page["channels"]]
    assert channels == ["C1"]


def test_a_page_may_be_shorter_than_what_was_asked_for(sandbox, bot):
    """However many were asked for, in every list, and nothing is left out."""
    sandbox.slack.populate("acme", "general", messages=5, by="ada")
    sandbox.core.page_caps["slack"] = 2
    sizes = [len(page["messages"]) for page in bot.conversations_history(channel="C1", limit=200)]
    assert sizes == [2, 2, 1]
    assert len(bot.users_list(limit=200)["members"]) == 2


def test_an_imported_message_has_the_date_of_its_origin(sandbox, bot):
    """Among the others, replies too; two of one instant have two `ts`; nobody is told."""
    world, at = sandbox.slack, NOW - timedelta(days=3)
    new = world.post("acme", "general", "now", by="ada")
    parent = world.import_message("acme", "general", "then", by="ada", at=at)
    other = world.import_message("acme", "general", "also then", by="ada", at=at)
    late = world.post("acme", "general", "answer", by="ada", thread=parent)
    early = world.import_message("acme", "general", "old answer", by="ada", at=at + timedelta(hours=1), thread=parent)
    shown = bot.conversations_history(channel="C1")["messages"]
    assert [one["ts"] for one in shown] == [new, other, parent]
    assert parent == f"{int(at.timestamp())}.000000"
    assert (shown[-1]["latest_reply"], shown[-1]["reply_count"]) == (late, 2)
    thread = bot.conversations_replies(channel="C1", ts=parent)["messages"]
    assert [one["ts"] for one in thread] == [parent, early, late]
    assert sandbox.deliver_pending() == []


def test_archiving_puts_the_bot_out_until_it_is_invited_again(sandbox, bot):
    """Open again, the channel has its people, and the one who opened it."""
    world = sandbox.slack
    ts = world.post("acme", "general", "hi", by="ada")
    world.archive_channel("acme", "general", by="ada")
    with pytest.raises(SlackApiError, match="not_in_channel"):
        bot.conversations_history(channel="C1")
    world.unarchive_channel("acme", "general", by="bob")
    (channel,) = bot.conversations_list(exclude_archived=True)["channels"]
    assert (channel["is_archived"], channel["is_member"], channel["num_members"]) == (False, False, 2)
    world.invite_bots("acme", "general", by="bob")
    assert [one["ts"] for one in bot.conversations_history(channel="C1")["messages"]] == [ts]


def test_a_channel_may_be_withheld_from_who_is_in_it(sandbox, bot):
    """Neither its history nor its threads are shown meanwhile; the list of channels is."""
    (channel,) = sandbox.slack.team("acme").channels.values()
    ts = sandbox.slack.post("acme", "general", "hi", by="ada")
    channel.refusal = "ekm_access_denied"
    assert error_of(bot.conversations_history, channel="C1") == "ekm_access_denied"
    assert error_of(bot.conversations_replies, channel="C1", ts=ts) == "ekm_access_denied"
    assert bot.conversations_list()["channels"][0]["is_member"] is True
    channel.refusal = None
    assert [one["ts"] for one in bot.conversations_history(channel="C1")["messages"]] == [ts]


def test_refusals_of_the_reading_methods(sandbox, server, bot):
    """Membership, private channels, cursors, scopes and unknown methods."""
    world = sandbox.slack
    world.add_channel("acme", "random", by="ada", channel_id="C2")
    world.add_channel("acme", "secret", by="ada", private=True, channel_id="C3")
    assert error_of(bot.conversations_history, channel="C2") == "not_in_channel"
    assert error_of(bot.conversations_history, channel="C3") == "channel_not_found"
    assert {one["id"]: one["is_member"] for one in bot.conversations_list()["channels"]} == {"C1": True, "C2": False}
    assert bot.conversations_join(channel="C2")["channel"]["is_member"] is True
    assert bot.conversations_join(channel="C2")["warning"] == "already_in_channel"
    world.populate("acme", "general", messages=3, by="ada")
    cursor = bot.conversations_history(channel="C1", limit=1)["response_metadata"]["next_cursor"]
    world.expire_cursors()
    assert error_of(bot.conversations_history, channel="C1", limit=1, cursor=cursor) == "invalid_cursor"
    assert error_of(bot.conversations_history, channel="C1", oldest="soon") == "invalid_ts_oldest"
    assert error_of(bot.api_call, "chat.nonsense") == "unknown_method"
    assert error_of(sdk(server, "xoxb-0").auth_test) == "invalid_auth"
    few = install(server, scope="channels:read", sandbox_user="T1:U1")
    assert few["scope"].startswith("channels:history"), "scopes are additive across installs"


def test_a_missing_scope_is_named(sandbox, server):
    """With what is needed and what is provided."""
    client = sdk(server, install(server, scope="channels:read")["access_token"])
    with pytest.raises(SlackApiError) as caught:
        client.users_list()
    assert (
        caught.value.response.data | {"needed": "users:read", "provided": "channels:read"} == caught.value.response.data
    )


def test_outside_the_marketplace_one_call_a_minute_and_fifteen_items(sandbox, server, bot):
    """429 with Retry-After; other methods are not affected."""
    sandbox.slack.auth.apps["cid"].is_strict = True
    sandbox.slack.populate("acme", "general", messages=40, by="ada")
    assert len(bot.conversations_history(channel="C1", limit=200)["messages"]) == 15
    sandbox.clock.advance(timedelta(seconds=20))
    with pytest.raises(SlackApiError) as caught:
        bot.conversations_history(channel="C1")
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["Retry-After"] == "40"
    assert bot.conversations_list()["ok"]
    sandbox.clock.advance(timedelta(seconds=40))
    assert bot.conversations_history(channel="C1")["ok"]


# Events


class At(Clock):
    """A standing clock for Slack's verifier."""

    def now(self) -> float:
        return NOW.timestamp()


def test_slacks_own_verifier_accepts_what_the_sandbox_signs(sandbox, bot, receiver):
    """And nothing else: one byte more is refused."""
    assert sandbox.slack.save_request_url("cid", receiver.url)
    sandbox.slack.post("acme", "general", "hällo", by="ada")
    sandbox.deliver_pending()
    verifier = SignatureVerifier(SIGNING_SECRET, clock=At())
    assert len(receiver.received) == 2
    for headers, body in receiver.received:
        assert verifier.is_valid_request(body, headers)
        assert not verifier.is_valid_request(body + b" ", headers)


def test_a_request_url_that_does_not_answer_the_challenge_is_not_saved(sandbox, bot, receiver):
    """No events go there then."""
    receiver.answers_challenge = False
    assert not sandbox.slack.save_request_url("cid", receiver.url)
    sandbox.slack.post("acme", "general", "hi", by="ada")
    assert sandbox.deliver_pending() == []


def test_every_kind_of_event_is_told(sandbox, bot, receiver):
    """In the envelope that the documentation shows; messages only of channels that the bot is in."""
    world = sandbox.slack
    world.save_request_url("cid", receiver.url)
    world.add_channel("acme", "elsewhere", by="ada")
    world.post("acme", "elsewhere", "unseen", by="ada")
    ts = world.post("acme", "general", "hi", by="ada")
    world.edit("acme", "general", ts, "hello")
    world.unfurl("acme", "general", ts)
    world.add_reaction("acme", "general", ts, "eyes", by="bob")
    world.remove_reaction("acme", "general", ts, "eyes", by="bob")
    world.join_channel("acme", "general", "bob")
    world.leave_channel("acme", "general", "bob")
    world.rename_channel("acme", "elsewhere", "somewhere")
    world.archive_channel("acme", "somewhere", by="ada")
    world.add_user("acme", "cleo")
    world.delete("acme", "general", ts)
    world.send_rate_limited("cid", "acme")
    sandbox.deliver_pending()
    assert receiver.types()[1:] == [
        "channel_created", "message", "message", "message", "reaction_added", "reaction_removed",
        "member_joined_channel", "member_left_channel", "channel_rename", "channel_archive", "team_join",
        "message", "app_rate_limited",
    ]  # fmt: skip
    messages = [one["event"] for one in receiver.envelopes() if one.get("event", {}).get("type") == "message"]
    assert [one.get("subtype") for one in messages] == [None, "message_changed", "message_changed", "message_deleted"]
    edited, unfurled = messages[1:3]
    assert "edited" not in edited["previous_message"]
    assert edited["message"]["edited"] == unfurled["previous_message"]["edited"] == unfurled["message"]["edited"]
    outer = receiver.envelopes()[2]
    assert (outer["team_id"], outer["api_app_id"], outer["authorizations"][0]["team_id"]) == ("T1", "A1", "T1")


def test_a_failed_delivery_is_retried_three_times_under_its_id(sandbox, bot, receiver):
    """At once, after one and after five minutes, with number and reason."""
    sandbox.slack.save_request_url("cid", receiver.url)
    receiver.status = 500
    sandbox.slack.post("acme", "general", "hi", by="ada")
    for minutes in (0, 1, 5, 60):
        sandbox.clock.advance(timedelta(minutes=minutes))
        sandbox.deliver_pending()
    tries = receiver.received[1:]
    assert [headers.get("x-slack-retry-num") for headers, _ in tries] == [None, "1", "2", "3"]
    assert {headers.get("x-slack-retry-reason") for headers, _ in tries[1:]} == {"http_error"}
    assert len({json.loads(body)["event_id"] for _, body in tries}) == 1
    assert len({headers["x-slack-signature"] for headers, _ in tries}) == 3, "two in one second, then two later"


def test_no_retry_is_honoured_and_too_many_failures_switch_events_off(sandbox, bot, receiver):
    """For all workspaces, until a person switches them on again."""
    world = sandbox.slack
    world.save_request_url("cid", receiver.url)
    receiver.status, receiver.headers = 500, {"x-slack-no-retry": "1"}
    world.events.busy_app_events = 20
    for n in range(25):
        world.post("acme", "general", f"{n}", by="ada")
        sandbox.deliver_pending()
    assert len(receiver.received) == 21
    assert not world.auth.apps["cid"].is_delivery_on
    world.switch_delivery_on("cid")
    world.post("acme", "general", "back", by="ada")
    assert len(sandbox.deliver_pending()) == 1


def test_one_message_may_come_under_several_event_ids(sandbox, bot, receiver):
    """Without any retry header, as has been reported."""
    world = sandbox.slack
    world.save_request_url("cid", receiver.url)
    world.events.copies = 11
    world.post("acme", "general", "hi", by="ada")
    sandbox.deliver_pending()
    messages = receiver.envelopes()[1:]
    assert len({one["event_id"] for one in messages}) == 11
    assert len({one["event"]["ts"] for one in messages}) == 1


def test_a_shared_channels_event_names_the_partners_team_outside(sandbox, bot, receiver):
    """`authorizations` still says whose install sees it."""
    world = sandbox.slack
    world.save_request_url("cid", receiver.url)
    world.add_channel("acme", "with-partner", by="ada", shared=True, with_bots=True)
    world.post("acme", "with-partner", "hello from outside", by="U0PARTNER", partner="T0PARTNER")
    sandbox.deliver_pending()
    outer = receiver.envelopes()[-1]
    assert (outer["team_id"], outer["is_ext_shared_channel"]) == ("T0PARTNER", True)
    assert outer["authorizations"][0]["team_id"] == "T1"


def test_a_user_who_takes_the_token_back_leaves_the_bot(sandbox, server, bot, receiver):
    """`tokens_revoked` with users only."""
    user = sdk(server, install(server, user_scope="channels:read")["authed_user"]["access_token"])
    sandbox.slack.save_request_url("cid", receiver.url)
    sandbox.slack.revoke_user_token("cid", "acme", "ada")
    sandbox.deliver_pending()
    assert receiver.envelopes()[-1]["event"]["tokens"] == {"oauth": ["U1"], "bot": []}
    assert error_of(user.auth_test) == "token_revoked"
    assert bot.auth_test()["ok"]


def test_a_user_who_takes_a_rotating_token_back_takes_its_refresh_token_too(sandbox, server):
    """The bot's pair lives on."""
    sandbox.slack.add_app("rot", "r", redirect_urls=[CALLBACK], rotating=True)
    callback = authorize(server, client_id="rot", user_scope="channels:read")
    both = exchange(server, callback["code"], client_id="rot", client_secret="r").data
    sandbox.slack.revoke_user_token("rot", "acme", "ada")
    assert error_of(refresh, server, both["authed_user"]["refresh_token"]) == "invalid_refresh_token"
    assert refresh(server, both["refresh_token"])["ok"]


def test_the_world_is_shown_and_driven_through_the_control_pages(sandbox, server, bot):
    """The index has no secrets; actions are called by name."""
    with requests.Session() as http_client:
        http_client.trust_env = False
        state = http_client.get(f"{server.url}/_sandbox/state", timeout=10).text
        assert "shh" not in state
        assert SIGNING_SECRET not in state
        body = {"team": "acme", "channel": "general", "text": "from outside", "by": "ada"}
        answer = http_client.post(f"{server.url}/_sandbox/slack/post", json=body, timeout=10)
    assert bot.conversations_history(channel="C1")["messages"][0]["ts"] == answer.json()["result"]
