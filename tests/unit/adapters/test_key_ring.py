"""The vault's key ring: what it accepts, and that its errors hold no key."""

import base64

import pytest

from connectors.adapters.aesgcm import KeyRing, generate_key

KEY_A = base64.b64encode(b"a" * 32).decode()
KEY_B = base64.b64encode(b"b" * 32).decode()


def test_the_first_key_encrypts_and_all_are_found():
    """The first entry is the current one; every entry is found by its id."""
    ring = KeyRing.parse(f"2026:{KEY_B}, 2025:{KEY_A}")
    assert ring.current_id == "2026"
    assert ring.ids == ("2026", "2025")
    assert ring.find("2025") == b"a" * 32
    assert ring.find("2024") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "entry 1 is not id:base64"),
        (KEY_A, "entry 1 is not id:base64"),
        (f"a:{KEY_A},", "entry 2 is not id:base64"),
        (f":{KEY_A}", "the id of entry 1"),
        (f"a b:{KEY_A}", "the id of entry 1"),
        (f"ä:{KEY_A}", "the id of entry 1"),
        (f"{'x' * 33}:{KEY_A}", "the id of entry 1"),
        (f"a\n:{KEY_A}", "the id of entry 1"),
        (f"a:{KEY_A},a:{KEY_B}", "entry 2 has the same id"),
        ("a:not*base64", "the key of entry 1 is not base64"),
        ("a:ä", "the key of entry 1 is not base64"),
        (f"a:{KEY_A[:-4]}", "the key of entry 1"),
        (f"a:{base64.b64encode(b'k' * 31).decode()}", "the key of entry 1 has 31 bytes, not 32"),
        (f"a:{base64.b64encode(b'k' * 33).decode()}", "the key of entry 1 has 33 bytes, not 32"),
    ],
)
def test_a_wrong_entry_is_named_without_its_contents(text, reason):
    """The error says which entry is wrong, and repeats nothing of it."""
    with pytest.raises(ValueError) as caught:
        KeyRing.parse(text)
    assert reason in str(caught.value)
    assert KEY_A[:8] not in str(caught.value)


def test_a_generated_key_is_an_entry_of_a_ring():
    """`generate_key` gives what `parse` takes, another key every time."""
    first, second = generate_key("k1"), generate_key("k1")
    assert first != second
    assert len(KeyRing.parse(first).find("k1")) == 32


def test_a_key_is_not_generated_under_an_id_that_would_not_parse():
    """An id that the ring refuses is refused here too."""
    with pytest.raises(ValueError, match="the id"):
        generate_key("a:b")


def test_a_ring_shows_ids_only():
    """No repr of a ring has a key in it."""
    ring = KeyRing.parse(f"2026:{KEY_A}")
    assert "2026" in repr(ring)
    assert KEY_A not in repr(ring)
    assert "aaaa" not in repr(ring)
