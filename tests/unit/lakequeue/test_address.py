"""One URL of Redis, in every spelling that Celery and redis-py have, is one address for every program."""

from __future__ import annotations

import ssl

import pytest
from lakequeue import InvalidArgument, LakequeueError, Queue, Settings
from lakequeue.address import RedisAddress

from worker.settings import Settings as WorkerSettings

PASSWORD = "hush/@: 1"
QUOTED = "hush%2F%40%3A%201"


@pytest.mark.parametrize(
    ("url", "shown", "for_celery"),
    [
        ("redis://h", "h:6379/0", "redis://h:6379/0"),
        ("redis://", "localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://h:1/2", "h:1/2", "redis://h:1/2"),
        ("redis://h:1/?db=2", "h:1/2", "redis://h:1/2"),
        ("redis://[::1]:1/2", "[::1]:1/2", "redis://[::1]:1/2"),
        (f"redis://:{QUOTED}@h:1/2", "h:1/2", f"redis://:{QUOTED}@h:1/2"),
        (f"redis://app:{QUOTED}@h:1/2", "h:1/2", f"redis://app:{QUOTED}@h:1/2"),
        ("rediss://h:1/2?ssl_cert_reqs=CERT_NONE", "h:1/2", "rediss://h:1/2"),
        ("unix:///run/r.sock", "/run/r.sock", "redis+socket:///run/r.sock?virtual_host=0"),
        ("unix:///run/r.sock?db=3", "/run/r.sock (database 3)", "redis+socket:///run/r.sock?virtual_host=3"),
        ("redis+socket:///run/r.sock?virtual_host=3", "/run/r.sock (database 3)", "redis+socket:///run/r.sock?virtual_host=3"),
        ("socket:///run/r.sock?virtual_host=/3", "/run/r.sock (database 3)", "redis+socket:///run/r.sock?virtual_host=3"),
        (f"unix://app:{QUOTED}@/run/r.sock", "/run/r.sock", f"redis+socket://app:{QUOTED}@/run/r.sock?virtual_host=0"),
    ],
)  # fmt: skip
def test_every_spelling_is_read(url: str, shown: str, for_celery: str) -> None:
    address = RedisAddress.parse(url)
    assert (str(address), address.celery_url()) == (shown, for_celery)
    assert RedisAddress.parse(address.celery_url()).celery_url() == for_celery
    assert "hush" not in repr(address)
    assert address.password == (PASSWORD if "hush" in url else None)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *((text, ssl.CERT_REQUIRED) for text in ("required", "CERT_REQUIRED", "cert_required")),
        *((text, ssl.CERT_OPTIONAL) for text in ("optional", "CERT_OPTIONAL")),
        *((text, ssl.CERT_NONE) for text in ("none", "CERT_NONE", "None")),
    ],
)
def test_the_check_of_certificates_is_spelt_as_celery_or_redis_py_does(text: str, meant: ssl.VerifyMode) -> None:
    address = RedisAddress.parse(f"rediss://h?ssl_cert_reqs={text}&ssl_ca_certs=/ca%20s.pem&ssl_check_hostname=false")
    wanted = {"ssl_cert_reqs": meant, "ssl_ca_certs": "/ca s.pem", "ssl_check_hostname": False}
    assert address.tls_options() == wanted
    assert wanted.items() <= address.connection_options().items()


def test_without_an_option_certificates_are_checked() -> None:
    assert RedisAddress.parse("rediss://h").tls_options() == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("localhost:6379", "it has no scheme"),
        ("", "it has no scheme"),
        ("http://:hush@h", "its scheme is unknown"),
        ("sentinel://:hush@h:1/0", "Sentinel is not supported"),
        ("redis://:hu/sh@h:1/0", "percent-encoded"),
        ("redis://:1/hush@h:1/0", "percent-encoded"),
        ("redis://:hu#sh@h:1/0", "percent-encoded"),
        ("redis://h:hush", "percent-encoded"),
        ("redis://h:1/hush", "percent-encoded"),
        ("redis://h:1/1?db=2", "two databases"),
        ("unix://h/run/r.sock", "write unix:///path"),
        ("unix://", "write unix:///path"),
        ("redis://h?ssl_cert_reqs=none", "which needs rediss://"),
        ("rediss://h?ssl_cert_reqs=hush", "ssl_cert_reqs takes none, optional or required"),
        ("redis://h?socket_timeout=hush", "socket_timeout takes another value"),
        ("redis://h?hushed=1", "of its options hushed"),
        (7, "a Redis URL is a string, not int"),
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_without_its_password(url: str, told: str) -> None:
    for use in (RedisAddress.parse, lambda url: Queue(url, settings=Settings())):
        if not url and use is not RedisAddress.parse:
            continue  # an empty one stands for the setting
        with pytest.raises(InvalidArgument) as raised:
            use(url)
        assert told in str(raised.value)
        assert isinstance(raised.value, LakequeueError)
        assert isinstance(raised.value, ValueError)
        if "hushed" not in told:
            assert "hush" not in str(raised.value)
            assert raised.value.__cause__ is None


def test_settings_are_shown_without_the_password() -> None:
    environ = {"LAKEQUEUE_REDIS_URL": "redis://app:hush@h:1/0"}
    for settings in (Settings.from_env(environ), WorkerSettings.from_env(environ)):
        assert "hush" not in repr(settings)
