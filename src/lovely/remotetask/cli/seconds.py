"""Options of the commands that are a number of seconds."""

from typing import Any

import click

from lovely.remotetask.errors.bounds import SECONDS
from lovely.remotetask.errors.bounds import is_seconds


class Seconds(click.FloatRange):
    """A number of seconds that one can wait for: NaN and infinity are none."""

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> float:
        """See click.ParamType"""
        number = float(super().convert(value, param, ctx))
        if not is_seconds(number):
            self.fail(f'{value} is too long or no number; give {SECONDS}',
                      param, ctx)
        return number
