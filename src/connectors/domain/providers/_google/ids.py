"""Google's identifiers."""

from connectors.domain.providers.toolbox.foreign import id_reader

read_id = id_reader(1024, spaces=True)
"""Google documents calendar and event ids of up to 1024 characters."""

LONGEST_REFERENCE = 200
"""Characters of a parked thing's reference, and of a stream's key."""

NAMELESS = "a thing without a usable id"
"""The reference of a parked thing that cannot be asked for."""


def reference_to(identifier: str | None) -> str:
    """The reference of a parked thing. A long id is not cut: it would be another thing's."""
    return identifier if identifier is not None and len(identifier) <= LONGEST_REFERENCE else NAMELESS
