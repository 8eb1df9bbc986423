"""The parts of stream rows that are kept as JSON: attrs objects as plain values, and back."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import cattrs
import msgspec
from cattrs.gen import make_dict_unstructure_fn

from connectors.adapters.storable import decode_json
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.spans import Span
from connectors.domain.model.stream_state import (
    CircleGuard,
    HistoryRequest,
    ProvenSpan,
    Reading,
    StreamRun,
    StreamState,
)
from connectors.domain.model.streams import Stream, Window


def to_document(value: Any) -> Any:
    """The value as JSON holds it; members that have their default value are left out."""
    return _CONVERTER.unstructure(value)


def from_document(value: Any, kind: Any) -> Any:
    """The value of that type which `to_document` made the document of."""
    return msgspec.convert(value, kind)


def read_stream_state(text: str) -> StreamState:
    """The stream from all of its columns as one JSON object. Fast, because a connection may have ten thousand."""
    try:
        return _STREAM_STATE.decode(text)
    except (msgspec.DecodeError, RecursionError):
        state: StreamState = msgspec.convert(decode_json(text), StreamState)
        return state


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook(datetime, rfc3339)
    converter.register_unstructure_hook(timedelta, msgspec.to_builtins)
    converter.register_unstructure_hook(UUID, str)
    # What packages keep is JSON already, and may be nested deeply.
    converter.register_unstructure_hook_func(lambda kind: bool(kind == Mapping[str, Any]), lambda value: value)
    converter.register_unstructure_hook_func(lambda kind: bool(kind == frozenset[str]), sorted)
    for kind in (Stream, Window, StreamRun, Reading, CircleGuard, HistoryRequest, Span, ProvenSpan):
        hook = make_dict_unstructure_fn(kind, converter, _cattrs_omit_if_default=True)
        converter.register_unstructure_hook(kind, hook)
    return converter


_CONVERTER = _make_converter()
_STREAM_STATE = msgspec.json.Decoder(StreamState)
