"""Schedules transitions, which fall due as the clock moves on."""

import heapq
import itertools
from collections.abc import Callable

Clock = Callable[[], float]
# Calls the function after so many seconds; a real one is an event loop's call_later.
Wake = Callable[[float, Callable[[], None]], object]


class Schedule:
    """Keeps transitions in the order of their time (seconds since 1970).

    Whoever looks at the world runs what is due first, so no state is ever late; `wake` also runs it when nobody looks.
    """

    def __init__(self, clock: Clock, wake: Wake | None = None) -> None:
        self._clock = clock
        self._wake = wake
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._moment: float | None = None

    def now(self) -> float:
        """Return the time; in a transition, when it was due, so that what follows from it is not late too."""
        return self._clock() if self._moment is None else self._moment

    def after(self, seconds: float, transition: Callable[[], None]) -> None:
        when = self.now() + seconds
        heapq.heappush(self._due, (when, next(self._order), transition))
        self._wake_at(when)

    def run_due(self) -> None:
        while self._due and self._due[0][0] <= self._clock():
            self._moment, _, transition = heapq.heappop(self._due)
            try:
                transition()
            finally:
                self._moment = None

    def clear(self) -> None:
        self._due.clear()

    def _wake_at(self, when: float) -> None:
        if self._wake:
            self._wake(max(0.0, when - self._clock()), lambda: self._woken(when))

    def _woken(self, when: float) -> None:
        self.run_due()
        # An event loop has a clock of its own, which may run a little ahead of ours.
        if self._clock() < when:
            self._wake_at(when)
