"""How Slack's events fall into families, each accounted for by itself.

Push tells of all of them. The walk shows what stands in the histories; see README.md, "Events, and which path shows
them".
"""

from connectors.domain.model.signal import SignalKind
from connectors.domain.providers.contract import Family
from connectors.domain.providers.slack.webhooks import REPLY

_K = SignalKind


def _pushed_only(name: str, kinds: set[SignalKind], *events: str) -> Family:
    return Family(name=name, kinds=frozenset(kinds), events=frozenset(events), is_read=False, is_backfilled=False)


FAMILIES = (
    # Before `messages`, whose events are `message` with any other subtype.
    _pushed_only("replies", {_K.MESSAGE_REPLIED}, REPLY),
    _pushed_only(
        "message_changes",
        {_K.MESSAGE_EDITED, _K.MESSAGE_DELETED},
        "message.message_changed",
        "message.message_deleted",
    ),
    Family(name="messages", kinds=frozenset({_K.MESSAGE_POSTED}), events=frozenset({"message", "app_mention"})),
    _pushed_only("reactions", {_K.REACTION_ADDED, _K.REACTION_REMOVED}, "reaction_added", "reaction_removed"),
    _pushed_only(
        "members",
        {_K.MEMBER_JOINED, _K.MEMBER_LEFT},
        "member_joined_channel",
        "member_left_channel",
        "team_join",
    ),
    _pushed_only(
        "channels",
        {_K.CHANNEL_CREATED, _K.CHANNEL_ARCHIVED, _K.CHANNEL_RENAMED},
        "channel_created",
        "channel_archive",
        "channel_rename",
    ),
)
"""Each kind in one, and each event of the table. The first that names an event has it."""
