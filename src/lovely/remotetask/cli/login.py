"""``remotetask login``: a fresh link by which a browser gets in."""

from __future__ import annotations

from urllib.parse import urljoin

import click

from lovely.remotetask.cli.backends import client
from lovely.remotetask.cli.backends import client_options


@click.command(name='login')
@client_options
@click.option('--view', is_flag=True,
              help='A link for someone who may look, and change nothing.')
def login_command(url: str | None, user: str | None, view: bool) -> None:
    """Print a link that lets one browser look at the pages of a server.

    It works once, and within ten minutes.
    """
    found = client(url, user)
    answer = found.post('login', {'view': True} if view else {})
    # The address that the server knows to be public, or else the one by which
    # this client reaches it: a browser may be on another machine.
    click.echo(answer.get('url') or urljoin(found.url, answer['path']))
