"""Lists that move while they are read: a position never passes a row that was not shown, nor does the proof of a stream."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from connectors.domain.model.coverage import CoveragePath
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.ids import TenantId
from connectors.domain.model.spans import Span, without
from connectors.domain.model.stream_state import StreamState
from connectors.domain.model.sync import SyncMode
from tests.simulation.ports.database import SimulatedUnitOfWork
from tests.simulation.world.account import Account

if TYPE_CHECKING:
    from tests.simulation.run import Run


@attrs.define(eq=False)
class Order:
    """Remembers which rows each tenant was shown, and looks at every commit. Only accounts that tell their lists'
    rows are looked at."""

    run: "Run"
    _shown: dict[tuple[TenantId, str], dict[str, datetime]] = attrs.field(factory=dict)
    """By tenant and list: each row, and the latest instant that it showed."""

    def hear(self, mount: str, url: str, owner: TenantId | None, response: HttpResponse) -> None:
        """Note the rows of an answer."""
        account = next((one for one in self.run.accounts.values() if one.mount == mount and one.lag is not None), None)
        if account is None or owner is None or response.status != 200:
            return
        try:
            document = json.loads(response.body)
        except ValueError:
            return
        found = account.rows_of_answer(url, document)
        if found is None:
            return
        shown = self._shown.setdefault((owner, found[0]), {})
        for row, at in found[1].items():
            shown[row] = max(at, shown.get(row, at))

    def look(self, transaction: SimulatedUnitOfWork) -> None:
        """Look at what one transaction has stored."""
        for one in transaction.changes:
            if one.table != "streams" or one.before is None or one.after.is_discovery:
                continue
            connection = self.run.database.memory.connections.get((one.after.tenant_id, one.after.connection_id))
            if connection is None:
                continue
            for account in self.run.accounts.values():
                if account.slug == connection.provider and account.lag is not None:
                    self._look_at(account, connection.account.id, one.before, one.after)

    def _look_at(self, account: Account, external_id: str, before: StreamState, after: StreamState) -> None:
        spans = {"a position passes a row that was not shown": _passed(account, before, after)}
        proof = without(after.proven_by(*CoveragePath), before.proven_by(*CoveragePath))
        spans["a stream is proven down to above a row that was not shown"] = [
            Span(one.from_at, one.to_at - account.lag)
            for one in proof
            if account.lag is not None and one.to_at - account.lag > one.from_at
        ]
        if not any(spans.values()):
            return
        found = account.rows_sorted(external_id, after.key)
        if found is None:
            return
        shown = self._shown.get((after.tenant_id, found[0]), {})
        for text, passed in spans.items():
            if any(_is_missed(row, at, passed, shown) for row, at in found[1].items()):
                self.run.schedule.report("row-passed", text, account.slug)


def _is_missed(row: str, at: datetime, passed: list[Span], shown: Mapping[str, datetime]) -> bool:
    return any(one.from_at <= at < one.to_at for one in passed) and (row not in shown or shown[row] < at)


def _passed(account: Account, before: StreamState, after: StreamState) -> list[Span]:
    """Between which positions a commit has gone on, in either mode."""
    steps = []
    for mode in SyncMode:
        old, new = _cursor(before, mode), _cursor(after, mode)
        if mode is SyncMode.INCREMENTAL:
            old, new = old or before.bookmark, new or after.bookmark
        steps.append((old, new))
    spans = []
    for former, latter in steps:
        begin, end = account.position(former), account.position(latter)
        if begin is not None and end is not None and begin < end:
            spans.append(Span(begin, end))
    return spans


def _cursor(state: StreamState, mode: SyncMode) -> Any:
    run = state.reading(mode).run
    return None if run is None else run.cursor
