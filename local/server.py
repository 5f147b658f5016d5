"""Runs the local AWS: `python -m local.server --port N`.

It serves 127.0.0.1 only, enforces IAM, keeps everything in memory and ends with the process that started it.
"""

import argparse
import asyncio
import importlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

PINNED = "1.5.33"
_PARENT_POLL_SECONDS = 0.2
_GRACE_SECONDS = 3.0
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "PYENV_ROOT", "UV_PYTHON_INSTALL_DIR")
_log = logging.getLogger("local.server")


@dataclass(frozen=True, slots=True)
class Options:
    """Holds the command line; `retry_delay` is the wait in seconds before an asynchronous invocation's first retry.

    `orphaned` is the parent's directory: it can no longer remove it when it was killed.
    """

    port: int
    region: str
    retry_delay: float
    parent: int
    orphaned: str | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM, Ctrl-C, or the end of the parent process."""
    options = _parse(arguments)
    if (found := version("ministack")) != PINNED:
        sys.exit(f"local.server: the patches are for ministack {PINNED}, not {found}")
    with tempfile.TemporaryDirectory(prefix="local-aws-", ignore_cleanup_errors=True) as scratch:
        settings = environment(os.environ, options, scratch)
        os.environ.clear()
        os.environ.update(settings)
        tempfile.tempdir = scratch
        emulator = importlib.import_module("local.emulator")  # only now: it reads the environment when imported
        asyncio.run(_serve(emulator, options, scratch))


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m local.server", description=__doc__)
    parser.add_argument("--port", type=int, default=4566)
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument(
        "--retry-delay", type=float, default=0.2, help="before an asynchronous invocation's first retry"
    )
    parser.add_argument("--parent", type=int, default=os.getppid(), help="process ID with which to end")
    parser.add_argument("--orphaned", help="directory to remove when that process ended first")
    return Options(**vars(parser.parse_args(arguments)))


def environment(inherited: Mapping[str, str], options: Options, scratch: str) -> dict[str, str]:
    """Return the emulator's settings and what finding interpreters needs, and nothing else of the user."""
    kept = {name: inherited[name] for name in _KEPT_VARIABLES if name in inherited}
    return kept | {
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(options.port),
        "MINISTACK_REGION": options.region,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "0",
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": str(options.retry_delay),
        "DOCKER_HOST": f"unix://{scratch}/no-docker.sock",  # never look for one
        "STATE_DIR": f"{scratch}/state",
        "S3_DATA_DIR": f"{scratch}/s3",
        "TMPDIR": scratch,
    }


async def _serve(emulator: Any, options: Options, scratch: str) -> None:
    serve = importlib.import_module("hypercorn.asyncio").serve
    config = importlib.import_module("hypercorn.config").Config()
    config.bind = [f"127.0.0.1:{options.port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    config.accesslog = None
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    parent_gone = partial(loop.call_soon_threadsafe, stop.set)
    threading.Thread(target=_watch_parent, args=(options, parent_gone, scratch), daemon=True).start()
    await serve(emulator.LocalAwsApp(), config, shutdown_trigger=stop.wait)
    threading.Thread(target=_exit_soon, args=(scratch,), daemon=True).start()
    # Threads that wait for a function would keep this process: what they wait for ends here.
    await asyncio.to_thread(emulator.end_functions)


def _watch_parent(options: Options, parent_gone: Callable[[], object], scratch: str) -> None:
    while os.getppid() == options.parent:
        time.sleep(_PARENT_POLL_SECONDS)
    if options.orphaned:
        shutil.rmtree(options.orphaned, ignore_errors=True)
    parent_gone()
    _exit_soon(scratch)


def _exit_soon(scratch: str) -> None:
    """End the process even if a thread goes on."""
    time.sleep(_GRACE_SECONDS)
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main()
