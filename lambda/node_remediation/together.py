"""Runs calls that do not depend on each other side by side: what each waits for, all wait for at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

Task = Callable[[], None]
# Returns once all tasks are done. One that raises is a fault of ours; the others may not have been done then.
Together = Callable[[Sequence[Task]], None]

# A client keeps 10 connections (botocore's max_pool_connections): more at once would be opened in vain.
_MOST_AT_ONCE = 9


def side_by_side(tasks: Sequence[Task]) -> None:
    """In threads, but for the last task, which needs none. botocore's clients are safe to share."""
    if not tasks:
        return
    *others, last = tasks
    with ThreadPoolExecutor(min(len(others), _MOST_AT_ONCE - 1) or 1) as pool:
        running = [pool.submit(task) for task in others]
        last()
    for each in running:
        each.result()


def in_turn(tasks: Sequence[Task]) -> None:
    """One after another."""
    for task in tasks:
        task()
