"""What all tests share."""

import gc
from pathlib import Path

from hypothesis import HealthCheck, settings

PROCESSES = 2
"""More need more memory, and more processors than CI has."""

# Nothing is remembered on disk, and no example fails for being slow on a busy machine. The in-memory stores and sandboxes
# of a test may serve all of its examples: a property that then fails has found a leak between them.
settings.register_profile(
    "connectors",
    database=None,
    deadline=None,
    print_blob=True,
    max_examples=10,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,
    ],
)
# What `.ci/run` adds, and whoever changes a package: --hypothesis-profile thorough.
settings.register_profile("thorough", settings.get_profile("connectors"), max_examples=200)
settings.load_profile("connectors")


def pytest_xdist_auto_num_workers(config):
    """Two processes for folders, which take longer than the second process needs to start; for files, this one alone."""
    return PROCESSES if all(Path(argument).is_dir() for argument in config.args) else 0


def pytest_collection_finish():
    """Leave what collecting made out of every later garbage collection: it lives as long as the process.

    And collect less often than usual: it took a tenth of the time, and tests leave little behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
