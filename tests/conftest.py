"""The fixtures of all tests, each kind in its own `fix_<resource>.py`."""

pytest_plugins = ("tests.fix_redis",)
