"""A workspace that behaves: it keeps messages, answers the Web API's reading methods, and sends events."""

import itertools
from typing import Any

from tests.unit.providers.slack.builders import answer, fields_of, query_of

from connectors.domain.model.errors import RateLimitedError
from connectors.domain.model.http import HttpRequest, HttpResponse
from connectors.domain.model.limits import LimitScope
from connectors.domain.providers.slack.payloads import EPOCH


class FakeSlack:
    """One workspace. Every `ts` comes from a counter, so that tests choose the time."""

    def __init__(self, start: int = 1777896000, page: int | None = None, empty_pages: bool = False) -> None:
        self.second = start
        self.page = page
        """The most that Slack sends, whatever is requested (15 outside the Marketplace)."""
        self.empty_pages = empty_pages
        """Begin every list with an empty page that has a cursor."""
        self.channels: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, dict[str, dict[str, Any]]] = {}
        self.people: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.refusals: dict[str, list[str]] = {}
        """The next errors, by method."""
        self.withheld: dict[str, str] = {}
        """The error that a channel or thread always answers with, by its id."""
        self.is_bot = True
        """A user's token reads every public channel."""
        self.is_strict = False
        """Outside the Marketplace: each second call for a history or thread is refused."""
        self._is_limited = False
        self._numbers = itertools.count(1)

    def tick(self, seconds: int = 1) -> str:
        self.second += seconds
        return f"{self.second}.{next(self._numbers) % 1_000_000:06d}"

    # --- what users do -----------------------------------------------------------------------------------------------

    def make_channel(self, channel: str, *, member: bool = True, private: bool = False) -> None:
        ts = self.tick()
        self.channels[channel] = {
            "id": channel,
            "name": channel.lower(),
            "created": self.second,
            "creator": "U1",
            "is_member": member,
            "is_private": private,
            "is_archived": False,
        }
        self.messages[channel] = {}
        if not private:
            made = {name: self.channels[channel][name] for name in ("id", "name", "created", "creator")}
            self.events.append({"type": "channel_created", "channel": made, "event_ts": ts})

    def archive(self, channel: str) -> None:
        """Bots are out of an archived channel."""
        self.channels[channel]["is_archived"] = True
        if self.is_bot:
            self.channels[channel]["is_member"] = False

    def post(self, channel: str, text: str = "hi", thread: str | None = None, user: str = "U1", **more: Any) -> str:
        ts = self.tick()
        message = {"type": "message", "user": user, "text": text, "ts": ts, **more}
        if thread is not None:
            message["thread_ts"] = thread
            parent = self.messages[channel].get(thread)
            if parent is not None:
                parent.update(thread_ts=thread, reply_count=parent.get("reply_count", 0) + 1, latest_reply=ts)
        self.messages[channel][ts] = message
        self.events.append({**message, "channel": channel, "event_ts": ts, "channel_type": "channel"})
        return ts

    def edit(self, channel: str, ts: str, text: str) -> None:
        at = self.tick()
        before = dict(self.messages[channel][ts])
        self.messages[channel][ts].update(text=text, edited={"user": "U1", "ts": at})
        self._send_change(channel, before, dict(self.messages[channel][ts]), at)

    def unfurl(self, channel: str, ts: str) -> None:
        """A change that no user made."""
        at = self.tick()
        before = dict(self.messages[channel][ts])
        self.messages[channel][ts]["attachments"] = [{"title": "preview"}]
        self._send_change(channel, before, dict(self.messages[channel][ts]), at)

    def _send_change(self, channel: str, before: dict[str, Any], after: dict[str, Any], at: str) -> None:
        event = {"type": "message", "subtype": "message_changed", "hidden": True, "channel": channel}
        self.events.append({**event, "ts": at, "event_ts": at, "message": after, "previous_message": before})

    def delete(self, channel: str, ts: str) -> None:
        at = self.tick()
        gone = self.messages[channel].pop(ts)
        event = {"type": "message", "subtype": "message_deleted", "channel": channel, "deleted_ts": ts}
        self.events.append({**event, "ts": at, "event_ts": at, "previous_message": gone})

    def react(self, channel: str, ts: str) -> None:
        item = {"type": "message", "channel": channel, "ts": ts}
        self.events.append(
            {"type": "reaction_added", "user": "U1", "reaction": "eyes", "item": item, "event_ts": self.tick()}
        )

    # --- the Web API -------------------------------------------------------------------------------------------------

    def reply(self, request: HttpRequest) -> HttpResponse:
        method = request.url.partition("?")[0].rpartition("/")[2]
        params = query_of(request) if request.method == "GET" else fields_of(request)
        self.asked.append((method, params))
        if self.is_strict and method in {"conversations.history", "conversations.replies"}:
            self._is_limited = not self._is_limited
            if not self._is_limited:
                raise RateLimitedError("wait", retry_at=EPOCH, scope=method, limit_scope=LimitScope.ACCOUNT)
        queued = self.refusals.get(method)
        if queued:
            return answer({"ok": False, "error": queued.pop(0)})
        withheld = self.withheld.get(params.get("ts") or params.get("channel", ""))
        if withheld is not None:
            return answer({"ok": False, "error": withheld})
        return answer(getattr(self, "on_" + method.replace(".", "_"))(params))

    def on_users_list(self, params: dict[str, str]) -> dict[str, Any]:
        return self._paged("members", self.people, params)

    def on_conversations_list(self, params: dict[str, str]) -> dict[str, Any]:
        types = params["types"].split(",")
        shown = [
            channel
            for channel in self.channels.values()
            if ("private_channel" if channel["is_private"] else "public_channel") in types
            and not (channel["is_archived"] and params["exclude_archived"] == "true")
        ]
        return self._paged("channels", shown, params)

    def on_conversations_join(self, params: dict[str, str]) -> dict[str, Any]:
        self.channels[params["channel"]]["is_member"] = True
        return {"ok": True, "warning": "already_in_channel"}

    def on_conversations_history(self, params: dict[str, str]) -> dict[str, Any]:
        channel = self.channels[params["channel"]]
        if not channel["is_member"] and (self.is_bot or channel["is_private"]):
            return {"ok": False, "error": "not_in_channel"}
        shown = [
            message
            for message in self.messages[params["channel"]].values()
            if message.get("thread_ts", message["ts"]) == message["ts"] or message.get("subtype") == "thread_broadcast"
        ]
        return self._paged("messages", sorted(window(shown, params), key=lambda m: m["ts"], reverse=True), params)

    def on_conversations_replies(self, params: dict[str, str]) -> dict[str, Any]:
        messages = self.messages[params["channel"]]
        parent = messages.get(params["ts"])
        if parent is None:
            return {"ok": False, "error": "thread_not_found"}
        replies = [m for m in messages.values() if m.get("thread_ts") == params["ts"] and m["ts"] != params["ts"]]
        page = self._paged("messages", sorted(window(replies, params), key=lambda m: m["ts"]), params)
        return {**page, "messages": [parent, *page["messages"]]} if page["ok"] else page

    def _paged(self, name: str, items: list[dict[str, Any]], params: dict[str, str]) -> dict[str, Any]:
        cursor = params.get("cursor")
        if cursor is not None and not cursor.startswith("at:"):
            return {"ok": False, "error": "invalid_cursor"}
        if cursor is None and self.empty_pages:
            return {"ok": True, name: [], "response_metadata": {"next_cursor": "at:0"}}
        start = int(cursor.removeprefix("at:")) if cursor else 0
        end = start + min(int(params["limit"]), self.page or 1000)
        return {
            "ok": True,
            name: items[start:end],
            "response_metadata": {"next_cursor": f"at:{end}" if end < len(items) else ""},
        }


def window(messages: list[dict[str, Any]], params: dict[str, str]) -> list[dict[str, Any]]:
    """Both ends are exclusive, as Slack's default is."""
    oldest, latest = params.get("oldest", "0"), params.get("latest", "9999999999.999999")
    return [message for message in messages if exact(oldest) < exact(message["ts"]) < exact(latest)]


def exact(ts: str) -> tuple[int, str]:
    seconds, _, fraction = ts.partition(".")
    return int(seconds), fraction.ljust(6, "0")
