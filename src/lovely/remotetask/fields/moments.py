"""The moments of a job, as attributes that are checked when assigned."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from typing import Any

from zope.schema.interfaces import ConstraintNotSatisfied

from lovely.remotetask.errors.bounds import as_local
from lovely.remotetask.errors.bounds import as_utc
from lovely.remotetask.errors.bounds import seconds_of

if TYPE_CHECKING:
    from lovely.remotetask.job import Job


class Moment:
    """An instant: stored in seconds since 1970, read as an aware UTC datetime.
    """

    def __init__(self, field: Any, stored: str) -> None:
        self.field = field
        self.stored = stored

    def __get__(self, job: Job | None, owner: type) -> Any:
        if job is None:
            return self
        seconds = job.__dict__.get(self.stored)
        return None if seconds is None else self.show(seconds)

    def __set__(self, job: Job, value: datetime | None) -> None:
        self.field.bind(job).validate(value)
        seconds = None
        if value is not None:
            self.refuse(value)
            seconds = seconds_of(value)
            if seconds is None:
                raise ConstraintNotSatisfied(value, self.field.__name__)
        job.__dict__[self.stored] = seconds

    def show(self, seconds: float) -> datetime | None:
        return as_utc(seconds)

    def refuse(self, value: datetime) -> None:
        if value.tzinfo is None:
            raise ConstraintNotSatisfied(value, self.field.__name__)


class LocalMoment(Moment):
    """The same instant, read as a naive local datetime, as in 0.5.2."""

    def show(self, seconds: float) -> datetime | None:
        return as_local(seconds)

    def refuse(self, value: datetime) -> None:
        # A datetime with a zone names an instant, too, and 0.5.2 took it.
        pass
