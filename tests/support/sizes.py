"""One check at two sizes: a small one in every run, the full one behind `-m thorough`."""

import pytest


def at_sizes(names, *, small, full):
    """Gives a test its sizes.

    Args:
        names: of its arguments, as `pytest.mark.parametrize` takes them.
        small: their values in every run.
        full: their values with `-m thorough`.
    """
    return pytest.mark.parametrize(
        names,
        [pytest.param(*small, id="small"), pytest.param(*full, id="full", marks=pytest.mark.thorough)],
    )
