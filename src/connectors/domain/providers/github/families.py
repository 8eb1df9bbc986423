"""How GitHub's events fall into families, each accounted for by itself.

Push tells of all of them. Reading shows the rest only where a list keeps it for ever: of a thing that was closed twice,
only the last time, and of stars and members no time at all. See README.md, "What only push shows".
"""

from connectors.domain.model.signal import SignalKind
from connectors.domain.providers.contract import Family

_K = SignalKind


def _pushed_only(name: str, kinds: set[SignalKind], *events: str) -> Family:
    return Family(name=name, kinds=frozenset(kinds), events=frozenset(events), is_read=False, is_backfilled=False)


FAMILIES = (
    Family(name="issues", kinds=frozenset({_K.ISSUE_CREATED}), events=frozenset({"issues.opened"})),
    _pushed_only(
        "issue_changes",
        {_K.ISSUE_CLOSED, _K.ISSUE_REOPENED, _K.ISSUE_ASSIGNED},
        "issues.closed",
        "issues.reopened",
        "issues.assigned",
    ),
    Family(
        name="pull_requests",
        kinds=frozenset({_K.PULL_REQUEST_OPENED}),
        events=frozenset({"pull_request.opened"}),
    ),
    _pushed_only(
        "pull_request_changes",
        {
            _K.PULL_REQUEST_CLOSED,
            _K.PULL_REQUEST_MERGED,
            _K.PULL_REQUEST_REOPENED,
            _K.PULL_REQUEST_READY,
            _K.REVIEW_REQUESTED,
        },
        "pull_request.closed",
        "pull_request.reopened",
        "pull_request.ready_for_review",
        "pull_request.review_requested",
    ),
    Family(
        name="comments",
        kinds=frozenset({_K.ISSUE_COMMENTED, _K.PULL_REQUEST_COMMENTED}),
        events=frozenset({"issue_comment", "pull_request_review_comment"}),
    ),
    Family(name="reviews", kinds=frozenset({_K.PULL_REQUEST_REVIEWED}), events=frozenset({"pull_request_review"})),
    Family(name="pushes", kinds=frozenset({_K.CODE_PUSHED}), events=frozenset({"push"})),
    Family(name="releases", kinds=frozenset({_K.RELEASE_PUBLISHED}), events=frozenset({"release"})),
    _pushed_only("members", {_K.MEMBER_JOINED}, "member", "organization"),
    _pushed_only("stars", {_K.REPOSITORY_STARRED}, "star"),
    _pushed_only("forks", {_K.REPOSITORY_FORKED}, "fork"),
)
"""Each kind in one, and each event of the table."""
