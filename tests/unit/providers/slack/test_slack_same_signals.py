"""One event is one signal, whichever path sees it, and however often."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.providers.slack.builders import NOW, TEAM, envelope, read, render_draft
from tests.unit.providers.slack.fake_slack import FakeSlack
from tests.unit.providers.slack.reading import connect, now_of, read_new

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["post", "post", "reply", "edit", "delete", "react", "unfurl", "channel", "broadcast", "wait"]),
        st.integers(0, 7),
    ),
    max_size=25,
)
PUSH_ONLY_KINDS = {"message_deleted", "reaction_added"}


def play(slack: FakeSlack, actions) -> None:
    """Do what a random workspace does; `n` chooses among what is there."""
    for action, n in actions:
        channel = f"C{n % len(slack.channels)}"
        messages = list(slack.messages[channel])
        parents = [ts for ts, message in slack.messages[channel].items() if message.get("thread_ts", ts) == ts]
        if action == "post":
            slack.post(channel, f"text {n}")
        elif action == "channel" and len(slack.channels) < 4:
            slack.make_channel(f"C{len(slack.channels)}")
        elif action == "wait":
            slack.second += 3600 * n
        elif action in {"reply", "broadcast"} and parents:
            more = {"subtype": "thread_broadcast"} if action == "broadcast" else {}
            slack.post(channel, f"answer {n}", thread=parents[n % len(parents)], **more)
        elif action == "edit" and messages:
            slack.edit(channel, messages[n % len(messages)], f"new {n}")
        elif action in {"react", "unfurl"} and messages:
            getattr(slack, action)(channel, messages[n % len(messages)])
        elif action == "delete" and messages:
            target = messages[n % len(messages)]
            # The vendor keeps a thread whose parent is gone under a tombstone; that is not what this test is about.
            if not slack.messages[channel][target].get("reply_count"):
                slack.delete(channel, target)


def pushed(slack: FakeSlack, start: int = 0) -> dict[str, dict]:
    drafts = {}
    for event in slack.events[start:]:
        outcome = read(envelope(event))
        for draft in getattr(outcome, "signals", ()):
            drafts.setdefault(draft.dedupe_key, render_draft(draft))
    return drafts


def drafts_of(reader) -> dict[str, dict]:
    drafts = {}
    for draft in reader.signals:
        drafts.setdefault(draft.dedupe_key, render_draft(draft))
    return drafts


def shown_by_the_api(slack: FakeSlack, push: dict[str, dict]) -> set[str]:
    """Of what was pushed, what Slack's API can still show: the last edit, and only of messages that are there."""
    shown = set()
    for key, draft in push.items():
        _, _, channel, ts, what, *rest = [*key.split(":"), ""]
        if draft["kind"] in PUSH_ONLY_KINDS:
            continue
        if channel != "channel":
            message = slack.messages[channel].get(ts)
            if message is None or (what == "edited" and message["edited"]["ts"] != rest[0]):
                continue
        shown.add(key)
    return shown


def edits_of_replies(slack: FakeSlack, keys: set[str]) -> set[str]:
    """Those that only a new reply makes visible: Slack's lists do not show that a reply was edited."""

    def is_one(key: str) -> bool:
        _, _, channel, ts, what, *_ = [*key.split(":"), ""]
        message = slack.messages.get(channel, {}).get(ts, {})
        return what == "edited" and message.get("thread_ts", ts) != ts

    return {key for key in keys if is_one(key)}


@given(first=ACTIONS, second=ACTIONS, page=st.sampled_from([1, 2, 15, None]))
def test_push_and_sync_agree_on_all_that_the_api_can_show(first, second, page):
    """Push only, sync only, both in any order, everything twice: the same keys, kinds and times."""
    slack = FakeSlack(start=int(NOW.timestamp()), page=page)
    slack.make_channel("C0")
    play(slack, first)
    reader = connect(slack)
    reader.backfill(NOW - timedelta(days=1), now_of(slack))
    reader.read(now_of(slack))
    assert set(drafts_of(reader)) == shown_by_the_api(slack, pushed(slack))
    play(slack, second)
    read_new(reader, slack)
    synced = drafts_of(reader)
    push = pushed(slack)
    shown = shown_by_the_api(slack, push)
    assert shown - edits_of_replies(slack, shown) <= set(synced) <= set(push)
    for key, draft in synced.items():
        assert (draft["kind"], draft["occurred_at"]) == (push[key]["kind"], push[key]["occurred_at"])
        assert draft["subject"][:2] == push[key]["subject"][:2]
        assert draft["url"] == push[key]["url"]
    assert read_new(reader, slack) == set()
    assert all(key.startswith(f"slack:{TEAM}:") for key in push)
