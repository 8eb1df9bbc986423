"""Readers of foreign values: whatever the input, they return None or a valid value."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.providers._google.ids import read_id as read_google_id
from connectors.domain.providers._zoho.ids import read_id as read_zoho_id
from connectors.domain.providers.jira.payloads import read_id as read_jira_id
from connectors.domain.providers.slack.payloads import read_id as read_slack_id
from connectors.domain.providers.toolbox import foreign, structure

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT | st.floats() | st.sampled_from(["9" * 5000, 10**400, ".."]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
ID_READERS = (read_google_id, read_zoho_id, read_jira_id, read_slack_id)
HALF = "\ud83d"


@given(ANY)
def test_objects_and_arrays(value):
    """The value itself where it is of the type, else an empty one; items of other types are left out."""
    assert foreign.read_object(value) == (value if isinstance(value, dict) else {})
    assert foreign.read_list(value) == (value if isinstance(value, list) else [])
    assert foreign.read_objects(value) == [one for one in foreign.read_list(value) if isinstance(one, dict)]
    assert None not in foreign.read_each(value, foreign.read_count)


@given(ANY)
def test_texts_can_be_stored_and_shown(value):
    """A text that is read is not blank, has no NUL and is UTF-8; a name and a line are on one line."""
    for read in (foreign.read_text, foreign.read_name, foreign.read_line, foreign.read_url):
        text = read(value)
        if text is None:
            continue
        assert isinstance(value, str)
        assert text.strip()
        assert "\0" not in text
        text.encode()
        if read is not foreign.read_text:
            assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (" a ", " a "),
        ("a\0b", "ab"),
        (f"a{HALF}b", "a?b"),
        ("\U0001f600", "\U0001f600"),
        ("", None),
        (" \n", None),
        ("\0", None),
        (5, None),
        (None, None),
        (True, None),
        (["a"], None),
    ],
)
def test_one_answer_for_odd_texts(value, text):
    """NUL is removed, half a character becomes a question mark, blanks and other types give None."""
    assert foreign.read_text(value) == text


def test_a_text_is_cut_where_the_vendor_would():
    """The limit counts the kept characters, and the caller sets it."""
    assert foreign.read_text("\0abc", 2) == "ab"
    assert foreign.read_text("  a", 2) is None


def test_half_a_character_stays_as_a_key_has_it():
    """The replacement can be U+FFFD, for keys that have always had it."""
    assert foreign.read_text(f"a{HALF}b", half_pair="\ufffd") == "a\ufffdb"


@pytest.mark.parametrize(
    ("value", "name"), [(" a\n b ", "a b"), ("a" * 9, "aaaaa"), ("\n", None), (f"{HALF}", "?"), (7, None)]
)
def test_names(value, name):
    """A name is for people: one line, single blanks, cut."""
    assert foreign.read_name(value, 5) == name


@given(ANY)
def test_ids_are_fit_for_keys_and_paths(value):
    """An id of any vendor is printable, of limited length, no path segment `.` or `..`, and was a text or number."""
    for read in ID_READERS:
        identifier = read(value)
        if identifier is None:
            continue
        assert identifier.isprintable()
        assert 0 < len(identifier) <= 1024
        assert identifier not in {".", ".."}
        assert identifier == value or identifier == str(value)
        assert not isinstance(value, bool)


@pytest.mark.parametrize(
    ("value", "google", "zoho", "jira", "slack"),
    [
        ("abc", "abc", "abc", "abc", "abc"),
        ("a" * 64, "a" * 64, "a" * 64, "a" * 64, "a" * 64),
        ("a" * 65, "a" * 65, "a" * 65, "a" * 65, None),
        ("a" * 129, "a" * 129, "a" * 129, None, None),
        ("a" * 257, "a" * 257, None, None, None),
        ("a" * 1025, None, None, None, None),
        (5, None, "5", "5", None),
        (2**64 - 1, None, str(2**64 - 1), str(2**64 - 1), None),
        (2**64, None, None, None, None),
        (-1, None, None, None, None),
        (True, None, None, None, None),
        (1.0, None, None, None, None),
        ("a b", "a b", None, None, None),
        ("a/b", "a/b", "a/b", None, None),
        ("ü", "ü", "ü", None, None),
        ("712020:6f@x", "712020:6f@x", "712020:6f@x", "712020:6f@x", None),
        ("a\0", None, None, None, None),
        (HALF, None, None, None, None),
        ("a\n", None, None, None, None),
        ("", None, None, None, None),
        (".", None, None, None, None),
        ("..", None, None, None, None),
        (None, None, None, None, None),
    ],
    ids=range(23),
)
def test_each_vendors_ids(value, google, zoho, jira, slack):
    """Ids are parts of dedupe keys: what each vendor's reader accepts does not change."""
    assert [read(value) for read in ID_READERS] == [google, zoho, jira, slack]


@pytest.mark.parametrize("value", ["https://x.example/a", "http://x.example"])
def test_web_links_are_shown(value):
    """A link that can be clicked is kept as it is."""
    assert foreign.read_url(value) == value


@pytest.mark.parametrize(
    "value", ["javascript:alert(1)", "//x", "https://x y", "https://x\n", f"https://{HALF}", "https://" + "x" * 2048, 5]
)
def test_other_links_are_not(value):
    """Scripts, blanks, halves of characters and endless texts are no links."""
    assert foreign.read_url(value) is None


@pytest.mark.parametrize(
    ("value", "count"),
    [(0, 0), ("0", 0), ("007", 7), (2**64 - 1, 2**64 - 1), (str(2**63), 2**63), ("9" * 20, 10**20 - 1)],
)
def test_counts(value, count):
    """A number is read from a JSON number or, for large ones, from a text of digits."""
    assert foreign.read_count(value) == count


@pytest.mark.parametrize(
    "value", [-1, "-1", "+1", " 1", "1_0", "1.0", 1.0, "²", "٣", "", "9" * 21, 2**64, True, None, [1], {}]
)
def test_what_is_no_count(value):
    """Signs, blanks, underscores, fractions, other scripts' digits and too many of them are no number."""
    assert foreign.read_count(value) is None


@given(ANY)
def test_instants_survive_the_way_back(value):
    """Milliseconds become an instant, and the instant becomes the same milliseconds."""
    millis = foreign.read_millis(value)
    assert (foreign.read_millis_instant(value) is None) is (millis is None)
    if millis is not None:
        assert foreign.instant_millis(foreign.millis_instant(millis)) == millis


def test_the_last_instant():
    """The calendar ends with the year 9999."""
    assert foreign.read_millis_instant(foreign.LATEST_MILLIS) == datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)
    assert foreign.read_millis_instant(foreign.LATEST_MILLIS + 1) is None


@pytest.mark.parametrize(("value", "seconds"), [(3600, 3600), ("3600", 3600), (1.5, 1.5), (315_360_000, 315_360_000)])
def test_lifetimes(value, seconds):
    """Seconds from now, as a number or as digits, up to ten years."""
    assert foreign.read_expiry(value, NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value", [0, -1, "-1", "x", None, True, [], 315_360_001, 10**400, "9" * 5000, 1e300, float("inf"), float("nan")]
)
def test_odd_lifetimes_are_unknown(value):
    """An invalid value does not cost us a token."""
    assert foreign.read_expiry(value, NOW) is None


# --- whole objects ---------------------------------------------------------------------------------------------------


@attrs.frozen
class Author:
    id: int
    login: str
    is_bot: bool = False


@attrs.frozen
class Note:
    author: Author
    written_at: datetime
    labels: tuple[str, ...] = ()
    title: str | None = None


NOTE = {"author": {"id": 5, "login": "ada"}, "written_at": "2026-03-04T05:06:07Z"}


def test_an_object_is_read_as_its_class():
    """Texts are cleaned, instants may be epoch seconds, unknown fields are ignored."""
    document = {**NOTE, "labels": [f"a\0{HALF}"], "written_at": 1772600767, "other": 1}
    assert structure.read(document, Note, "Acme's note") == Note(
        Author(5, "ada"), datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC), ("a?",)
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"author": None}, "$.author"),
        ({"author": "id login"}, "$.author"),
        ({"author": {"id": "5", "login": "ada"}}, "$.author.id"),
        ({"author": {"id": True, "login": "ada"}}, "$.author.id"),
        ({"author": {"id": 2**63, "login": "ada"}}, "$.author.id"),
        ({"author": {"id": 5, "login": 6}}, "$.author.login"),
        ({"author": {"id": 5, "login": "ada", "is_bot": 0}}, "$.author.is_bot"),
        ({"written_at": "yesterday"}, "$.written_at"),
        ({"written_at": "2026-03-04T05:06:07"}, "$.written_at"),
        ({"written_at": 10**400}, "$.written_at"),
        ({"labels": [1]}, "$.labels[0]"),
    ],
)
def test_an_error_names_the_field(changes, field):
    """Errors say which field is wrong, for the operator."""
    with pytest.raises(UnexpectedResponseError) as caught:
        structure.read({**NOTE, **changes}, Note, "Acme's note")
    assert caught.value.message.startswith("Acme's note is not as documented: ")
    assert field in [detail["field"] for detail in caught.value.details]


@given(ANY, st.sampled_from(["", *attrs.fields_dict(Note)]))
def test_any_value_is_read_or_refused(value, name):
    """Nothing else is raised, whatever the document contains."""
    for document in (value, {**NOTE, name: value}, {**NOTE, "author": {**NOTE["author"], name: value}}):
        with suppress(UnexpectedResponseError):
            assert isinstance(structure.read(document, Note, "Acme's note"), Note)
