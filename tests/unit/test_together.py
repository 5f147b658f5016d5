"""Calls side by side: all of them end, and what one raises is not swallowed."""

from threading import Barrier, Lock

import pytest
from botocore.httpsession import MAX_POOL_CONNECTIONS

from node_remediation.together import Task, Together, in_turn, side_by_side

TOGETHER = pytest.mark.parametrize("together", [in_turn, side_by_side])


@TOGETHER
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_every_task_is_done_before_it_returns(together: Together, count: int) -> None:
    """However many there are."""
    done: list[int] = []
    together([lambda number=number: done.append(number) for number in range(count)])  # type: ignore[misc]  # as defaults
    assert sorted(done) == list(range(count))


def test_side_by_side_waits_for_all_at_once() -> None:
    """Each task waits until all three have begun."""
    barrier, places = Barrier(3, timeout=10), list[int]()
    side_by_side([lambda: places.append(barrier.wait())] * 3)
    assert sorted(places) == [0, 1, 2]


def test_in_turn_keeps_the_order() -> None:
    """For whoever counts on it."""
    done: list[str] = []
    in_turn([lambda: done.append("a"), lambda: done.append("b")])
    assert done == ["a", "b"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_error_of_any_task_is_raised_once_the_others_are_done(place: int) -> None:
    """A fault of ours ends the invocation, as it would have in turn."""
    done: list[int] = []

    def fail() -> None:
        raise ZeroDivisionError

    tasks: list[Task] = [lambda: done.append(1), lambda: done.append(1)]
    tasks.insert(place, fail)
    with pytest.raises(ZeroDivisionError):
        side_by_side(tasks)
    assert done == [1, 1]


def test_no_more_run_at_once_than_a_client_has_connections() -> None:
    """A batch may have nodes of hundreds of clusters; each waits for its turn, and comes to it."""
    most, lock, running, done = 0, Lock(), 0, list[int]()

    def task() -> None:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        done.append(1)
        with lock:
            running -= 1

    side_by_side([task] * 300)
    assert len(done) == 300
    assert most < MAX_POOL_CONNECTIONS
