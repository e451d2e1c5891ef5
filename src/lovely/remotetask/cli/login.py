"""``remotetask login``: a fresh link by which a browser gets in."""

from __future__ import annotations

from urllib.parse import urljoin

import click

from lovely.remotetask.cli.backends import client
from lovely.remotetask.cli.backends import client_options


@click.command(name='login')
@client_options
def login_command(url: str | None, user: str | None) -> None:
    """Print a link that lets one browser look at the pages of a server.

    It works once, and within ten minutes.
    """
    found = client(url, user)
    # Joined to the address by which this client reaches the server: a browser
    # may be on another machine than the server.
    click.echo(urljoin(found.url, found.post('login', {})['path']))
