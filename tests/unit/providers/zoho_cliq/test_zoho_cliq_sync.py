"""Sync runs through chats that behave, for either order in which Cliq might list."""

from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import zoho
from tests.support.zoho import NOW, FakeCliq, backfill, facts, keys, make_app, make_connection, plan, reply

from connectors.domain.model.errors import RateLimitedError
from connectors.domain.model.http import HttpRequest
from connectors.domain.model.limits import LimitScope
from connectors.domain.model.signal import SignalKind
from connectors.domain.providers.zoho_cliq import ZOHO_CLIQ, sync
from connectors.domain.providers.zoho_cliq.payloads import MESSAGE_HANDLERS
from connectors.domain.providers.zoho_cliq.webhooks import MEMBERSHIP, OPERATIONS


def connection(**changes):
    return make_connection("zoho-cliq", **changes)


def sync_run(cliq, plan_, known=None, **more):
    return zoho.sync_run(ZOHO_CLIQ, cliq.answer, plan_, known or connection(), **more)[0]


def drafts(pages):
    return [draft for page in pages for draft in page.signals]


def pushed(cliq, known=None):
    return [zoho.receive(ZOHO_CLIQ, body, known or connection()) for body in cliq.pushed]


def busy(**changes):
    cliq = FakeCliq(**changes)
    for chat_id in ("CT_1", "CT_2", "CT_3"):
        cliq.open(chat_id)
    return cliq


def reads(cliq):
    return [request for request in cliq.requests if "/messages" in request.url]


@pytest.mark.parametrize("newest_first", [True, False])
def test_windows_cover_a_busy_chat(newest_first):
    """Every message of a chat with many pages is read once Cliq's order is known, at one call a page."""
    cliq = busy(newest_first=newest_first)
    for number in range(1000):
        cliq.post("CT_1", seconds=0.001 if number % 7 else 30)
    pages = sync_run(cliq, backfill(cliq.now + timedelta(seconds=1)))
    assert keys(pages) == {f"cliq:eu:CT_1:{one['id']}" for one in cliq.chats["CT_1"]}
    assert len(reads(cliq)) < 16
    assert [page.gap for page in pages if page.gap] == []


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_millisecond_with_more_than_a_page(newest_first):
    """What cannot be had is reported as a gap, and everything around it is read."""
    cliq = busy(newest_first=newest_first)
    before = cliq.post("CT_1")
    for _ in range(130):
        cliq.post("CT_1", seconds=0)
    after = cliq.post("CT_1")
    pages = sync_run(cliq, backfill(cliq.now))
    assert [page.gap for page in pages if page.gap]
    assert keys(pages) >= {f"cliq:eu:CT_1:{before['id']}", f"cliq:eu:CT_1:{after['id']}"}


def test_a_vendor_that_ignores_the_window_is_left_alone():
    """Full pages of other times end the chat with a gap instead of a sync run without end."""
    cliq = busy()
    cliq.post("CT_1")
    other = [{"id": f"{n}_1", "time": n, "type": "text", "content": "x"} for n in range(100)]

    def answer(request):
        return reply({"data": other}) if "/messages" in request.url else cliq.answer(request)

    pages = zoho.sync_run(ZOHO_CLIQ, answer, backfill(cliq.now), connection())[0]
    assert [page.gap for page in pages if page.gap]
    assert keys(pages) == set()


@pytest.mark.parametrize("newest_first", [True, False])
@given(cuts=st.sets(st.integers(0, 240), max_size=30))
@settings(max_examples=10)
def test_messages_that_are_deleted_while_a_chat_is_read_hide_no_other(newest_first, cuts):
    """Windows are of time: what is deleted between two pages, at any edge, moves nothing else."""
    cliq = busy(newest_first=newest_first)
    for _ in range(240):
        cliq.post("CT_1", seconds=0.5)
    stay = {one["id"] for number, one in enumerate(cliq.chats["CT_1"]) if number not in cuts}

    def delete():
        cliq.chats["CT_1"] = [one for one in cliq.chats["CT_1"] if one["id"] in stay]

    cliq.on_read = delete
    pages = sync_run(cliq, backfill(cliq.now))
    assert keys(pages) >= {f"cliq:eu:CT_1:{one}" for one in stay}


@pytest.mark.parametrize("count", [99, 100, 101])
def test_a_chat_with_just_a_page_teaches_nothing_wrong(count):
    """A full page that leaves nothing open says nothing about the order of the next chat's pages."""
    cliq = busy(newest_first=False)
    for number in range(350):
        cliq.post("CT_1", seconds=1)
        if number < count:
            cliq.post("CT_2", seconds=1)
    pages = sync_run(cliq, backfill(cliq.now))
    assert keys(pages) == {f"cliq:eu:{chat}:{one['id']}" for chat in cliq.chats for one in cliq.chats[chat]}


def test_a_channel_that_slips_between_two_pages_of_the_list_is_found():
    """When the user leaves a channel of an earlier page, the list moves up; it is read again."""
    cliq = FakeCliq()
    for number in range(6):
        cliq.open(f"CT_{number}")
        cliq.post(f"CT_{number}")
    listed = []

    def answer(request):
        found = cliq.answer(request)
        if "/channels" in request.url:
            listed.append(1)
            cliq.chats.pop("CT_0", None)
        return found

    pages = zoho.sync_run(ZOHO_CLIQ, answer, backfill(cliq.now), connection())[0]
    assert {one.container.id for one in drafts(pages)} == {f"CT_{number}" for number in range(1, 6)}
    assert len(listed) < 12


@pytest.mark.parametrize("newest_first", [True, False])
def test_more_direct_chats_than_a_page_are_all_read(newest_first, monkeypatch):
    """The list of chats is read in windows, and chats that change meanwhile are found at its top."""
    monkeypatch.setattr(sync, "LIMIT", 4)
    cliq = FakeCliq(cap=4)
    for number in range(18):
        cliq.open(f"DM_{number:02}")
        cliq.post(f"DM_{number:02}", seconds=400)
    at, expected = cliq.now, {f"cliq:eu:{chat}:{posts[0]['id']}" for chat, posts in cliq.chats.items()}
    busy_ones = iter(["DM_01", "DM_14"])

    def answer(request):
        parts = urlsplit(request.url)
        query = dict(parse_qsl(parts.query))
        if parts.path.endswith("/channels"):
            return reply({"channels": []})
        if not parts.path.endswith("/chats"):
            return cliq.answer(request)
        low, high = int(query["modified_after"]), int(query.get("modified_before", 1 << 60))
        rows = [(int(posts[-1]["time"]), chat) for chat, posts in cliq.chats.items()]
        rows = sorted([one for one in rows if low < one[0] < high], reverse=newest_first)[: int(query["limit"])]
        chat = next(busy_ones, None)
        if chat is not None:
            cliq.now += timedelta(minutes=9)
            cliq.post(chat)
        return reply({"chats": [{"chat_id": chat, "last_modified_time": when} for when, chat in rows]})

    app = make_app("zoho-cliq", options={"direct_messages": "true"})
    pages = zoho.sync_run(ZOHO_CLIQ, answer, backfill(at), connection(), app=app)[0]
    assert keys(pages) == expected
    assert [page.gap for page in pages if page.gap] == []


def test_a_chat_that_was_refused_is_read_again_without_changes():
    """After a temporary refusal the next sync run reads the chat from its old mark."""
    cliq = busy()
    message = cliq.post("CT_1")
    cliq.now += timedelta(hours=5)

    def answer(request):
        refused = "CT_1/messages" in request.url
        return reply({"message": "a technical error"}, 400) if refused else cliq.answer(request)

    cursor = zoho.sync_run(ZOHO_CLIQ, answer, backfill(cliq.now), connection())[0][-1].cursor
    cliq.now += timedelta(hours=5)
    assert keys(sync_run(cliq, plan(cliq.now, last_cursor=cursor))) == {f"cliq:eu:CT_1:{message['id']}"}


def test_idle_chats_are_not_read():
    """Only chats that changed since the last sync run cost a call, and an idle chat loses nothing."""
    cliq = busy()
    cliq.post("CT_1")
    cliq.now += timedelta(minutes=10)
    cursor = sync_run(cliq, backfill(cliq.now))[-1].cursor
    cliq.now += timedelta(hours=2)
    cliq.requests.clear()
    new = cliq.post("CT_2")
    pages = sync_run(cliq, plan(cliq.now, last_cursor=cursor))
    assert keys(pages) == {f"cliq:eu:CT_2:{new['id']}"}
    assert len(reads(cliq)) == 1


def test_marks_of_channels_that_were_left_are_forgotten():
    """A cursor has the channels that the user is in; with direct messages no list has all chats, and all stay."""
    cliq = busy()
    cliq.post("CT_1")
    cursor = sync_run(cliq, backfill(cliq.now))[-1].cursor
    cursor = {**cursor, "marks": {**cursor["marks"], "CT_left": 5}}
    assert "CT_left" not in sync_run(cliq, plan(cliq.now, last_cursor=cursor))[-1].cursor["marks"]
    app = make_app("zoho-cliq", options={"direct_messages": "true"})
    assert "CT_left" in sync_run(cliq, plan(cliq.now, last_cursor=cursor), app=app)[-1].cursor["marks"]


def test_without_the_list_of_chats_all_channels_are_read():
    """A missing scope costs calls, not messages."""
    cliq = busy()
    message = cliq.post("CT_3")

    def answer(request):
        if "/chats?" in request.url:
            return reply({"code": "oauthtoken_scope_invalid", "message": "no"}, 403)
        return cliq.answer(request)

    pages = zoho.sync_run(ZOHO_CLIQ, answer, backfill(cliq.now), connection())[0]
    assert keys(pages) == {f"cliq:eu:CT_3:{message['id']}"}
    assert len(reads(cliq)) == 3


def test_a_chat_that_was_left_steps_aside():
    """403 on one chat skips it; its mark stays, so that nothing is lost if the user comes back."""
    cliq = busy()
    cliq.post("CT_1")
    message = cliq.post("CT_2")

    def answer(request):
        if "CT_1/messages" in request.url:
            return reply({"message": "does not have enough permission"}, 403)
        return cliq.answer(request)

    pages = zoho.sync_run(ZOHO_CLIQ, answer, backfill(cliq.now), connection())[0]
    assert keys(pages) == {f"cliq:eu:CT_2:{message['id']}"}
    assert "CT_1" not in pages[-1].cursor["marks"]


@pytest.mark.parametrize(("status", "document"), [(429, {"message": "Too many requests within a certain time frame."}),
                                                  (400, {"message": "You have exceeded the URL throttle limits."})])  # fmt: skip
def test_a_throttle_waits_the_lock_out(status, document):
    """Both forms give the instant at which the lock ends."""
    with pytest.raises(RateLimitedError) as caught:
        zoho.sync_run(ZOHO_CLIQ, lambda _: reply(document, status), backfill(), connection())
    assert caught.value.retry_at == NOW + timedelta(minutes=10)
    assert (caught.value.scope, caught.value.limit_scope) == ("channels", LimitScope.ACCOUNT)


@pytest.mark.parametrize(
    ("path", "name", "most"),
    [("chats/CT%2F1/messages?limit=1", "messages", 15), ("chats?limit=1", "chats", 20), ("channels", "channels", None)],
)
def test_budgets(path, name, most):
    """Each family of endpoints has a budget below Cliq's number, which a throttle in a 200 also names."""
    url = f"https://cliq.zoho.eu/api/v2/{path}"
    (budget,) = ZOHO_CLIQ.limits.budgets(HttpRequest(method="GET", url=url))
    assert budget.name == name
    assert most is None or budget.requests + budget.burst <= most
    refusal = reply({"status": {"code": 429}, "code": "x", "message": "Too many requests"}, url=url)
    assert ZOHO_CLIQ.limits.read_throttle(refusal, NOW).scope == name


def test_every_event_has_the_family_of_its_kind():
    """Every webhook event belongs to the family of its kind."""
    for operation, kind in OPERATIONS.items():
        for event in (operation, f"participation_handler.{operation}"):
            assert kind in ZOHO_CLIQ.family_of(event).kinds
    for event in (*MEMBERSHIP, *MESSAGE_HANDLERS, "message_handler.message_sent"):
        assert SignalKind.MESSAGE_POSTED in ZOHO_CLIQ.family_of(event).kinds


def test_service_rows_and_our_own_bot_are_left_out():
    """Joins and messages of our own bot are reported by neither path."""
    app = make_app("zoho-cliq", options={"bot_id": "b-1, b-2"})
    cliq = busy()
    cliq.post("CT_1", kind="info")
    cliq.post("CT_1", sender="b-2")
    assert keys(sync_run(cliq, backfill(cliq.now), app=app)) == set()
    outcomes = [zoho.receive(ZOHO_CLIQ, body, connection(), app=app) for body in cliq.pushed]
    assert [one.reason for one in outcomes] == ["a service message", "our own bot's"]


ACTIONS = ["CT_1", "CT_2", "CT_3", "edit", "sync", "fast"]


@given(
    actions=st.lists(st.sampled_from(ACTIONS), max_size=30),
    newest_first=st.booleans(),
    with_ids=st.booleans(),
    twice=st.booleans(),
)
def test_any_sequence_by_push_by_sync_and_by_both(actions, newest_first, with_ids, twice):
    """Push only, sync only, both, and everything twice agree on every message that was posted."""
    cliq = busy(newest_first=newest_first, with_ids=with_ids)
    cursor, found = sync_run(cliq, plan(cliq.now))[-1].cursor, []
    for action in actions:
        if action == "sync":
            for _ in range(1 + twice):
                pages = sync_run(cliq, plan(cliq.now, last_cursor=cursor))
                found += drafts(pages)
            cursor = pages[-1].cursor
        elif action == "edit":
            if cliq.chats["CT_1"]:
                cliq.edit("CT_1", 0)
        else:
            cliq.post(action if action != "fast" else "CT_2", seconds=0 if action == "fast" else 61)
    pages, known = zoho.sync_run(ZOHO_CLIQ, cliq.answer, plan(cliq.now, last_cursor=cursor), connection())
    found += drafts(pages)
    reported = []
    for outcome in pushed(cliq, known) * (1 + twice):
        reported += outcome.signals
        if outcome.needs_sync:
            target = plan(cliq.now, target=outcome.sync_target)
            reported += drafts(sync_run(cliq, target, known))
    posted = {one.dedupe_key for one in found}
    assert {one.dedupe_key for one in reported if one.kind is SignalKind.MESSAGE_POSTED} <= posted
    if with_ids:
        # What reading saw first stays; an edit changes the title of a message that is read after it.
        assert {one[:3] for one in facts(found)} == {
            one[:3] for one in facts(reported) if one[1] == SignalKind.MESSAGE_POSTED.value
        }
    assert {one["id"] for posts in cliq.chats.values() for one in posts} == {key.rsplit(":", 1)[1] for key in posted}
