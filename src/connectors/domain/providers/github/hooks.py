"""The URLs of hooks, and calls that change something and follow a repository that has moved."""

import re
from http import HTTPStatus

import attrs

from connectors.domain.model.errors import ValidationError
from connectors.domain.model.http import Conversation, HttpRequest, HttpResponse
from connectors.domain.model.webhook import Subscription
from connectors.domain.providers.github.endpoints import Endpoints

REDIRECTS = frozenset({HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT})

_NAME = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]{1,100}"
REPOSITORY = re.compile(f"{_NAME}/{_NAME}")
"""`owner/name` as GitHub allows it."""
ORGANIZATION = re.compile(_NAME)
"""An organization's name as GitHub allows it."""


def hooks_url(endpoints: Endpoints, target: str) -> str:
    """The URL of a target's hooks.

    Raises:
        ValidationError: the target is not one of ours.
    """
    kind, _, name = target.partition(":")
    if kind == "repo" and REPOSITORY.fullmatch(name):
        return endpoints.repository_url(name, "hooks")
    if kind == "org" and ORGANIZATION.fullmatch(name):
        return endpoints.api_url("orgs", name, "hooks")
    raise ValidationError("A webhook's target is `repo:owner/name` or `org:name`.")


def hook_url(endpoints: Endpoints, subscription: Subscription) -> str | None:
    """The URL of a subscription's hook; None if GitHub never confirmed one."""
    if subscription.external_id is None or not is_id(subscription.external_id):
        return None
    return f"{hooks_url(endpoints, subscription.target)}/{subscription.external_id}"


def is_id(text: str) -> bool:
    """Whether it is all digits, as GitHub's ids in URLs are."""
    return text.isascii() and text.isdecimal()


def follow(request: HttpRequest) -> Conversation[HttpResponse]:
    """The answer to a request that changes something, repeated at the new URL if the repository has moved."""
    response = yield request
    if response.status in REDIRECTS and "location" in response.headers:
        response = yield attrs.evolve(request, url=response.headers["location"])
    return response
