"""`lamina serve`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from lamina.cli.say import note, warning
from lamina.cli.settings import with_store

if TYPE_CHECKING:
    from lamina.images import ImageStore


@click.command("serve")
@click.option("--listen", metavar="HOST:PORT", help="Where connections are taken (127.0.0.1:5000); :PORT is every address.")
@click.option("--tls-cert", type=click.Path(), metavar="FILE", help="The certificate (PEM), for HTTPS.")
@click.option("--tls-key", type=click.Path(), metavar="FILE", help="Its key (PEM).")
@click.option("--config", type=click.Path(), metavar="FILE", help="Users, rules, limits and more (TOML).")
@click.option("--workers", type=click.IntRange(1, 64), metavar="N", help="Processes (1).")
@click.option("--read-only", is_flag=True, help="Refuse pushes and deletions.")
@click.option("--proxy", "proxies", multiple=True, metavar="NAME=URL",
              help="Serve and keep repositories NAME/… of the registry at URL; =URL: those without a domain.  Several.")
@click.option("--compression", default="zstd:1", metavar="none|zstd:LEVEL", help="Of what is pushed (zstd:1).")
@click.option("--grace", type=click.FloatRange(0, 3600), default=30.0, metavar="SECONDS",
              help="How long requests may take to end when the server is stopped (30).")
@with_store
def command(store: ImageStore, listen: str | None, tls_cert: str | None, tls_key: str | None, config: str | None,
            workers: int | None, read_only: bool, proxies: tuple[str, ...], compression: str, grace: float) -> None:
    """Serve the store as a registry, beside all other commands on it.

    A repository is asked for as `lamina images` shows it.  SIGTERM or Ctrl-C ends the server gracefully, SIGHUP reads the
    configuration, users and certificates again (it looks at them once a second anyhow).
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    routed = [_proxy(text) for text in proxies]
    store.serve(listen=listen, certificate=tls_cert, key=tls_key, config=os.path.abspath(config) if config else None,  # noqa: PTH100
                workers=workers, read_only=read_only, proxies=routed, compression=compression, grace=grace,
                told=lambda url: note(f"serving {url}"), say=warning)


def _proxy(text: str) -> tuple[str, str]:
    from lamina.registry.server.access.values import proxy

    name, equals, url = text.partition("=")
    found = proxy(name, url) if equals else None
    if found is None:
        raise click.UsageError(f"--proxy: {text[:160]!r} is not NAME=URL, as in docker.io=https://registry-1.docker.io")
    return found
