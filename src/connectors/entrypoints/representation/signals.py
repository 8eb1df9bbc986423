"""How signals are shown."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

import attrs
from msgspec import UNSET, Meta, UnsetType

from connectors.domain.model.signal import Container, Origin, Signal, SignalKind, Subject
from connectors.entrypoints.representation.common import HasMore, Instant, NextCursor, Slug


@attrs.frozen(kw_only=True, slots=False)
class ActorView:
    """Who did it."""

    id: str
    name: str
    url: str | None


@attrs.frozen(kw_only=True, slots=False)
class ThingView:
    """What it was done to, or where it happened."""

    type: Annotated[str, Meta(examples=["issue", "repository"])]
    id: str
    name: str
    url: str | None


@attrs.frozen(kw_only=True, slots=False)
class SignalView:
    """Something that happened, listed once, whichever path found it."""

    id: UUID
    tenant_id: UUID
    connection_id: UUID
    provider: Slug
    kind: SignalKind
    occurred_at: Instant
    received_at: Instant
    title: str
    url: str | None
    actor: ActorView | None
    subject: ThingView
    container: ThingView | None
    dedupe_key: str
    origin: Annotated[Origin, Meta(description="Which path found it first.")]
    payload: (
        Annotated[Mapping[str, Any], Meta(description="The provider's own object; only when requested.")] | UnsetType
    ) = UNSET


@attrs.frozen(kw_only=True, slots=False)
class SignalList:
    """A page of signals, newest first by when they occurred."""

    signals: Sequence[SignalView]
    next_cursor: NextCursor
    has_more: HasMore


def show_signal(signal: Signal, *, with_payload: bool) -> SignalView:
    """The signal; its payload only if requested."""
    actor = signal.actor
    payload: Mapping[str, Any] | UnsetType = UNSET
    if with_payload:
        payload = signal.payload or {}
    return SignalView(
        id=signal.id,
        tenant_id=signal.tenant_id,
        connection_id=signal.connection_id,
        provider=signal.provider,
        kind=signal.kind,
        occurred_at=signal.occurred_at,
        received_at=signal.received_at,
        title=signal.title,
        url=signal.url,
        actor=None if actor is None else ActorView(id=actor.id, name=actor.name, url=actor.url),
        subject=_thing(signal.subject),
        container=None if signal.container is None else _thing(signal.container),
        dedupe_key=signal.dedupe_key,
        origin=signal.origin,
        payload=payload,
    )


def _thing(thing: Subject | Container) -> ThingView:
    return ThingView(type=thing.type, id=thing.id, name=thing.name, url=thing.url)
