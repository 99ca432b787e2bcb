"""Which addresses a plan may have called."""

import pytest

from kubernaut.actions.urls import refusal

LISTED = ("hooks.example.com", "chat.internal:8443", "10.0.0.7", "[fd00::7]:443")


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/T0/x?y=z",
        "https://HOOKS.example.com/",
        "http://hooks.example.com:8080/",
        "https://chat.internal:8443/",
        "https://10.0.0.7/",
        "https://[fd00::7]/",
    ],
)
def test_a_listed_host_may_be_called(url: str) -> None:
    assert refusal(url, LISTED) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "https://hooks.example.com.evil.net/",
        "https://evil-hooks.example.com/",
        "https://chat.internal/",
        "https://hooks.example.com@evil.net/",
        "https://evil.net@hooks.example.com/",
        "https://evil.net\\@hooks.example.com/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "//hooks.example.com/",
        "hooks.example.com",
        "https://hooks.example.com:port/",
        "https://hooks.example.com/ x",
        "https://hooks.example.com/\nHost: evil",
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/",
        "http://0xA9FEA9FE/",
        "http://[::ffff:169.254.169.254]/",
        "http://metadata.google.internal/",
        "http://localhost/",
        "http://127.1/",
        "http://[::1]/",
        "https://hooks.example.com/" + "x" * 2_000,
        "",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    assert refusal(url, LISTED)


def test_a_refusal_names_the_setting() -> None:
    assert "webhook_hosts" in (refusal("https://example.com/", ()) or "")


def test_nothing_may_be_called_by_default() -> None:
    assert refusal("https://hooks.example.com/", ())
