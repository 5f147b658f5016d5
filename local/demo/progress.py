"""Shows the set-up as it goes on: one line per piece of work, with how long it took."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from local.demo.marks import CROSS, TICK, kept_up_to_date

# `Stack |  3/20 | 8:35:31 PM | CREATE_COMPLETE | AWS::SNS::Topic | Failures/Topic (…)`, as the CDK CLI prints it.
_COUNTER = re.compile(r"^\S+ \| +(\d+)/(\d+) \|")
_WIDTH = 78


@dataclass(slots=True)
class Line:
    """Shows one piece of work: its label, and what is to be said of it so far."""

    label: str
    detail: str = ""
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    failed: bool = False
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots"))

    def __rich__(self) -> Table:
        row = Table.grid(padding=(0, 1))
        row.add_column(width=2, justify="right")
        row.add_column(width=14)
        row.add_column(width=_WIDTH - 28, overflow="ellipsis", no_wrap=True)
        row.add_column(width=8, justify="right")
        seconds = (time.monotonic() if self.ended is None else self.ended) - self.started
        row.add_row(self._mark(), self.label, Text(self.detail), Text(f"{seconds:.1f} s", style="dim"))
        return row

    def _mark(self) -> Text | Spinner:
        if self.ended is None:
            return self._spinner
        return CROSS if self.failed else TICK

    def end(self) -> None:
        self.ended = time.monotonic()


@dataclass(slots=True)
class CdkWork:
    """Shows what the CDK CLI does, as read from its output: bootstrap first, then deploy."""

    lines: list[Line] = field(default_factory=lambda: [Line("cdk bootstrap")])

    def read(self, output: str) -> None:
        """Take notice of one line of output."""
        counter = _COUNTER.match(output)
        if counter:
            done, most = int(counter[1]), int(counter[2])
            # Of an update the CLI counts what changes, and then all that it looks at.
            self.lines[-1].detail = f"{done} of {most} steps" if done <= most else "updating"
        elif "bootstrapped" in output:
            self.lines[-1].end()
            self.lines.append(Line("cdk deploy", "synthesizing"))
        elif "Publishing" in output:
            self.lines[-1].detail = "publishing the function's package"

    def __rich__(self) -> Group:
        return Group(*self.lines)


@contextmanager
def work(console: Console, label: str) -> Iterator[Line]:
    """Show a piece of work while it goes on, and how it ended."""
    line = Line(label)
    with kept_up_to_date(console, lambda: line), _ending(lambda: line):
        yield line


def cdk_work(console: Console) -> AbstractContextManager[CdkWork]:
    """Show bootstrap and deploy while they go on, and how they ended."""
    return _cdk(console, CdkWork())


def cdk_update(console: Console) -> AbstractContextManager[CdkWork]:
    """Show a deploy to what is bootstrapped while it goes on, and how it ended."""
    return _cdk(console, CdkWork([Line("cdk deploy", "synthesizing")]))


@contextmanager
def _cdk(console: Console, cdk: CdkWork) -> Iterator[CdkWork]:
    with kept_up_to_date(console, lambda: cdk), _ending(lambda: cdk.lines[-1]):
        yield cdk


@contextmanager
def _ending(last: Callable[[], Line]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        last().failed = True
        raise
    finally:
        last().end()
