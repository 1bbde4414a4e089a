"""`lamina login`."""

from __future__ import annotations

import sys
from getpass import getpass
from typing import TYPE_CHECKING

import click

from lamina.cli.say import plain, warning
from lamina.errors import LaminaError, UsageError

if TYPE_CHECKING:
    from lamina.images.login import LoggedIn
    from lamina.registry.network import Network

MAX_PASSWORD = 64 << 10  # bytes


def _refused(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise UsageError("a password on the command line can be read by every user of this machine",
                         hint="leave it out to be asked, or use --password-stdin")


@click.command("login")
@click.argument("server", default="", metavar="[SERVER]")
@click.option("-u", "--username", default="", metavar="NAME", help="Who to log in as; else you are asked.")
@click.option("--password-stdin", is_flag=True, help="Take the password from standard input.")
@click.option("-p", "--password", hidden=True, expose_value=False, callback=_refused,
              help="Refused: others could read it.")
def command(server: str, username: str, password_stdin: bool) -> None:
    """Log in to a registry; to Docker Hub if none is named.

    The password is tried first, then kept where docker keeps it: by the credential helper that ~/.docker/config.json
    names, else in that file.
    """
    from lamina.images.login import login, opened

    if password_stdin and not username:
        raise UsageError("--password-stdin goes with --username")
    with opened() as network:
        if password_stdin:
            password = from_stdin()
        else:
            username, password = asked(network, server, username)
        done = login(network, server, username, password)
    tell(done)


def tell(done: LoggedIn) -> None:
    """The warnings that are due, then docker's words."""
    if not done.kept.encrypted:
        warning(f"the password is stored unencrypted, {done.kept}, a credential helper keeps it better")
    if not done.asked:
        warning(f"{done.host} asks for no login: whether the password is right was not to be seen")
    if done.hidden_by:
        warning(f"another credential of {done.host} comes before this one, {done.hidden_by}")
    click.echo("Login Succeeded")


def from_stdin() -> str:
    """The password on standard input, without the newline at its end; `LaminaError`."""
    data = sys.stdin.buffer.read(MAX_PASSWORD + 1)
    if len(data) > MAX_PASSWORD:
        raise LaminaError(f"the password on standard input is longer than {MAX_PASSWORD >> 10} KiB")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise LaminaError("the password on standard input is not UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise LaminaError("the password on standard input is empty")
    return text


def asked(network: Network, server: str, username: str) -> tuple[str, str]:
    """Username and password from the terminal, as docker asks for them; `LaminaError` where there is none."""
    from lamina.images.login import known_user

    if not sys.stdin.isatty():
        raise LaminaError("cannot ask for a password: standard input is no terminal",
                          hint="use --username and --password-stdin")
    if not username:
        known = known_user(network.credentials, server)
        # Not click's prompt: it makes an error of its own of an interrupt.
        click.echo(f"Username{f' ({plain(known)})' if known else ''}: ", nl=False, err=True)
        username = sys.stdin.readline().strip() or known
    try:
        return username, getpass("Password: ")
    except EOFError:
        raise LaminaError("no password was given") from None
