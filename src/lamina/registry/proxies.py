"""Which proxy a URL goes through: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as curl and docker read them.

Lower-case names win, as in curl.  In a CGI program (REQUEST_METHOD is set) HTTP_PROXY is what a stranger's `Proxy:` header
says, and is not read.  Loopback is never asked for through a proxy, as docker has it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from lamina.errors import UsageError
from lamina.registry.hosts import address_of, is_loopback, split_port

_PORTS = {"http": "80", "https": "443"}


def proxy_for(scheme: str, host: str, env: Mapping[str, str]) -> str | None:
    """The URL of the proxy for `scheme` and `host[:port]`, or None; `UsageError` for a kind that is not spoken."""
    name, port = split_port(host)
    if is_loopback(name) or _excepted(name, port or _PORTS.get(scheme, ""), _either(env, "no_proxy")):
        return None
    upper = "" if scheme == "http" and "REQUEST_METHOD" in env else env.get(f"{scheme}_proxy".upper(), "")
    proxy = env.get(f"{scheme}_proxy") or upper or _either(env, "all_proxy")
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    kind = proxy.partition("://")[0].lower()
    if kind not in {"http", "https"}:
        raise UsageError(f"a proxy of kind {kind[:20]!r} is not supported", hint="http:// and https:// are")
    return proxy


def _either(env: Mapping[str, str], name: str) -> str:
    return env.get(name) or env.get(name.upper(), "")


def _excepted(name: str, port: str, no_proxy: str) -> bool:
    return any(_matches(name, port, entry) for entry in no_proxy.replace(",", " ").split())


def _matches(name: str, port: str, entry: str) -> bool:
    """Whether an entry of NO_PROXY means the host: `*`, a domain and all below it, an address, a network; a port may follow."""
    if entry == "*":
        return True
    address = address_of(name)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    wanted, wanted_port = (entry.lower(), "") if entry.count(":") > 1 and "[" not in entry else split_port(entry)
    if wanted_port and wanted_port != port:
        return False
    if address is not None:
        return address == address_of(wanted)
    wanted = wanted.removeprefix("*").strip(".")
    name = name.rstrip(".")
    return bool(wanted) and (name == wanted or name.endswith(f".{wanted}"))
