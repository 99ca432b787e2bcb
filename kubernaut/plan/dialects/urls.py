"""URLs that a plan must not name, judged by their text alone: nothing is resolved or fetched while a plan is validated.

Refused are all schemes but http and https, credentials in the URL, this machine, link-local and unspecified addresses,
and the metadata services of clouds, in every spelling of an address (decimal, octal, hexadecimal, shortened, mapped
into IPv6). What a name resolves to is checked where it is called.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_METADATA = frozenset(
    {"metadata.google.internal", "metadata", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
_METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")
)
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,22}|[1-9]\d{0,12}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?\.?")

REMEDY = "Name an http or https URL of a service by its public or cluster name."


def why_forbidden(url: str) -> str | None:
    """Why this URL is refused; None where its text gives no reason."""
    if any(char.isspace() or ord(char) < 0x21 or ord(char) == 0x7F or char == "\\" for char in url):
        return "it holds blanks, control characters or backslashes"
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        parts.port  # noqa: B018  (raises for a port that is none)
    except ValueError as error:
        return f"it cannot be read: {error}"
    if parts.scheme not in ("http", "https"):
        return f"its scheme {parts.scheme!r} is neither http nor https"
    if "@" in parts.netloc:
        return "it holds credentials"
    return _host_reason(host.lower())


def _host_reason(host: str) -> str | None:
    if not host:
        return "it names no host"
    address = _address(host)
    if address is not None:
        return _address_reason(address)
    if host in _METADATA:
        return f"{host} is a metadata service"
    if host == "localhost" or host.endswith((".localhost", ".localdomain")) or host == "ip6-localhost":
        return f"{host} is the machine itself"
    if not _HOST.fullmatch(host):
        return f"{host[:80]!r} is no host name"
    if re.fullmatch(r"[0-9a-fx.]*", host.rsplit(".", 1)[-1]) and host.rsplit(".", 1)[-1][:1].isdigit():
        return f"{host} is no valid address"
    return None


def _address_reason(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _compatible(address)
        if inner is not None:
            return _address_reason(inner)
    if address in _METADATA_ADDRESSES:
        return f"{address} is a metadata service"
    if address.is_link_local:
        return f"{address} is link-local"
    if address.is_loopback or address.is_unspecified:
        return f"{address} is the machine itself"
    if address.is_multicast or (address.is_reserved and isinstance(address, ipaddress.IPv4Address)):
        return f"{address} is no address of a service"
    return None


def _compatible(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address in `::a.b.c.d` and in NAT64's `64:ff9b::a.b.c.d`."""
    number = int(address)
    if number > 1 and number < 2**32:
        return ipaddress.IPv4Address(number)
    if number >> 32 == 0x0064FF9B << 64:
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host.split("%")[0])
        except ValueError:
            return None
    return _ipv4(host)


def _ipv4(host: str) -> ipaddress.IPv4Address | None:
    """As inet_aton reads it: one to four parts, each decimal, octal or hexadecimal; the last fills what is left."""
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    *heads, last = (int(part, 16) if part.lower().startswith("0x") else _decimal_or_octal(part) for part in parts)
    if any(head > 255 for head in heads) or last >= 256 ** (4 - len(heads)):
        return None
    number = last + sum(head << (8 * (3 - index)) for index, head in enumerate(heads))
    return ipaddress.IPv4Address(number)


def _decimal_or_octal(part: str) -> int:
    return int(part, 8) if part.startswith("0") and len(part) > 1 else int(part)
