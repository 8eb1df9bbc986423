"""The counting of calls works, whatever the counts are."""

from connectors.domain.model.secret import Secret
from tests.support.count_paths import Count, count, count_all


def test_calls_of_ours_are_counted():
    """Functions of ours count, others do not."""
    secret = Secret("x")
    assert count(lambda: len("x")) == Count(calls=0, files=0, moves=0)
    assert count(secret.reveal) == Count(calls=1, files=1, moves=0)


def test_every_path_is_counted():
    """Each path leads through several files, and moves between them at most once a call."""
    for name, one in count_all().items():
        assert one.calls > one.moves >= one.files - 1 > 0, name
