"""Makes all queue changes in one thread.

The emulator changes its queues from its event loop and, for event source mappings, from threads of its own. Both
replace the list of messages, so that a message sent at the wrong moment would be lost. Nothing of ours may lose one.
Touches: `app._MAIN_LOOP`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

from ministack import app

T = TypeVar("T")


def on_loop(call: Callable[[], T]) -> T:
    """Run `call` on the server's event loop, in the caller's account and region, and return what it returns."""
    loop = app._MAIN_LOOP
    if loop is None or loop is _running_loop():
        return call()
    answer: Future[T] = Future()
    loop.call_soon_threadsafe(_settle, answer, call, context=copy_context())
    return answer.result()


def _settle(answer: Future[T], call: Callable[[], T]) -> None:
    try:
        answer.set_result(call())
    except Exception as error:  # noqa: BLE001  # handed to the thread that waits
        answer.set_exception(error)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
