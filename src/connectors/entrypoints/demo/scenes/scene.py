"""What a scene consists of."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from connectors_sandbox import Sandbox, SandboxServer


@attrs.frozen(kw_only=True)
class Scene:
    """One provider's part of the demonstration."""

    slug: str
    settings: Callable[[SandboxServer], Mapping[str, str]]
    """The `POBLYSH_…` variables that point our service to the sandbox for this provider."""
    prepare: Callable[[Sandbox, str], None]
    """Creates people and things before anybody connects; gets Core's redirect URI, to register our app."""
    play: Callable[[Sandbox], None]
    """Lets things happen after the connection, of which webhooks tell."""
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """What the connection should cover."""
    finish: Callable[[Sandbox, str], None] = lambda sandbox, webhook_url: None
    """Does what a person sets up by hand at the vendor; gets the URL that `GET /providers/{slug}` shows."""
