"""The trace id: one id for everything that follows from one request, in every log line."""

from contextvars import ContextVar

TRACE_ID: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""The trace id of this thread's current work; None in between. Entry points set it; jobs carry it on."""
