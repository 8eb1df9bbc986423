"""What a file's present state means, compared with the last known one.

Its contents, as a listing reports them, too:

    change                                          signal          identity
    never seen, another modifiedTime, or            file_created    created
    into or out of the trash                        file_updated    updated:{modifiedTime}, if after its creation

Both, because a listing under way may miss such a file: it moves to the listing's top, or leaves it.

And what only the change log shows. The first matching row counts:

    removed                                         file_deleted    deleted:{change.time}
    in the trash, was not                           file_trashed    trashed:{occurred_at}
    was in the trash, is not                        file_restored   restored:{change.time}
    never seen, created inside the window          none            -
    never seen, older: newly visible                file_shared     visible:{occurred_at}
    other parents                                   file_moved      moved:{parents}:{change.time}
    another name                                    file_renamed    renamed:{sha(name)}:{change.time}
    anything else: views, permissions, stars        none            -

Keys contain only Drive's data, so that a read after a push, a scheduled read and a backfill agree.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from connectors.domain.model.instant import rfc3339
from connectors.domain.model.signal import Actor, Container, SignalDraft, SignalKind, Subject, one_line
from connectors.domain.model.streams import Window
from connectors.domain.model.sync import Interpretation, Observation
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers.contract import Family, SyncContext
from connectors.domain.providers.google_drive.payloads import (
    FOLDER,
    Change,
    File,
    User,
    file_url,
    read_change,
    read_file,
)
from connectors.domain.providers.toolbox.foreign import read_each, read_object, read_text, read_url
from connectors.domain.providers.toolbox.rules import derive_families_by_kind

FAMILY_OF: Mapping[SignalKind, str] = {
    SignalKind.FILE_CREATED: "files",
    SignalKind.FILE_UPDATED: "files",
    SignalKind.FILE_RENAMED: "file_changes",
    SignalKind.FILE_MOVED: "file_changes",
    SignalKind.FILE_SHARED: "file_changes",
    SignalKind.FILE_TRASHED: "file_changes",
    SignalKind.FILE_RESTORED: "file_changes",
    SignalKind.FILE_DELETED: "file_changes",
}

KINDS = frozenset(FAMILY_OF)

FAMILIES = derive_families_by_kind(
    FAMILY_OF,
    Family(name="files"),
    # A listing shows a file's location and name, not that it was moved, renamed, shared or deleted.
    Family(name="file_changes", is_backfilled=False),
)
"""A notification only says "something changed" and names no family, so it concerns both."""

CLOCK_DOUBT = timedelta(minutes=2)
"""How far our clock and Drive's may be apart."""

DELETED_OR_LOST = "deleted_or_access_lost"
"""Drive does not say which of the two a removal is."""


@attrs.frozen(kw_only=True)
class Snapshot:
    """What we remember of a file."""

    name: str
    parents: tuple[str, ...]
    trashed: bool
    modified_time: str
    """Empty: its last edit is not reported yet."""
    version: str
    mime_type: str
    url: str | None

    def to_state(self) -> dict[str, Any]:
        """As JSON values."""
        return {**attrs.asdict(self), "parents": list(self.parents)}


def snapshot_of(file: File) -> Snapshot:
    """What to remember of a file."""
    return Snapshot(
        name=file.name,
        parents=file.parents,
        trashed=file.trashed,
        modified_time=file.modified_time,
        version=file.version,
        mime_type=file.mime_type,
        url=file.url,
    )


def read_snapshot(state: Mapping[str, Any] | None) -> Snapshot | None:
    """What we remembered."""
    if state is None:
        return None
    return Snapshot(
        name=read_text(state.get("name")) or "",
        parents=tuple(sorted(read_each(state.get("parents"), read_id))),
        trashed=state.get("trashed") is True,
        modified_time=read_text(state.get("modified_time")) or "",
        version=read_text(state.get("version")) or "",
        mime_type=read_text(state.get("mime_type")) or "",
        url=read_url(state.get("url")),
    )


def observe_change(change: Change) -> Observation:
    """The observation of a file in a change log."""
    return Observation(key=f"file:{change.file_id}", state={"change": dict(change.document)})


def observe_file(file: File, document: Mapping[str, Any], *, remembers: bool) -> Observation:
    """The observation of a file in a listing.

    Args:
        file: the file.
        document: as Drive sent it.
        remembers: whether the file is to be remembered, if it is not known.
    """
    return Observation(key=f"file:{file.id}", state={"file": dict(document), "remembers": remembers})


def interpret(
    ctx: SyncContext,
    window: Window,
    observation: Observation,
    previous: Mapping[str, Any] | None,
) -> Interpretation:
    """The signal of an observation, and what to remember."""
    account = ctx.connection.account.id
    if "change" not in observation.state:
        return _interpret_listed(account, window, observation.state, previous)
    known = read_snapshot(previous)
    change = read_change(read_object(observation.state["change"]))
    if isinstance(change, str):
        return Interpretation(snapshot=previous)
    if change.file is None:
        return Interpretation(signals=(_removal(account, change, known),))
    drafts = [*_moves(account, change, change.file, known, window.floor)]
    if known is None or (known.modified_time, known.trashed) != (change.file.modified_time, change.file.trashed):
        contents = _contents(account, change.file, read_object(change.document.get("file")))
        # What a known file was long before us is not new; one that the log shows for the first time, or again, is.
        is_new = known is None or (known.trashed and not change.file.trashed)
        drafts = [*(one for one in contents if is_new or window.emits(one.occurred_at)), *drafts]
    return Interpretation(signals=tuple(drafts), snapshot=snapshot_of(change.file).to_state())


def _interpret_listed(
    account: str, window: Window, state: Mapping[str, Any], previous: Mapping[str, Any] | None
) -> Interpretation:
    """A listing reports creations and edits by their own times, whatever we knew.

    What we knew is kept: the change log still has to be compared with it. What a backfill shows for the first time the
    log has yet to report.
    """
    file = read_file(state.get("file"))
    if file is None:
        return Interpretation(snapshot=previous)
    drafts = [] if file.trashed else [*_contents(account, file, state["file"])]
    if state.get("remembers") is not True:
        return Interpretation(signals=tuple(drafts), snapshot=previous)
    known = read_snapshot(previous)
    if known is None:
        return Interpretation(signals=tuple(drafts), snapshot=_remember(file, window.high - CLOCK_DOUBT))
    if file.name != known.name and file.modified_at is not None and file.modified_at >= window.low:
        # The log that was lost would have shown it. A listing only has the time of the last edit, which a rename is.
        suffix = _rename_suffix(file, file.modified_time)
        drafts.append(_draft(account, file, SignalKind.FILE_RENAMED, file.modified_at, suffix, state["file"]))
        known = attrs.evolve(known, name=file.name)
    return Interpretation(signals=tuple(drafts), snapshot=known.to_state())


def _remember(file: File, token_at: datetime) -> dict[str, Any] | None:
    """What to remember of a listed file: nothing that the log may report after the token.

    Not its last edit if that may be later than the token, and nothing at all if it may have been shared later.
    """
    if file.shared_at is not None and file.shared_at >= token_at:
        return None
    snapshot = snapshot_of(file)
    if any(at is not None and at >= token_at for at in (file.created_at, file.modified_at)):
        snapshot = attrs.evolve(snapshot, modified_time="")
    return snapshot.to_state()


def _contents(account: str, file: File, document: Mapping[str, Any]) -> Iterator[SignalDraft]:
    """The file's creation and its last edit."""
    if file.created_at is not None:
        yield _draft(account, file, SignalKind.FILE_CREATED, file.created_at, "created", document)
    if file.modified_at is not None and (file.created_at is None or file.modified_at > file.created_at):
        suffix = f"updated:{file.modified_time}"
        yield _draft(account, file, SignalKind.FILE_UPDATED, file.modified_at, suffix, document)


def _moves(account: str, change: Change, file: File, known: Snapshot | None, floor: datetime) -> Iterator[SignalDraft]:
    """What the change says besides: where the file is now, and what it is called."""
    kind, at, suffix = _verdict(change, file, known, floor)
    if kind is None:
        return
    actor = (file.trasher or file.last_editor) if kind is SignalKind.FILE_TRASHED else file.last_editor
    yield _draft(account, file, kind, at, suffix, read_object(change.document.get("file")), actor=actor)


def _verdict(
    change: Change, file: File, known: Snapshot | None, floor: datetime
) -> tuple[SignalKind | None, datetime, str]:
    """Kind, instant and key, row by row of the second table above."""
    if file.trashed and (known is None or not known.trashed):
        at = file.trashed_at or change.at
        return SignalKind.FILE_TRASHED, at, f"trashed:{rfc3339(at)}"
    if known is not None and known.trashed and not file.trashed:
        return SignalKind.FILE_RESTORED, change.at, f"restored:{change.time}"
    if known is None and file.created_at is not None and file.created_at >= floor:
        return None, change.at, ""
    if known is None:
        at = file.shared_at or change.at
        return SignalKind.FILE_SHARED, at, f"visible:{rfc3339(at)}"
    if file.parents != known.parents:
        return SignalKind.FILE_MOVED, change.at, f"moved:{','.join(file.parents)}:{change.time}"
    if file.name != known.name:
        return SignalKind.FILE_RENAMED, change.at, _rename_suffix(file, change.time)
    return None, change.at, ""


def _rename_suffix(file: File, time: str) -> str:
    digest = hashlib.sha256(file.name.encode()).hexdigest()[:16]
    return f"renamed:{digest}:{time}"


def _draft(
    account: str,
    file: File,
    kind: SignalKind,
    at: datetime,
    suffix: str,
    document: Mapping[str, Any],
    *,
    actor: User | None = None,
) -> SignalDraft:
    derived: dict[str, Any] = {"is_folder": True} if file.is_folder else {}
    if file.shortcut_target is not None:
        derived["shortcut_target"] = file.shortcut_target
    who = actor or file.last_editor
    return SignalDraft(
        kind=kind,
        occurred_at=at,
        title=one_line(file.name) or file.id,
        url=file.url,
        actor=None if who is None else Actor(id=who.id, name=one_line(who.name) or who.id),
        subject=Subject("folder" if file.is_folder else "file", file.id, one_line(file.name) or file.id, file.url),
        container=_container(file),
        dedupe_key=f"gdrive:{account}:{file.id}:{suffix}",
        payload={**document, **({"derived": derived} if derived else {})},
    )


def _container(file: File) -> Container | None:
    """The folder or shared drive of the file. Drive gives only its id."""
    if file.drive_id is not None:
        return Container("shared_drive", file.drive_id, file.drive_id, _folder_url(file.drive_id))
    if file.parents:
        return Container("folder", file.parents[0], file.parents[0], _folder_url(file.parents[0]))
    return None


def _folder_url(identifier: str) -> str:
    return f"https://drive.google.com/drive/folders/{identifier}"


def _removal(account: str, change: Change, known: Snapshot | None) -> SignalDraft:
    name = (known and one_line(known.name)) or change.file_id
    url = (known and known.url) or file_url(change.file_id)
    is_folder = known is not None and known.mime_type == FOLDER
    derived = {"reason": DELETED_OR_LOST, **({"is_folder": True} if is_folder else {})}
    return SignalDraft(
        kind=SignalKind.FILE_DELETED,
        occurred_at=change.at,
        title=name,
        url=url,
        subject=Subject("folder" if is_folder else "file", change.file_id, name, url),
        dedupe_key=f"gdrive:{account}:{change.file_id}:deleted:{change.time}",
        payload={**change.document, "derived": derived},
    )
