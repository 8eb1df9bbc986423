"""The queue's own connection: it uses the same database as the rest, and never shows its password."""

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from connectors.adapters.procrastinate.worker import _conninfo


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_password_can_be_read(password):
    """libpq parses the address whatever the password is, so that no error of it contains the password."""
    address = conninfo_to_dict(_conninfo(f"postgresql://ada:{quote(password, safe='')}@127.0.0.1:5433/lamp"))
    expected = {"host": "127.0.0.1", "port": "5433", "user": "ada", "password": password, "dbname": "lamp"}
    assert address == expected


def test_a_percent_sign_on_its_own():
    """A password with a lone percent sign reaches libpq unchanged, which would refuse it in a URL and show it."""
    assert conninfo_to_dict(_conninfo("postgresql://ada:hunter%zz@h/lamp"))["password"] == "hunter%zz"
    assert conninfo_to_dict(_conninfo("postgres:///lamp?host=/tmp/s")) == {"host": "/tmp/s", "dbname": "lamp"}
