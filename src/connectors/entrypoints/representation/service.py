"""How the service itself is shown."""

from collections.abc import Mapping
from typing import Annotated

import attrs
from msgspec import Meta


@attrs.frozen(kw_only=True, slots=False)
class ServiceView:
    """The service and where its parts are."""

    name: str
    version: str
    docs: str
    openapi: str
    providers: str


@attrs.frozen(kw_only=True, slots=False)
class AliveView:
    """The process answers."""

    status: Annotated[str, Meta(examples=["ok"])] = "ok"


@attrs.frozen(kw_only=True, slots=False)
class ReadyView:
    """Every part that the service needs works. `plugins` names distributions whose providers are skipped."""

    status: Annotated[str, Meta(examples=["ready"])]
    checks: Annotated[Mapping[str, str], Meta(examples=[{"database": "ok"}])]
