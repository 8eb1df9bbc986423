"""The form of a scene."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from connectors_sandbox import Sandbox, SandboxServer


@attrs.frozen(kw_only=True)
class Scene:
    """One provider's part of the demonstration."""

    slug: str
    settings: Callable[[SandboxServer], Mapping[str, str]]
    """The `POBLYSH_…` variables that make our service use the sandbox for this provider."""
    prepare: Callable[[Sandbox, str], None]
    """People and things, before anybody connects; told Core's redirect URI, which the vendor registers."""
    play: Callable[[Sandbox], None]
    """What happens after the connection: webhooks come of it."""
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """What the connection shall cover."""
    finish: Callable[[Sandbox, str], None] = lambda sandbox, webhook_url: None
    """What a person sets up by hand at the vendor once connected; told the URL that `GET /providers/{slug}` shows."""
