"""The fixtures of all tests, each kind in its own `fix_<resource>.py`. One that imports another comes after it."""

pytest_plugins = (
    "tests.fix_redis",
    "tests.fix_dead_letters",
    "tests.fix_proxy",
    "tests.fix_localwarehouse",
    "tests.fix_worker",
    "tests.fix_system",
    "tests.fix_celery_app",
)
