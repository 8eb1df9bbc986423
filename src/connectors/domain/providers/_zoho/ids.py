"""Zoho's identifiers."""

from connectors.domain.providers.toolbox.foreign import id_reader

read_id = id_reader(256, numbers=True)
"""Zoho's longest ids, of chats and messages, have about 50 characters. The same 64-bit id may be a number or a text."""
