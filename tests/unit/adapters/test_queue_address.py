"""The queue's own connection: the same database as everybody's, and never a word of its password."""

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from connectors.adapters.procrastinate.worker import _conninfo


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_password_can_be_read(password):
    """libpq understands the address whatever the password is, so that no error of its has to repeat it."""
    address = conninfo_to_dict(_conninfo(f"postgresql://ada:{quote(password, safe='')}@127.0.0.1:5433/lamp"))
    expected = {"host": "127.0.0.1", "port": "5433", "user": "ada", "password": password, "dbname": "lamp"}
    assert address == expected


def test_a_percent_sign_on_its_own():
    """What SQLAlchemy takes for a password, libpq gets too; in a URL it would refuse it, and say it."""
    assert conninfo_to_dict(_conninfo("postgresql://ada:hunter%zz@h/lamp"))["password"] == "hunter%zz"
    assert conninfo_to_dict(_conninfo("postgres:///lamp?host=/tmp/s")) == {"host": "/tmp/s", "dbname": "lamp"}
