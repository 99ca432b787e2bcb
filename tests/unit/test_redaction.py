"""Secrets are taken out of text; what only looks like text stays."""

from __future__ import annotations

import pytest

from kubernaut.redaction import MASK, redact, redacted

SECRETS = {
    "a password behind its word": ("login failed, password=hunter2hunter2 for bob", "hunter2"),
    "a token in JSON": ('{"api_token": "abcdef123456"}', "abcdef123456"),
    "a header": ("Authorization: Bearer abc.def-ghi_jkl1234", "abc.def"),
    "an AWS key": ("key AKIAIOSFODNN7EXAMPLE was used", "AKIAIOSFODNN7EXAMPLE"),
    "a JSON web token": ("see eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl here", "eyJhbGci"),
    "a URL with a password": ("postgresql://app:s3cr3t@db/shop", "s3cr3t"),
    "a private key": ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
    "an environment variable": ("DB_PASSWORD: correcthorse", "correcthorse"),
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_masked(name: str) -> None:
    text, secret = SECRETS[name]

    assert secret not in redact(text)
    assert MASK in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "Deployment demo-checkout/worker: replicas 2 → 5: applied",
        "the token bucket is empty",
        "rolled out: 2 of 2 replicas of the latest revision available",
        "https://hooks.example.org/path?x=1",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_every_string_of_a_document_is_looked_at() -> None:
    assert redacted({"a": ["password=abcdefg", 1, None], "b": {"c": "fine"}}) == {
        "a": [f"password={MASK}", 1, None],
        "b": {"c": "fine"},
    }
