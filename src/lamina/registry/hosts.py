"""What can be said of a host by its name or address alone: loopback, link-local, its parts."""

from __future__ import annotations

import ipaddress

# Services of a cloud that hand out a machine's credentials to whoever asks from it, beside those that are link-local:
# Amazon's over IPv6, Alibaba's, Oracle's, Azure's.
_METADATA = frozenset({"fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"})
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})


def split_port(host: str) -> tuple[str, str]:
    """`host[:port]` as name or address without brackets, and the port or ''."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        return name.lower(), rest.removeprefix(":")
    name, colon, port = host.rpartition(":")
    return (name.lower(), port) if colon and ":" not in name else (host.lower(), "")


def address_of(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that the text is, or None for a name; an IPv4 address inside of an IPv6 one counts as what it is."""
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def is_loopback(name: str) -> bool:
    """Whether the name (without port) is this machine: localhost, 127/8, ::1."""
    if name.lower().rstrip(".") == "localhost":
        return True
    address = address_of(name)
    return address is not None and address.is_loopback


def is_link_local(name: str) -> bool:
    """Whether the name or address (without port) is link-local, or a cloud's metadata service."""
    address = address_of(name)
    if address is None:
        return name.lower().rstrip(".") in _METADATA_NAMES
    return address.is_link_local or str(address) in _METADATA
