"""What each way of notifying other processes offers to a listener."""

from __future__ import annotations

from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace
from lovely.remotetask.peers.wakeup.wake_events import WakeEvent
from lovely.remotetask.peers.wakeup.wake_events import WakeEvents


class Channel:
    """Carries notifications between the processes of one database.

    This one carries none.  No method raises.
    Attributes: ``wake_events``, of this process; ``works``: True: the
    notifications of other processes arrive, so processors need not poll;
    False: they do not; None: that is not known yet.
    """

    works: bool | None = None

    def __init__(self) -> None:
        self.wake_events = WakeEvents()

    def open(self) -> None:
        """Receive the notifications of other processes; idempotent."""

    def hear_commits(self) -> None:
        """Let commits set the events of what they write, where they can.

        For those who look now and then anyway: it is silent where they cannot.
        """

    def probe(self) -> None:
        """Find out whether it works, after a commit of this process."""

    def wait_until_visible(self, event: WakeEvent) -> None:
        """Wait until connections can see the commit that set an event."""

    def publish(self, queue: bytes | None) -> None:
        """Notify the other processes.

        Arguments: ``queue``, its oid; None: of all queues in the database.
        """

    def close(self) -> None:
        """Stop receiving once there are no wake events any more."""

    def end(self) -> None:
        """Receive and send no more: the database is about to be closed."""

    def fails(self, reason: str) -> None:
        """Let the processors poll from now on.

        Arguments: ``reason`` (one line), for the warning.
        """
        # Once per outage, not once per attempt.
        say = log.warning if self.works is not False else trace.info
        say('no wake-up by other processes: %s; workers look every waitTime '
            'seconds from now on, and no job is lost', reason)
        self.works = False
        # The processors may have gone to sleep for SAFETY_SECONDS.
        self.wake_events.set()
