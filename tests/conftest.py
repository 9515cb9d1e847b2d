"""The fixtures of all tests, each kind in its own `fix_<resource>.py`. One that imports another comes after it."""

import pytest

LONGEST = ("test_law.py", "test_torture.py")

pytest_plugins = (
    "tests.fix_redis",
    "tests.fix_cli",
    "tests.fix_promtool",
    "tests.fix_dead_letters",
    "tests.fix_proxy",
    "tests.fix_tls",
    "tests.fix_localwarehouse",
    "tests.fix_worker",
    "tests.fix_system",
    "tests.fix_celery_app",
    "tests.fix_browser",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: of several processes none is to begin it while the others have nothing left."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
