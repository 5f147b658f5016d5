"""Stands in for Slurm and Kubernetes: executables that answer as scontrol and kubectl do, and keep what was asked.

Their state is a JSON file, which tests and the demonstration change as jobs and reboots would.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


@contextmanager
def opened(file: Path) -> Iterator[dict[str, Any]]:
    """Read the state, and write it back at the end; others wait meanwhile."""
    with file.open("r+") as state:
        fcntl.flock(state, fcntl.LOCK_EX)
        content: dict[str, Any] = json.load(state)
        yield content
        state.seek(0)
        state.truncate()
        json.dump(content, state)


class StandIn:
    """Puts a stand-in into a directory of its own; `environment` has it on the PATH."""

    def __init__(self, directory: Path, tool: str, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        self._file = directory / f"{tool}.json"
        self._file.write_text(json.dumps({"nodes": nodes, "calls": [], "error": ""}))
        executable = directory / tool
        module = f"local.schedulers.{tool}"
        executable.write_text(f'#!/bin/sh\nPYTHONPATH={PROJECT} exec {sys.executable} -m {module} {self._file} "$@"\n')
        executable.chmod(0o755)
        self.environment = {"PATH": f"{directory}{os.pathsep}{os.environ['PATH']}"}

    @property
    def calls(self) -> list[str]:
        """Return what was asked, but for looks."""
        with opened(self._file) as state:
            return [call for call in state["calls"] if " show " not in f" {call} " and not call.startswith("get ")]

    def node(self, name: str) -> dict[str, Any]:
        with opened(self._file) as state:
            node: dict[str, Any] = state["nodes"][name]
            return node

    def change(self, name: str, **fields: object) -> None:
        """Change what the stand-in says of a node."""
        with opened(self._file) as state:
            state["nodes"][name] |= fields

    def fail(self, error: str) -> None:
        """Let every call fail with this error; an empty one ends that."""
        with opened(self._file) as state:
            state["error"] = error
