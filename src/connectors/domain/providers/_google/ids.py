"""Google's identifiers."""

from connectors.domain.providers.toolbox.foreign import id_reader

read_id = id_reader(1024, spaces=True)
"""Google documents calendar and event ids of up to 1024 characters."""
