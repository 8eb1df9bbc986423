"""Run sync runs against the fake as the engine does: page by page, with the cursor through JSON."""

import json
from datetime import datetime, timedelta
from typing import Any

from tests.unit.providers.slack.builders import converse, make_app, make_connection
from tests.unit.providers.slack.fake_slack import FakeSlack

from connectors.domain.model.sync import SyncMode, SyncPage, SyncPlan
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.slack import SLACK
from connectors.domain.providers.slack.payloads import EPOCH

MOST_PAGES = 500
"""A sync run with more pages counts as endless."""


def context_of(**changes: Any) -> SyncContext:
    options = changes.pop("options", {})
    return SyncContext(app=make_app(options=options), connection=make_connection(**changes))


def now_of(slack: FakeSlack) -> datetime:
    return EPOCH + timedelta(seconds=slack.second + 1)


def backfill(slack: FakeSlack, **changes: Any) -> SyncPlan:
    fields = {"mode": SyncMode.BACKFILL, "started_at": now_of(slack), "since": now_of(slack) - timedelta(days=2)}
    return SyncPlan(**{**fields, **changes})


def incremental(slack: FakeSlack, last_cursor: Any, **changes: Any) -> SyncPlan:
    return SyncPlan(
        **{"mode": SyncMode.INCREMENTAL, "started_at": now_of(slack), "last_cursor": last_cursor, **changes}
    )


def sync_run(slack: FakeSlack, plan: SyncPlan, context: SyncContext | None = None) -> list[SyncPage]:
    """Every page of a sync run."""
    context = context or context_of()
    cursor = converse(SLACK.sync.start(context, plan), slack.reply)
    pages: list[SyncPage] = []
    while not pages or not pages[-1].done:
        assert len(pages) < MOST_PAGES
        cursor = json.loads(json.dumps(cursor))
        pages.append(converse(SLACK.sync.read_page(context, plan, cursor), slack.reply))
        cursor = pages[-1].cursor
    return pages


def keys_of(pages: list[SyncPage]) -> set[str]:
    return {draft.dedupe_key for page in pages for draft in page.signals}
