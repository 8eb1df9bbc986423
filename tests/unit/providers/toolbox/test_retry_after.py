"""`Retry-After` means the same to every provider, and so do HTTP-dates."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.model.errors import RateLimitedError
from connectors.domain.model.http import HttpRequest, HttpResponse
from connectors.domain.providers.registry import installed_providers
from connectors.domain.providers.toolbox.http_dates import read_http_date
from connectors.domain.providers.toolbox.retry_after import LONGEST_WAIT, SHORTEST_WAIT, read_retry_after

NOW = datetime(2026, 3, 4, 5, 6, 7, 890_123, tzinfo=UTC)
PROVIDERS = tuple(installed_providers())
FORMS = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
READABLE = [
    ("1", 1),
    (" 30 ", 30),
    ("0030", 30),
    ("86400", 86_400),
    ("0", 1),
    ("86401", 86_400),
    ("9" * 22, 86_400),
    ("9" * 5000, 86_400),
    ("0" * 5000 + "7", 7),
    ("Wed, 04 Mar 2026 05:07:07 GMT", 59.109_877),
    ("Wed, 04 Mar 2026 05:06:07 GMT", 1),
    ("Wed, 04 Mar 2020 05:06:07 GMT", 1),
    ("Thu, 01 Jan 1970 00:00:00 GMT", 1),
    ("Wed, 04 Mar 2099 05:06:07 GMT", 86_400),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
]
UNREADABLE = [None, "", " ", "-5", "+5", "1.5", "1e3", "garbage", "soon", "²", "٣", "1 2", "1,2", "Jan 5", "a" * 100_000, "\0",
              "Fri, 31 Dec 99999 23:59:59 GMT", "Wed, 99 Mar 2026 05:06:07 GMT"]  # fmt: skip


@pytest.mark.parametrize(("value", "seconds"), READABLE, ids=range(len(READABLE)))
def test_what_it_says_is_waited_for_within_bounds(value, seconds):
    """A number of any length or a date of any year: at least a second, at most a day."""
    assert read_retry_after(value, NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("value", UNREADABLE, ids=range(len(UNREADABLE)))
def test_nonsense_is_none(value):
    """For anything but whole seconds and dates the caller chooses the pause."""
    assert read_retry_after(value, NOW) is None


@given(st.none() | st.text(st.characters(exclude_categories=()), max_size=80) | st.integers().map(str))
def test_any_header_is_an_instant_within_bounds_or_none(value):
    """Nothing is raised, and nobody waits for years or asks in a loop."""
    at = read_retry_after(value, NOW)
    assert at is None or NOW + SHORTEST_WAIT <= at <= NOW + LONGEST_WAIT


def refusal(provider, value):
    """The error for a 429 with this header."""
    headers = {} if value is None else {"Retry-After": value}
    request = HttpRequest(method="GET", url="https://api.example/x")
    error = provider.limits.read_failure(request, HttpResponse(status=429, headers=headers, body=b"{}"), NOW)
    assert isinstance(error, RateLimitedError)
    return error.retry_at


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.slug)
def test_every_provider_waits_the_same(provider):
    """A refusal with a readable header ends when the header says."""
    waits = {value: refusal(provider, value) for value, _ in READABLE}
    assert waits == {value: NOW + timedelta(seconds=seconds) for value, seconds in READABLE}


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.slug)
def test_every_provider_has_a_pause_of_its_own_for_nonsense(provider):
    """An unreadable header is the same as none: the vendor's usual pause, and never no pause."""
    usual = refusal(provider, None)
    assert usual > NOW + SHORTEST_WAIT
    assert {value: refusal(provider, value) for value in UNREADABLE} == dict.fromkeys(UNREADABLE, usual)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2068, 1, 1)), st.sampled_from(FORMS))  # noqa: DTZ001 - HTTP's are UTC
def test_all_three_forms_of_a_date_are_read(at, form):
    """IMF-fixdate, RFC 850's and asctime's name the same instant."""
    at = at.replace(microsecond=0)
    assert read_http_date(at.strftime(form)) == at.replace(tzinfo=UTC)


@given(st.none() | st.text(st.characters(exclude_categories=()), max_size=80))
def test_any_text_is_an_aware_instant_or_none(text):
    """No text raises."""
    at = read_http_date(text)
    assert at is None or at.utcoffset() == timedelta(0)
