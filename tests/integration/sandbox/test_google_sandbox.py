"""Google's own client library works against the sandbox, and its discovery documents describe every answer."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

googleapiclient = pytest.importorskip("googleapiclient")

import jsonschema  # noqa: E402
from google.oauth2.credentials import Credentials  # noqa: E402
from googleapiclient.discovery import build_from_document  # noqa: E402
from googleapiclient.errors import HttpError  # noqa: E402

from connectors_sandbox import SandboxServer, create_sandbox  # noqa: E402

DANA, LEE = "dana@x.com", "lee@y.com"
CLIENT = ("sandbox-google.apps.googleusercontent.com", "GOCSPX-sandbox-google")
REDIRECT = "https://core.example/callback"
AUTH = "https://www.googleapis.com/auth/"
SCOPES = f"openid email {AUTH}drive.readonly {AUTH}calendar.readonly {AUTH}gmail.readonly"
DOCUMENTS = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"


def load(name):
    return json.loads((DOCUMENTS / f"{name}.json").read_text())


def to_schema(document):
    """The discovery document's schemas as JSON Schema, in which nothing undescribed may appear."""

    def convert(node):
        if isinstance(node, list):
            return [convert(one) for one in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return {"$ref": f"#/$defs/{node['$ref']}"}
        kept = {key: convert(value) for key, value in node.items() if key in {"type", "items", "enum"}}
        if kept.get("type") == "any":
            kept.pop("type")
        if "properties" in node:
            kept["properties"] = {name: convert(value) for name, value in node["properties"].items()}
            kept["additionalProperties"] = False
        elif "additionalProperties" in node:
            kept["additionalProperties"] = convert(node["additionalProperties"])
        if node.get("format") in {"int64", "uint64"}:
            kept["pattern"] = "^[0-9]+$"
        return kept

    return {name: convert(schema) for name, schema in document["schemas"].items()}


@pytest.fixture(scope="module")
def documents():
    return {name: load(name) for name in ("drive.v3", "calendar.v3", "gmail.v1")}


@pytest.fixture
def server():
    with SandboxServer(create_sandbox(auto_consent=True)) as running:
        for email in (DANA, LEE):
            running.sandbox.google.add_user(email)
        yield running


@pytest.fixture
def world(server):
    return server.sandbox.google


def consent(base, email=DANA, scope=SCOPES, **more):
    params = {
        "client_id": CLIENT[0],
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "scope": scope,
        "access_type": "offline",
        "prompt": "consent",
        "state": "st",
        "login_hint": email,
        **more,
    }
    answer = requests.get(f"{base}/o/oauth2/v2/auth", params=params, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def exchange(base, code, **more):
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "client_id": CLIENT[0],
        "client_secret": CLIENT[1],
        **more,
    }
    return requests.post(f"{base}/token", data=fields, timeout=10)


def refresh(base, token):
    fields = {"grant_type": "refresh_token", "refresh_token": token, "client_id": CLIENT[0], "client_secret": CLIENT[1]}
    return requests.post(f"{base}/token", data=fields, timeout=10)


@pytest.fixture
def google(server, documents):
    """Google's clients for the three APIs, which check every answer against the discovery documents."""
    base = server.base_url("google")
    tokens = exchange(base, consent(base)["code"]).json()
    credentials = Credentials(
        tokens["access_token"],
        refresh_token=tokens["refresh_token"],
        token_uri=f"{base}/token",
        client_id=CLIENT[0],
        client_secret=CLIENT[1],
    )
    clients = {}
    for name, document in documents.items():
        path = "" if name.startswith("gmail") else document["servicePath"]
        clients[name.partition(".")[0]] = build_from_document(
            document, credentials=credentials, client_options={"api_endpoint": f"{base}/{path}"}
        )
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture
def check(documents):
    schemas = {name.partition(".")[0]: to_schema(document) for name, document in documents.items()}

    def validate(api, schema, answer):
        # Not `jsonschema.validate`, which checks the vendor's whole document each time.
        jsonschema.Draft202012Validator({"$ref": f"#/$defs/{schema}", "$defs": schemas[api]}).validate(answer)
        return answer

    return validate


def call(check, api, schema, request):
    return check(api, schema, request.execute())


def test_the_client_library_reads_drive(google, world, check):
    """About, start token, listing with paging, changes with removals, one file, shared drives: as documented."""
    drive = google["drive"]
    call(check, "drive", "About", drive.about().get(fields="user(displayName,emailAddress,permissionId)"))
    ids = [world.create_file(f"File {number}", by=DANA) for number in range(5)]
    team = world.add_shared_drive("Team", [DANA])
    world.create_file("Shared", by=DANA, shared_drive=team)
    found, request = (
        [],
        drive.files().list(
            q="trashed = false and modifiedTime > '2020-01-01T00:00:00Z'",
            pageSize=2,
            orderBy="modifiedTime desc",
            includeItemsFromAllDrives=True,
            supportsAllDrives=True,
            fields="*",
        ),
    )
    while request is not None:
        page = call(check, "drive", "FileList", request)
        found += page["files"]
        request = drive.files().list_next(request, page)
    assert len(found) == 6
    call(check, "drive", "File", drive.files().get(fileId=ids[0], fields="*"))
    assert set(drive.files().get(fileId=ids[0]).execute()) == {"kind", "id", "name", "mimeType"}
    call(check, "drive", "DriveList", drive.drives().list(pageSize=100))
    token = call(check, "drive", "StartPageToken", drive.changes().getStartPageToken())["startPageToken"]
    world.trash_file(ids[0], by=DANA)
    world.edit_file(ids[1], by=DANA)
    world.edit_file(ids[1], by=DANA)
    world.delete_file(ids[2], by=DANA)
    changes, request = [], drive.changes().list(pageToken=token, pageSize=1, fields="*")
    while request is not None:
        page = call(check, "drive", "ChangeList", request)
        changes += page["changes"]
        request = drive.changes().list_next(request, page)
    assert [(one["fileId"], one["removed"]) for one in changes] == [
        (ids[0], False),
        (ids[1], False),
        (ids[2], True),
    ]
    assert "newStartPageToken" in page
    assert "parents" not in drive.changes().list(pageToken=token).execute()["changes"][0]["file"]


def test_the_client_library_reads_calendars(google, world, check):
    """The list, a full pass with empty pages between, an incremental one with a stub, and 410: as documented."""
    calendar = google["calendar"]
    world.calendars.sends_empty_pages = True
    world.calendars.stub_share = 1.0
    call(check, "calendar", "CalendarList", calendar.calendarList().list(minAccessRole="reader"))
    call(check, "calendar", "CalendarListEntry", calendar.calendarList().get(calendarId="primary"))
    ids = [world.create_event(f"Event {number}", by=DANA, attendees=[LEE]) for number in range(5)]
    fixed = {"calendarId": DANA, "showDeleted": True, "singleEvents": False, "maxResults": 2}
    seen, sizes, request = [], [], calendar.events().list(**fixed)
    while request is not None:
        page = call(check, "calendar", "Events", request)
        sizes.append(len(page["items"]))
        seen += [item["id"] for item in page["items"]]
        request = calendar.events().list_next(request, page)
    assert sorted(seen) == sorted(ids)
    assert 0 in sizes
    world.cancel_event(ids[0], calendar_id=DANA)
    later = call(check, "calendar", "Events", calendar.events().list(**fixed, syncToken=page["nextSyncToken"]))
    assert [(item["id"], item["status"], "updated" in item) for item in later["items"]] == [
        (ids[0], "cancelled", False)
    ]
    call(check, "calendar", "Event", calendar.events().get(calendarId=DANA, eventId=ids[1]))
    with pytest.raises(HttpError) as caught:
        calendar.events().list(**fixed, syncToken=page["nextSyncToken"], orderBy="updated").execute()
    assert caught.value.status_code == 400
    for with_reason in (True, False):
        world.expire_sync_tokens(DANA, with_reason=with_reason)
        with pytest.raises(HttpError) as caught:
            calendar.events().list(**fixed, syncToken=later["nextSyncToken"]).execute()
        assert caught.value.status_code == 410
        assert ("fullSyncRequired" in caught.value.content.decode()) is with_reason


def test_the_client_library_reads_mail(google, world, check):
    """Profile, listing by date, metadata, history by type, labels, and 404 for what has lapsed: as documented."""
    users = google["gmail"].users()
    start = call(check, "gmail", "Profile", users.getProfile(userId="me"))["historyId"]
    assert "history" not in users.history().list(userId="me", startHistoryId=start).execute()
    world.receive_email(DANA, sender=LEE, subject="Ancient", age_days=60)
    one = world.receive_email(DANA, sender=LEE, subject="Hello")
    world.read_email(DANA, one)
    two = world.send_email(DANA, to=LEE, subject="Re: Hello")
    world.delete_email(DANA, two)
    after = int((world.core.clock.now() - timedelta(days=1)).timestamp())
    listed = call(
        check, "gmail", "ListMessagesResponse", users.messages().list(userId="me", q=f"after:{after} -in:chats")
    )
    assert [message["id"] for message in listed["messages"]] == [one]
    message = call(
        check,
        "gmail",
        "Message",
        users.messages().get(userId="me", id=one, format="metadata", metadataHeaders=["From", "Subject"]),
    )
    assert {header["name"].lower() for header in message["payload"]["headers"]} == {"from", "subject"}
    history = call(check, "gmail", "ListHistoryResponse", users.history().list(userId="me", startHistoryId=start))
    kinds = [
        next(key for key in record if key.startswith(("messagesA", "messagesD", "labels")))
        for record in history["history"]
    ]
    assert kinds == ["messagesAdded", "labelsRemoved", "messagesAdded", "messagesDeleted"]
    only = users.history().list(userId="me", startHistoryId=start, historyTypes=["messageDeleted"]).execute()
    assert len(only["history"]) == 1
    call(check, "gmail", "ListLabelsResponse", users.labels().list(userId="me"))
    world.expire_history(DANA)
    with pytest.raises(HttpError) as caught:
        users.history().list(userId="me", startHistoryId=start).execute()
    assert caught.value.status_code == 404


def test_files_come_and_go_as_drive_documents(google, world, check):
    """A corpus has what is the user's own, an import keeps its times, a new file is listed late, a left drive is told."""
    drive, now = google["drive"], world.core.clock.now()
    team = world.add_shared_drive("Team", [DANA, LEE])
    world.create_file("Of Lee", by=LEE, shared_drive=team)
    mine = world.create_file("Of Dana", by=DANA, shared_drive=team)
    both = {"includeItemsFromAllDrives": True, "supportsAllDrives": True}

    def names(**how):
        answer = call(check, "drive", "FileList", drive.files().list(**both, orderBy="modifiedTime desc", **how))
        return sorted(file["name"] for file in answer["files"])

    assert names() == names(corpora="user") == ["Of Dana"]
    assert names(corpora="drive", driveId=team) == names(corpora="allDrives") == ["Of Dana", "Of Lee"]
    token = drive.changes().getStartPageToken().execute()["startPageToken"]
    long_ago = datetime(1970, 1, 1, tzinfo=UTC)
    file = world.drive.create(by=DANA, name="Scan", created_at=long_ago, modified_at=now + timedelta(days=9999))
    world.core.index_lags["google"] = timedelta(minutes=5)
    assert names() == []
    world.core.index_lags.clear()
    assert names() == ["Of Dana", "Scan"]
    world.edit_file(file.id, by=DANA)
    assert abs(file.modified_at - now) < timedelta(minutes=1)
    world.leave_shared_drive(team, DANA)
    asked = drive.changes().list(pageToken=token, fields="*", **both)
    changes = call(check, "drive", "ChangeList", asked)["changes"]
    assert [(one.get("fileId"), one.get("driveId"), one["removed"]) for one in changes] == [
        (file.id, None, False),
        (None, team, True),
    ]
    assert changes[0]["file"]["createdTime"] == "1970-01-01T00:00:00.000Z"
    world.join_shared_drive(team, DANA)
    assert drive.files().get(fileId=mine, supportsAllDrives=True).execute()["name"] == "Of Dana"


def test_events_are_imported_and_occurrences_differ_as_calendar_documents(google, world, check):
    """An imported event may be of the year 0, an occurrence names its series, `updatedMin` filters, sharing ends."""
    events = google["calendar"].events()
    clock, calendar = world.core.clock, world.calendars.all[DANA]
    old = world.create_event("Old", by=DANA, age_days=30)
    series = calendar.events[world.create_event("Series", by=DANA, recurrence=["RRULE:FREQ=WEEKLY"])]
    world.calendars.add_copy(calendar, "Import", LEE, None, clock.now())
    moved = world.calendars.add_exception(calendar, series, "Moved", 1, is_cancelled=False)
    gone = world.calendars.add_exception(calendar, series, "Gone", 2, is_cancelled=True)
    listed = call(check, "calendar", "Events", events.list(calendarId=DANA, showDeleted=True))["items"]
    shown = {item["id"]: item for item in listed}
    assert next(item["created"] for item in listed if item.get("summary") == "Import") == "0000-12-31T00:00:00.000Z"
    assert shown[moved.id]["recurringEventId"] == shown[gone.id]["recurringEventId"] == series.id
    assert "updated" not in shown[gone.id]
    recent = (clock.now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert {item["id"] for item in events.list(calendarId=DANA, updatedMin=recent).execute()["items"]} == {*shown} - {
        old
    }
    world.add_calendar("team@group", "Team", owner=LEE)
    world.share_calendar("team@group", DANA)
    assert events.list(calendarId="team@group").execute()["items"] == []
    world.unshare_calendar("team@group", DANA)
    with pytest.raises(HttpError) as caught:
        events.list(calendarId="team@group").execute()
    assert caught.value.status_code == 404


def test_lists_may_be_shorter_than_asked(google, world, check):
    """A cap on pages holds for files, changes, events, messages and history, and paging still shows everything."""
    for number in range(5):
        world.create_file(f"File {number}", by=DANA)
        world.create_event(f"Event {number}", by=DANA)
        world.receive_email(DANA, sender=LEE, subject=f"Mail {number}")
    world.core.page_caps["google"] = 2
    users = google["gmail"].users()
    lists = [
        (google["drive"].files(), {"pageSize": 100}, "files"),
        (google["drive"].changes(), {"pageSize": 100, "pageToken": "1"}, "changes"),
        (google["calendar"].events(), {"maxResults": 100, "calendarId": DANA}, "items"),
        (users.messages(), {"maxResults": 100, "userId": "me"}, "messages"),
        (users.history(), {"maxResults": 100, "userId": "me", "startHistoryId": "100000"}, "history"),
    ]
    for resource, parameters, name in lists:
        sizes, request = [], resource.list(**parameters)
        while request is not None:
            answer = request.execute()
            sizes.append(len(answer[name]))
            request = resource.list_next(request, answer)
        assert sizes == [2, 2, 1], name


def test_imported_mail_keeps_its_date(google, world, check):
    """A message that is imported now is in history, and dated as the other service had dated it."""
    users = google["gmail"].users()
    start = users.getProfile(userId="me").execute()["historyId"]
    one = world.import_email(DANA, sender=LEE, subject="Old", received_at=datetime(1970, 1, 1, tzinfo=UTC))
    records = users.history().list(userId="me", startHistoryId=start).execute()["history"]
    assert [record["messagesAdded"][0]["message"]["id"] for record in records] == [one]
    message = call(check, "gmail", "Message", users.messages().get(userId="me", id=one, format="metadata"))
    assert message["internalDate"] == "0"


def test_channels_of_the_client_library(google, world, check, server):
    """Watching and stopping through the library: ids are used once, generated calendars refuse."""
    drive, calendar = google["drive"], google["calendar"]
    receiver = f"{server.url}/_sandbox/nowhere"
    token = drive.changes().getStartPageToken().execute()["startPageToken"]
    body = {"id": "c-1", "type": "web_hook", "address": receiver, "token": "t", "expiration": "99999999999999"}
    channel = call(check, "drive", "Channel", drive.changes().watch(pageToken=token, body=body))
    week = (world.core.clock.now() + timedelta(days=7)).timestamp() * 1000
    assert int(channel["expiration"]) <= week
    body2 = {**body, "id": "c-2", "expiration": None, "params": {"ttl": "3600"}}
    call(check, "calendar", "Channel", calendar.events().watch(calendarId=DANA, body=body2))
    world.add_calendar("holiday@group.v.calendar.google.com", "Holidays", owner=DANA, is_generated=True)
    refused = [
        (calendar.events().watch(calendarId=DANA, body=body2), "channelIdNotUnique"),
        (calendar.events().watch(calendarId=DANA, body={**body2, "id": "c-3", "address": "http://x.example"}), "push."),
        (
            calendar.events().watch(calendarId="holiday@group.v.calendar.google.com", body={**body2, "id": "c-4"}),
            "pushNotSupportedForRequestedResource",
        ),
    ]
    for request, reason in refused:
        with pytest.raises(HttpError) as caught:
            request.execute()
        assert caught.value.status_code == 400
        assert reason in caught.value.content.decode()
    stop = {"id": channel["id"], "resourceId": channel["resourceId"]}
    drive.channels().stop(body=stop).execute()
    with pytest.raises(HttpError) as caught:
        drive.channels().stop(body=stop).execute()
    assert caught.value.status_code == 404


def test_the_mailbox_has_one_watch(google, world, check):
    """The same topic renews, another is refused until the first is stopped."""
    users = google["gmail"].users()
    topic = "projects/sandbox/topics/gmail"
    world.pubsub.topics.add("projects/sandbox/topics/other")
    call(check, "gmail", "WatchResponse", users.watch(userId="me", body={"topicName": topic, "labelIds": ["INBOX"]}))
    users.watch(userId="me", body={"topicName": topic}).execute()
    other = users.watch(userId="me", body={"topicName": "projects/sandbox/topics/other"})
    with pytest.raises(HttpError) as caught:
        other.execute()
    assert caught.value.status_code == 400
    users.stop(userId="me").execute()
    other.execute()


def test_tokens_behave_as_googles(server, world):
    """Codes serve once and a second use ends what they gave, PKCE is checked, refreshing does not rotate, revocation ends all of the user's."""
    base = server.base_url("google")
    code = consent(base)["code"]
    first = exchange(base, code).json()
    assert {"access_token", "refresh_token", "id_token", "scope", "expires_in", "token_type"} == set(first)
    assert exchange(base, code).json()["error"] == "invalid_grant"
    assert refresh(base, first["refresh_token"]).json()["error"] == "invalid_grant"
    first = exchange(base, consent(base)["code"]).json()
    again = refresh(base, first["refresh_token"]).json()
    assert "refresh_token" not in again
    assert again["access_token"] != first["access_token"]
    challenged = consent(
        base, code_challenge="E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", code_challenge_method="S256"
    )
    assert exchange(base, challenged["code"], code_verifier="wrong").json()["error"] == "invalid_grant"
    challenged = consent(
        base, code_challenge="E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", code_challenge_method="S256"
    )
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
    assert exchange(base, challenged["code"], code_verifier=verifier).status_code == 200
    online = exchange(base, consent(base, access_type="online")["code"]).json()
    assert "refresh_token" not in online
    silent = exchange(base, consent(base, prompt="")["code"]).json()
    assert "refresh_token" not in silent  # without fresh consent a returning user gives none
    assert exchange(base, consent(base)["code"], client_secret="wrong").status_code == 401
    assert requests.post(f"{base}/revoke", data={"token": online["access_token"]}, timeout=10).status_code == 200
    assert requests.post(f"{base}/revoke", data={"token": online["access_token"]}, timeout=10).status_code == 400
    assert refresh(base, first["refresh_token"]).json()["error"] == "invalid_grant"
    denied = consent(base, deny="1")
    assert denied == {"error": "access_denied", "state": "st"}


def test_tokens_and_subscriptions_end_without_a_word(server, world):
    """Access and refresh tokens end early, a consent gives no refresh token, channels and watches vanish."""
    base = server.base_url("google")
    first = exchange(base, consent(base)["code"]).json()

    def status():
        headers = {"authorization": f"Bearer {first['access_token']}"}
        return requests.get(f"{base}/v1/userinfo", headers=headers, timeout=10).status_code

    assert status() == 200
    world.end_access_tokens(DANA)
    assert status() == 401
    first = refresh(base, first["refresh_token"]).json() | {"refresh_token": first["refresh_token"]}
    world.end_refresh_tokens(DANA)
    assert status() == 200
    assert refresh(base, first["refresh_token"]).json()["error"] == "invalid_grant"
    assert len(world.auth.live(DANA)) == 1
    world.end_access_tokens(DANA)
    assert world.auth.live(DANA) == []
    world.withhold_refresh_token(DANA)
    assert "refresh_token" not in exchange(base, consent(base)["code"]).json()
    first = exchange(base, consent(base)["code"]).json()
    assert "refresh_token" in first
    headers = {"authorization": f"Bearer {first['access_token']}"}
    channel = {"id": "one", "type": "web_hook", "address": "https://hooks.example/"}
    watched = {
        "drive/v3/changes/watch?pageToken=1": channel,
        "gmail/v1/users/me/watch": {"topicName": "projects/sandbox/topics/gmail"},
    }
    for path, body in watched.items():
        assert requests.post(f"{base}/{path}", json=body, headers=headers, timeout=10).status_code == 200
    opened = world.channels.live()[0]
    world.drop_subscriptions(DANA)
    assert (world.channels.live(), world.mail.get(DANA).watch) == ([], None)
    ids = {"id": opened.id, "resourceId": opened.resource_id}
    stopped = requests.post(f"{base}/drive/v3/channels/stop", json=ids, headers=headers, timeout=10)
    assert stopped.status_code == 404


def test_fewer_scopes_are_refused_by_name(server):
    """A granted subset opens only what it covers, with the detail that newer surfaces give."""
    base = server.base_url("google")
    tokens = exchange(base, consent(base, sandbox_scopes="openid")["code"]).json()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    answer = requests.get(f"{base}/drive/v3/changes/startPageToken", headers=headers, timeout=10)
    assert answer.status_code == 403
    assert answer.json()["error"]["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
    answer = requests.get(f"{base}/drive/v3/changes/startPageToken", headers={"Authorization": "Bearer x"}, timeout=10)
    assert answer.json()["error"]["errors"][0]["reason"] == "authError"
    assert requests.get(f"{base}/v1/userinfo", headers=headers, timeout=10).json()["email"] == DANA


def test_pushed_tokens_verify_with_the_published_keys(server, world):
    """PyJWT, which the sandbox does not use, takes its signatures; after a rotation both keys are published."""
    jwt = pytest.importorskip("jwt")
    base = server.base_url("google")
    subscription = world.add_push_subscription(f"{server.url}/nowhere", audience="aud")
    old = world.pubsub.sign(subscription, world.core.clock.now())
    world.rotate_keys()
    new = world.pubsub.sign(subscription, world.core.clock.now())
    answer = requests.get(f"{base}/oauth2/v3/certs", timeout=10)
    assert "max-age" in answer.headers["cache-control"]
    published = jwt.PyJWKSet.from_dict(answer.json())
    assert len(published.keys) == 2
    for token in (old, new):
        key = published[jwt.get_unverified_header(token)["kid"]]
        assert jwt.decode(token, key, algorithms=["RS256"], audience="aud")["email_verified"] is True


class Receiver:
    """A receiver of webhooks on loopback that answers as it is told."""

    def __init__(self):
        import threading
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        receiver = self
        self.seen, self.answers = [], []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                content = self.rfile.read(int(self.headers.get("content-length", 0)))
                receiver.seen.append(({name.lower(): value for name, value in self.headers.items()}, content))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/x"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver():
    with Receiver() as running:
        yield running


def test_notifications_are_bare_numbered_and_retried(google, world, server, receiver):
    """`sync` first, numbers that grow with gaps, bursts, and another try after 503 but not after 404."""
    world.sends_sync_early = True
    token = google["drive"].changes().getStartPageToken().execute()["startPageToken"]
    body = {"id": "c-9", "type": "web_hook", "address": receiver.url, "token": "secret"}
    google["drive"].changes().watch(pageToken=token, body=body).execute()
    assert [headers["x-goog-resource-state"] for headers, _ in receiver.seen] == ["sync"]  # before the answer
    world.channels.burst = 2
    world.create_file("File", by=DANA)
    receiver.answers[:] = [503, 404]
    server.sandbox.deliver_pending()
    assert len(receiver.seen) == 3
    server.sandbox.clock.advance(timedelta(seconds=2))
    server.sandbox.deliver_pending()
    numbers = [int(headers["x-goog-message-number"]) for headers, _ in receiver.seen]
    assert numbers[0] == 1
    assert numbers[1] < numbers[2]
    assert numbers[3] == numbers[1]  # the one that met 503
    assert {content for _, content in receiver.seen} == {b""}
    assert {headers["x-goog-channel-token"] for headers, _ in receiver.seen} == {"secret"}
    server.sandbox.clock.advance(timedelta(hours=2))
    world.create_file("Later", by=DANA)
    server.sandbox.deliver_pending()
    assert len(receiver.seen) == 4  # the channel has lapsed


def test_pushes_are_signed_and_come_back_until_taken(google, world, server, receiver):
    """The watch announces itself; a nack brings the same message again with its count; a second a mailbox, if asked."""
    world.add_push_subscription(receiver.url, audience="aud", has_dead_letters=True)
    receiver.answers[:] = [500, 200]
    google["gmail"].users().watch(userId="me", body={"topicName": "projects/sandbox/topics/gmail"}).execute()
    server.sandbox.deliver_pending()
    server.sandbox.clock.advance(timedelta(seconds=11))
    server.sandbox.deliver_pending()
    first, second = (json.loads(content) for _, content in receiver.seen)
    assert first["message"] == second["message"]
    assert (first["deliveryAttempt"], second["deliveryAttempt"]) == (1, 2)
    assert receiver.seen[0][0]["authorization"].startswith("Bearer ")
    world.pubsub.limits_rate = True
    for number in range(3):
        world.receive_email(DANA, sender=LEE, subject=str(number))
    assert server.sandbox.deliveries.pending() <= 2


def test_undescribed_answers_would_be_noticed(check):
    """The check bites: a field that the discovery document does not have, or one of another type, fails."""
    for document in ({"startPageToken": "1", "extra": 1}, {"startPageToken": 1}):
        with pytest.raises(jsonschema.ValidationError):
            check("drive", "StartPageToken", document)
