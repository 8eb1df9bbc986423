"""The part of Zoho Mail's REST API that is read: accounts, folders, list, search, details."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, jsonify, make_response, request
from werkzeug.wrappers import Response

from connectors_sandbox.zoho.mail import Mailbox
from connectors_sandbox.zoho.oauth import bearer
from connectors_sandbox.zoho.world import ZohoWorld

View = Callable[..., Any]
MAX_LIMIT = 200


class MailRefusedError(Exception):
    """An error response."""

    def __init__(self, status: int, code: str, more: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.document = {
            "status": {"code": status, "description": "Invalid Input" if status == 400 else "Error"},  # noqa: PLR2004
            "data": {"errorCode": code, "moreInfo": more},
        }


def add_mail_routes(blueprint: Blueprint, world: ZohoWorld) -> None:
    """Mount `/<data centre>/mail/api`."""
    for path, scope, view in VIEWS:
        _mount(blueprint, world, path, scope, view)


def _mount(blueprint: Blueprint, world: ZohoWorld, path: str, scope: str, view: View) -> None:
    def answer(dc: str, **arguments: str) -> Response:
        try:
            with world.lock:
                data = view(world, _mailbox(world, dc, scope), **arguments)
        except MailRefusedError as refusal:
            return make_response(jsonify(refusal.document), refusal.status)
        return jsonify({"status": {"code": 200, "description": "success"}, "data": data})

    blueprint.add_url_rule(f"/<dc>/mail/api/accounts{path}", f"mail{path}", answer, methods=["GET"])


def accounts(world: ZohoWorld, mailbox: Mailbox) -> list[dict[str, Any]]:
    """The user's accounts: one read through IMAP, and the mailbox."""
    base = f"{world.mail_url(mailbox.user.location)}/api/accounts"
    other = {"accountId": str(mailbox.account_id + 1), "zuid": mailbox.user.zuid, "type": "IMAP_ACCOUNT"}
    return [other, mailbox.to_account(base)]


def folders(_: ZohoWorld, mailbox: Mailbox, account: str) -> list[dict[str, Any]]:
    """The folders of the mailbox."""
    _own(mailbox, account)
    return [
        {"folderId": key, "folderName": name, "path": mailbox.path(key), "folderType": kind, "imapAccess": True}
        for key, (name, kind) in mailbox.folders.items()
    ]


def view(world: ZohoWorld, mailbox: Mailbox, account: str) -> list[dict[str, Any]]:
    """A page of a list of messages. Zoho documents no delay; public connectors read 5 to 15 minutes again."""
    _own(mailbox, account)
    folder = request.args.get("folderId")
    if folder is not None and folder not in mailbox.folders:
        raise MailRefusedError(404, "FOLDER_NOT_EXISTS", "no such folder")
    rows = [mail for mail in mailbox.mails.values() if folder in (None, mail.folder_id)]
    if "zoho" in world.core.index_lags:
        rows = [mail for mail in rows if world.core.is_indexed("zoho", mail.added_at)]
    is_ascending = request.args.get("sortorder", "false") == "true"
    rows.sort(key=lambda mail: (mail.received_ms, mail.id), reverse=not is_ascending)
    page = [mail.to_row() for mail in _slice(rows)]
    if mailbox.between_pages > 0:
        mailbox.between_pages -= 1
        world.receive_mail(mailbox.user.email, f"{mailbox.between_subject} {mailbox.between_pages}")
    return page


def search(world: ZohoWorld, mailbox: Mailbox, account: str) -> list[dict[str, Any]]:
    """Messages that arrived after an instant, outside spam and trash."""
    _own(mailbox, account)
    if request.args.get("searchKey") != "newMails":
        raise MailRefusedError(400, "INVALID_PARAMETER", "the sandbox searches for newMails only")
    hidden = {mailbox.folder_id("Spam"), mailbox.folder_id("Trash"), *mailbox.deleted_folders}
    after = int(request.args.get("receivedTime", "0"))
    rows = [one for one in mailbox.mails.values() if one.received_ms > after and one.folder_id not in hidden]
    rows.sort(key=lambda mail: (mail.received_ms, mail.id), reverse=True)
    base = f"{world.mail_url(mailbox.user.location)}/api/accounts/{account}"
    return [mail.to_found(base) for mail in _slice(rows)]


def details(_: ZohoWorld, mailbox: Mailbox, account: str, folder: str, message: str) -> dict[str, Any]:
    """One message's envelope, if the path names its folder."""
    _own(mailbox, account)
    mail = mailbox.mails.get(int(message)) if message.isdigit() else None
    if mail is None or mail.folder_id != folder:
        raise MailRefusedError(404, "MESSAGE_NOT_EXISTS", "no such message")
    return mail.to_row()


def _mailbox(world: ZohoWorld, dc: str, scope: str) -> Mailbox:
    grant = world.auth.find_access(bearer(), dc)
    if grant is None:
        raise MailRefusedError(401, "INVALID_OAUTHTOKEN")
    if not world.mail_limiter.admits(grant.user.email):
        raise MailRefusedError(world.throttle_status, "THROTTLE", "You have exceeded the URL throttle limits")
    if scope not in grant.scopes:
        raise MailRefusedError(404, "URL_RULE_NOT_CONFIGURED")
    return world.mailboxes[grant.user.email]


def _own(mailbox: Mailbox, account: str) -> None:
    if account != str(mailbox.account_id):
        raise MailRefusedError(404, "ACCOUNT_NOT_EXISTS", f"Account id {account} is invalid")


def _slice(rows: list[Any]) -> list[Any]:
    try:
        start, limit = int(request.args.get("start", "1")), int(request.args.get("limit", "10"))
    except ValueError:
        start = limit = 0
    if start < 1 or not 1 <= limit <= MAX_LIMIT:
        raise MailRefusedError(400, "INVALID_PARAMETER", "start or limit")
    return rows[start - 1 : start - 1 + limit]


VIEWS: tuple[tuple[str, str, View], ...] = (
    ("", "ZohoMail.accounts.READ", accounts),
    ("/<account>/folders", "ZohoMail.folders.READ", folders),
    ("/<account>/messages/view", "ZohoMail.messages.READ", view),
    ("/<account>/messages/search", "ZohoMail.messages.READ", search),
    ("/<account>/folders/<folder>/messages/<message>/details", "ZohoMail.messages.READ", details),
)
"""Path, scope and view of every supported method."""
