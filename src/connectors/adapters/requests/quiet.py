"""Keeping the HTTP and OAuth libraries from logging secrets."""

import logging

_TELLTALES = (
    "requests_oauthlib.oauth2_session",  # DEBUG: complete request bodies and token sets
    "urllib3.connectionpool",  # DEBUG: URLs with their query
    "urllib3.connection",  # WARNING: the URL of a response with malformed headers
)


def silence_libraries() -> None:
    """Drop these loggers' records below ERROR, permanently. Calling it again changes nothing.

    A filter on the logger, unlike a level, survives any logging configuration that the process sets up later.
    """
    for name in _TELLTALES:
        # `addFilter` ignores a filter that is already there.
        logging.getLogger(name).addFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
