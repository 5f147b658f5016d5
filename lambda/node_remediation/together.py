"""Runs calls that do not depend on each other side by side: what each waits for, all wait for at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

Task = Callable[[], None]
# Runs every task to its end; then raises what the first of them raised that did.
Together = Callable[[Sequence[Task]], None]


def side_by_side(tasks: Sequence[Task]) -> None:
    """Each task in a thread of its own but the last, which needs none. botocore's clients are safe to share."""
    if not tasks:
        return
    *others, last = tasks
    with ThreadPoolExecutor(max(1, len(others))) as pool:
        running = [pool.submit(task) for task in others]
        last()
    for each in running:
        each.result()


def in_turn(tasks: Sequence[Task]) -> None:
    """One after another."""
    for task in tasks:
        task()
