"""Reads the Google packages' fixtures and compares drafts with what they expect."""

import json

from connectors.domain.model.instant import read_instant


def load_fixtures(folder):
    """Every fixture of the folder by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def assert_expected(draft, expected):
    """The draft is what the fixture says, field by field."""
    assert draft.kind == expected["kind"]
    assert draft.dedupe_key == expected["dedupe_key"]
    assert draft.occurred_at == read_instant(expected["occurred_at"])
    assert draft.title == expected["title"]
    assert draft.url == expected["url"]
    assert [draft.subject.type, draft.subject.id] == expected["subject"]
    assert (draft.actor and [draft.actor.id, draft.actor.name]) == expected["actor"]
    assert (draft.container and [draft.container.type, draft.container.id]) == expected["container"]
    assert draft.payload.get("derived") == expected.get("derived") or "email_" in expected["kind"]
    if "derived" in expected:
        assert draft.payload["derived"] == expected["derived"]
