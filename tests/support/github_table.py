"""GitHub's events as its documentation describes them: what a payload must become, independent of the tested code.

A row is looked up by event and action. Everything that has no row is to be ignored.
"""

from datetime import UTC, datetime

NO_TIME = "when it was received"
"""The payload has no time: the signal's is the moment of the delivery."""


def epoch(text):
    """An RFC 3339 instant, or GitHub's own number of a push, in whole seconds."""
    return text if isinstance(text, int) else int(datetime.fromisoformat(text).timestamp())


def instant(seconds):
    """As the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def expect(event, payload, delivery_id):
    """What the payload must become, as members of `GET /signals`; None if it is to be ignored."""
    row = _row(event, payload, delivery_id)
    if row is None:
        return None
    kind, subject, at, key, words = row
    sender = payload.get("sender")
    name = payload.get("pusher", {}).get("name")
    container = _container(payload)
    return {
        "kind": kind,
        "dedupe_key": f"github:{key}",
        "occurred_at": at if at is NO_TIME else instant(epoch(at)),
        "url": _url(event, payload, subject),
        "actor": {"id": str(sender["id"]), "name": sender["login"], "url": sender["html_url"]}
        if sender
        else {"id": name, "name": name, "url": None},
        "subject": subject,
        "container": container,
        "title words": words,
    }


def _url(event, payload, subject):
    if event == "push":
        return payload["compare"]
    return subject["url"]


def _container(payload):
    repository = payload.get("repository")
    if repository:
        name = repository["full_name"]
        return {"type": "repository", "id": str(repository["id"]), "name": name, "url": repository["html_url"]}
    organization = payload["organization"]
    page = f"https://github.com/{organization['login']}"
    return {"type": "organization", "id": str(organization["id"]), "name": organization["login"], "url": page}


def _thing(kind, identity, name, url):
    return {"type": kind, "id": str(identity), "name": name, "url": url}


def _row(event, payload, delivery_id):  # noqa: PLR0911 - a table, one row after the other
    action = payload.get("action")
    repo = payload.get("repository", {}).get("id")
    match event, action:
        case "issues", "opened" | "closed" | "reopened" | "assigned":
            return _issue(action, payload, f"{repo}:issue:{payload['issue']['number']}")
        case "issue_comment", "created":
            kind = "pull_request_commented" if payload["issue"].get("pull_request") else "issue_commented"
            where = "pull request" if payload["issue"].get("pull_request") else "issue"
            return _comment(kind, where, payload["issue"]["number"], payload["comment"], f"{repo}:comment")
        case "pull_request_review_comment", "created":
            number = payload["pull_request"]["number"]
            where = "diff of pull request"
            return _comment("pull_request_commented", where, number, payload["comment"], f"{repo}:review_comment")
        case "pull_request", "opened" | "closed" | "reopened" | "ready_for_review" | "review_requested":
            return _pull(action, payload, f"{repo}:pull:{payload['pull_request']['number']}")
        case "pull_request_review", "submitted":
            review, number = payload["review"], payload["pull_request"]["number"]
            if review["state"] == "commented" and not review["body"]:
                return None
            thing = _thing("review", review["id"], f"Review of pull request #{number}", review["html_url"])
            return (
                "pull_request_reviewed",
                thing,
                review["submitted_at"],
                f"{repo}:review:{review['id']}",
                [f"#{number}"],
            )
        case "push", None:
            return _push(payload, repo)
        case "release", "published":
            release = payload["release"]
            if release["draft"]:
                return None
            name = release["name"] or release["tag_name"]
            thing = _thing("release", release["id"], name, release["html_url"])
            key = f"{repo}:release:{release['id']}:published"
            return "release_published", thing, release["published_at"], key, [name]
        case "member", "added":
            member = payload["member"]
            thing = _thing("user", member["id"], member["login"], member["html_url"])
            return "member_joined", thing, NO_TIME, f"{repo}:member:{member['id']}:{delivery_id}", [member["login"]]
        case "organization", "member_added":
            user, org = payload["membership"]["user"], payload["organization"]["id"]
            thing = _thing("user", user["id"], user["login"], user["html_url"])
            return "member_joined", thing, NO_TIME, f"org:{org}:member:{user['id']}:{delivery_id}", [user["login"]]
        case "star", "created":
            at, who = payload["starred_at"], payload["sender"]
            thing = _container(payload)
            return "repository_starred", thing, at, f"{repo}:star:{who['id']}:{epoch(at)}", [who["login"]]
        case "fork", None:
            fork = payload["forkee"]
            thing = _thing("repository", fork["id"], fork["full_name"], fork["html_url"])
            return "repository_forked", thing, fork["created_at"], f"{repo}:fork:{fork['id']}", [fork["full_name"]]
        case _:
            return None


def _issue(action, payload, key):
    issue = payload["issue"]
    kind = {"opened": "issue_created"}.get(action, f"issue_{action}")
    at = {"opened": issue["created_at"], "closed": issue["closed_at"]}.get(action, issue["updated_at"])
    ending = {
        "opened": "created",
        "assigned": f"assigned:{payload.get('assignee', {}).get('id')}:{epoch(at)}",
    }.get(action, f"{action}:{epoch(at)}")
    thing = _thing("issue", issue["number"], issue["title"], issue["html_url"])
    return kind, thing, at, f"{key}:{ending}", [f"#{issue['number']}", issue["title"]]


def _pull(action, payload, key):
    pull = payload["pull_request"]
    thing = _thing("pull_request", pull["number"], pull["title"], pull["html_url"])
    words = [f"#{pull['number']}", pull["title"]]
    updated = pull["updated_at"]
    if action == "opened":
        return "pull_request_opened", thing, pull["created_at"], f"{key}:opened", words
    if action == "closed" and pull["merged"]:
        return "pull_request_merged", thing, pull["merged_at"], f"{key}:merged", words
    if action == "closed":
        closed = pull["closed_at"]
        return "pull_request_closed", thing, closed, f"{key}:closed:{epoch(closed)}", words
    if action == "reopened":
        return "pull_request_reopened", thing, updated, f"{key}:reopened:{epoch(updated)}", words
    if action == "ready_for_review":
        return "pull_request_ready", thing, updated, f"{key}:ready:{epoch(updated)}", words
    reviewer = payload.get("requested_reviewer") or payload["requested_team"]
    words.append(reviewer.get("login") or reviewer["name"])
    return "review_requested", thing, updated, f"{key}:review_requested:{reviewer['id']}:{epoch(updated)}", words


def _comment(kind, where, number, comment, key):
    thing = _thing("comment", comment["id"], f"Comment on {where} #{number}", comment["html_url"])
    return kind, thing, comment["created_at"], f"{key}:{comment['id']}:created", [f"#{number}"]


def _push(payload, repo):
    ref = payload["ref"]
    if payload["deleted"] or not ref.startswith("refs/heads/"):
        return None
    branch = ref.removeprefix("refs/heads/")
    thing = _thing("branch", ref, branch, f"{payload['repository']['html_url']}/tree/{branch}")
    key = f"{repo}:push:{ref}:{payload['before']}:{payload['after']}"
    return "code_pushed", thing, payload["repository"]["pushed_at"], key, [branch]
