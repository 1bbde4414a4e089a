"""`lamina logout`."""

from __future__ import annotations

import click

from lamina.cli.say import plain, warning


@click.command("logout")
@click.argument("server", default="", metavar="[SERVER]")
def command(server: str) -> None:
    """Forget the credential of a registry; of Docker Hub if none is named."""
    from lamina.images.login import logout

    host, erased, elsewhere = logout(server)
    click.echo(plain(f"Removing login credentials for {host}" if erased else f"Not logged in to {host}"))
    if elsewhere:
        warning(f"a credential of {host} is still known, {elsewhere}")
