"""The network between the service and the vendors: latency, lost requests and answers, refusals, damaged answers."""

import json
import random
import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs

from connectors.domain.model.errors import ProviderUnavailableError
from connectors.domain.model.http import HttpRequest, HttpResponse
from connectors.domain.model.ids import TenantId
from connectors_sandbox import Sandbox
from connectors_sandbox.core import StandingHook
from tests.simulation.schedule import Actor, Schedule
from tests.simulation.wsgi import WsgiAnswer, call_wsgi

SLOWNESS_OUT, SLOWNESS_BACK = (0.02, 0.05, 0.1, 0.4), (0.01, 0.05, 0.2)
"""Seconds that a request and its answer may take."""

VERY_SLOW = (3.0, 12.0, 28.0)
"""Seconds that an answer takes of a vendor that is slow, and that we still wait for."""

LONGEST_WORD = 24
"""Parts of a path that are longer are ids, and left out of labels."""

NAME = re.compile(r"(v?\d|v2\.0|oauth2|[A-Za-z]+([-_][a-z]+)*|[a-z]+(\.\w+)+)")
"""What a part looks like that is no id: a version, a word, the name of a method of Slack's."""

LONGEST_PAUSE = 86400.0
"""Seconds that a vendor may ask us to wait."""

GONE = frozenset({404, 410})

NOT_OF_LISTS = frozenset({401, 429})
"""Statuses that say something of a token or of the number of requests."""

LISTING_LASTS = 120.0
"""Seconds for which a first page is given out again: an older one would be a stale answer, which nobody can tell from a
true one."""

PAGE_PARAMETERS = frozenset({"page", "pageToken", "nextPageToken", "next_token", "cursor", "startAt", "start"})
"""Parameters by which the vendors' lists are continued."""


THING_PARAMETERS = ("channel", "ts", "folderId")
"""Parameters that name a single thing where the path does not."""


@attrs.define(kw_only=True, eq=False)
class Refusal:
    """For a while, requests whose path contains `part` fail the same way."""

    mount: str
    part: str
    until: float
    status: int | None
    """None: no connection. 200: the answer is damaged as `damage` says."""
    retry_after: str | None = None
    tenant_id: TenantId | None = None
    """Only with this tenant's tokens; None: with any."""
    damage: str | None = None
    """`cut`: half of the JSON. `circle`: each further page is the first one again. `slow`: it comes late."""
    is_single: bool = False
    """Only requests for one thing: the one that is asked for first."""
    thing: str | None = None
    """Which that is, once it is known."""

    def concerns(self, mount: str, path: str, thing: str, now: float) -> bool:
        """Whether a request now, for this thing, is one of them. A single thing that is not found is gone: nobody can
        tell that from a refusal, so no vendor lies about it."""
        is_lie = self.status in GONE and shape(path).endswith("*")
        if self.mount != mount or self.part not in path or now >= self.until or is_lie:
            return False
        return not self.is_single or self.thing in {None, thing}


@attrs.define(eq=False)
class Exchange:
    """One request that was sent, and what came of it."""

    at: float
    by: str
    method: str
    mount: str
    path: str
    status: int
    """0 without an answer."""
    was_refused: bool = False
    """Whether the simulation refused it, not the vendor."""
    refresh_token: str | None = None
    """The refresh token that it brought to the vendor."""
    actor: Actor | None = None
    commits: int = 0
    """How many transactions the actor had committed by then."""
    gave_tokens: bool = False
    """Whether the vendor's answer had tokens in it: some vendors refuse with a 200, too."""
    failing: str | None = None
    """What it asks for, if the simulation refuses that and nothing else of the vendor."""
    owner: TenantId | None = None
    """Whose token it had then."""
    was_heard: bool = False
    """Whether the vendor's answer arrived, and whole."""

    refused_for: TenantId | None = None
    """The tenant that alone is refused, if the simulation refused one."""

    @property
    def is_forgotten(self) -> bool:
        """Whether nobody can know what the vendor answered: it never arrived, or who heard it died before a commit."""
        actor = self.actor
        if self.was_refused or not self.status or actor is None:
            return False
        return not self.was_heard or (actor.was_killed and actor.commits == self.commits)


class Wire:
    """`ProviderApi` for the product; browsers use it, too."""

    def __init__(self, schedule: Schedule, sandbox: Sandbox, seed: int) -> None:
        self.refusals: list[Refusal] = []
        self.log: list[Exchange] = []
        self.find_owner: Callable[[Mapping[str, str]], TenantId | None] = lambda _headers: None
        """The tenant whose token a request has; None if that is nobody's."""
        self.hooks_removed: Callable[[str, list[StandingHook]], None] = lambda _mount, _hooks: None
        """Told of the hooks that a request has removed at a vendor, by its mount."""
        self.hear: Callable[[str, str, TenantId | None, HttpResponse], None] = lambda *_: None
        """Called with the mount, the URL and whose token it had of each request, and with the answer that was heard."""
        self.has_circles = True
        """Whether pages may run in a circle: else no first page needs to be kept."""
        self._schedule = schedule
        self._sandbox = sandbox
        self._random = random.Random(f"wire {seed}")
        self._waits: dict[str, float] = {}
        self._first_pages: dict[tuple[str, str, str], tuple[float, HttpResponse]] = {}

    def send(self, request: HttpRequest) -> HttpResponse:
        """The vendor's answer to a request of the product."""
        return self.exchange(request.method, request.url, request.headers, request.body)

    def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> HttpResponse:
        """The vendor's answer.

        Raises:
            ProviderUnavailableError: the request or its answer was lost.
        """
        schedule, path = self._schedule, urlsplit(url).path
        mount = path.split("/")[1]
        label = f"{method} {shape(path)}"
        schedule.point(f"ask:{label}")
        actor = schedule.current
        lost, owner = None, self.find_owner(headers)  # a consent may replace the token meanwhile
        if actor is not None:
            lost, actor.next_request = actor.next_request, None
        schedule.sleep(self._random.choice(SLOWNESS_OUT), "wire")
        refusal = next((one for one in self.refusals if self._concerns(one, mount, url, headers, body)), None)
        if lost == "before" or (refusal is not None and refusal.status is None):
            exchange = self._note(method, mount, path, 0, was_refused=refusal is not None)
            self._note_failing(exchange, refusal, owner, _thing(url, body))
            # Whoever sent it cannot tell a lost request from a lost answer.
            raise ProviderUnavailableError("No connection. (simulated)", outcome_unknown=lost == "before")
        if refusal is not None and refusal.damage is None:
            assert refusal.status is not None
            self._hear(mount, refusal.retry_after)
            exchange = self._note(method, mount, path, refusal.status, was_refused=True)
            exchange.refused_for = refusal.tenant_id
            self._note_failing(exchange, refusal, owner, _thing(url, body))
            return _refused(refusal, url)
        try:
            answer = self._ask(mount, method, url, headers, body)
        except ConnectionResetError:
            self._note(method, mount, path, 0)
            raise ProviderUnavailableError("Cut off. (simulated)", outcome_unknown=True) from None
        except Exception as error:  # noqa: BLE001 - reported
            schedule.report("sandbox-error", f"{label}: {type(error).__name__}: {error}", mount)
            self._note(method, mount, path, 0)
            raise ProviderUnavailableError("The sandbox has a bug. (simulated)") from None
        exchange = self._note(method, mount, path, answer.status, refresh_token=_refresh_token(body))
        exchange.gave_tokens = b"access_token" in answer.body
        schedule.point(f"done:{label}:{answer.status}")
        is_slow = refusal is not None and refusal.damage == "slow"
        schedule.sleep(self._random.choice(VERY_SLOW if is_slow else SLOWNESS_BACK), "wire")
        if lost == "after":
            raise ProviderUnavailableError("The answer was lost. (simulated)", outcome_unknown=True)
        response = HttpResponse(status=answer.status, headers=answer.headers, body=answer.body, url=url)
        if lost == "cut" or (refusal is not None and refusal.damage == "cut"):
            return attrs.evolve(response, body=response.body[: len(response.body) // 2])
        exchange.was_heard = True
        if self.has_circles:
            first = self._first_page(method, url, body, response)
            is_circle = refusal is not None and refusal.damage == "circle" and response.status < 300
            response = first if is_circle else response
        self.hear(mount, url, owner, response)
        return response

    def _ask(self, mount: str, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> WsgiAnswer:
        """The sandbox's answer."""
        if method not in {"DELETE", "POST"} or mount not in self._sandbox.worlds:
            return call_wsgi(self._sandbox.app, method, url, headers, body)
        before = self._sandbox.live_hooks(mount)
        answer = call_wsgi(self._sandbox.app, method, url, headers, body)
        after = {one.id for one in self._sandbox.live_hooks(mount)}
        removed = [one for one in before if one.id not in after]
        if removed:
            self.hooks_removed(mount, removed)
        return answer

    def _first_page(self, method: str, url: str, body: bytes | None, response: HttpResponse) -> HttpResponse:
        """The first page of the list that this is a page of."""
        key, now = _without_page(method, url, body), self._schedule.now
        began, first = self._first_pages.get(key, (0.0, response))
        if began + LISTING_LASTS < now or not _has_page(url, body):
            began, first = self._first_pages[key] = now, response
        return first

    @staticmethod
    def _note_failing(exchange: Exchange, refusal: Refusal | None, owner: TenantId | None, thing: str) -> None:
        """A refusal of all, of a token, or of so many requests is no failure of what was asked for."""
        if refusal is not None and refusal.part and refusal.status not in NOT_OF_LISTS and refusal.retry_after is None:
            exchange.failing, exchange.owner = thing, owner

    def is_told_to_wait(self, mount: str) -> bool:
        """Whether the vendor has asked for a pause (`Retry-After`) that is not over."""
        return self._schedule.now < self._waits.get(mount, 0.0)

    def _hear(self, mount: str, retry_after: str | None) -> None:
        """Note how long the vendor asks us to wait; no more than a day, after which all limits begin again."""
        seconds = 0.0
        if retry_after is not None and retry_after.isdecimal():
            seconds = float(retry_after)
        elif retry_after is not None and retry_after.endswith("GMT"):
            seconds = (parsedate_to_datetime(retry_after) - self._schedule.instant()).total_seconds()
        until = self._schedule.now + min(seconds, LONGEST_PAUSE)
        self._waits[mount] = max(until, self._waits.get(mount, 0.0))

    def _concerns(self, refusal: Refusal, mount: str, url: str, headers: Mapping[str, str], body: bytes | None) -> bool:
        thing = _thing(url, body) if refusal.is_single else ""
        if not refusal.concerns(mount, urlsplit(url).path, thing, self._schedule.now):
            return False
        if refusal.tenant_id is not None and refusal.tenant_id != self.find_owner(headers):
            return False
        if refusal.is_single:
            refusal.thing = thing
        return True

    def heal(self) -> None:
        """No more faults."""
        self.refusals.clear()

    def _note(
        self,
        method: str,
        mount: str,
        path: str,
        status: int,
        *,
        was_refused: bool = False,
        refresh_token: str | None = None,
    ) -> Exchange:
        actor = self._schedule.current
        by, commits = ("nobody", 0) if actor is None else (actor.name, actor.commits)
        exchange = Exchange(
            self._schedule.now, by, method, mount, path, status, was_refused, refresh_token, actor, commits
        )
        self.log.append(exchange)
        return exchange


@cache
def shape(path: str) -> str:
    """The path without ids, for labels."""
    parts = path.split("/")[1:]
    return "/".join(part if len(part) <= LONGEST_WORD and NAME.fullmatch(part) else "*" for part in parts)


def _has_page(url: str, body: bytes | None) -> bool:
    names = [*(name for name, _ in parse_qsl(urlsplit(url).query)), *_read_json(body)]
    return not PAGE_PARAMETERS.isdisjoint(names)


def _without_page(method: str, url: str, body: bytes | None) -> tuple[str, str, str]:
    """What all pages of a list have in common."""
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name not in PAGE_PARAMETERS]
    document = _read_json(body)
    asked = sorted((name, repr(value)) for name, value in document.items() if name not in PAGE_PARAMETERS)
    return method, urlunsplit(parts._replace(query=urlencode(kept))), repr(asked or body)


def _thing(url: str, body: bytes | None) -> str:
    """What a request asks for, whatever page or time of it: a path, and the parameters that name a single thing."""
    parts, fields = urlsplit(url), _read_json(body) or dict(parse_qsl((body or b"").decode(errors="replace")))
    named = {**dict(parse_qsl(parts.query)), **fields}
    return f"{parts.path} {[named.get(name) for name in THING_PARAMETERS]}"


def _refresh_token(body: bytes | None) -> str | None:
    """The refresh token of a refresh, whose parameters are a form or a JSON object."""
    if body is None or b"refresh_token" not in body:
        return None
    fields = _read_json(body) or dict(parse_qsl(body.decode()))
    return fields.get("refresh_token") if fields.get("grant_type") == "refresh_token" else None


def _read_json(body: bytes | None) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _refused(refusal: Refusal, url: str) -> HttpResponse:
    assert refusal.status is not None
    headers = {"content-type": "application/json"}
    if refusal.retry_after is not None:
        headers["retry-after"] = refusal.retry_after
    return HttpResponse(
        status=refusal.status, headers=headers, body=b'{"error":"refused","message":"refused"}', url=url
    )
