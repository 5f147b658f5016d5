"""`python -m smoke`: tries a deployed stack out, a line for each check."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from smoke.checks import CHECKS, Check, Run, Skipped, check_return
from smoke.stack import ERRORS, SmokeError, Stack, connect, in_one_line

_SAFE_MODES = ("observe", "paused")
_INTERRUPTED = 130  # the exit status that shells give
_SECONDS_TO_CLEAN = 20.0
_DESCRIPTION = """Tries a deployed stack out, a line for each check; exit status 0 if all of them passed.
It begins only where all is in mode observe or paused, and removes what it made, also after a failure or Ctrl-C."""

Say = Callable[[str, str, str], None]


def main(arguments: Sequence[str] | None = None, program: str = "python -m smoke") -> int:
    options = _parser(program).parse_args(arguments)
    say = _say_in_json if options.json else _say
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        stack = _begin(options, say)
    except ERRORS as error:
        say("FAIL", "begin", in_one_line(error))
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    run = Run(stack, options.patience + stack.settings.batch_window.total_seconds(), options.gone_node)
    status = 1
    try:
        passed = [_passes(name, check, run, say) for name, check in CHECKS.items()]  # all of them, also after a failure
        status = 0 if all(passed) else 1
        if run.returns_at and not options.no_wait:
            say("WAIT", "return", f"it takes until {run.returns_at:%H:%M} UTC; Ctrl-C ends the wait")
            status |= not _passes("return", check_return, run, say)
    except KeyboardInterrupt:
        say("STOP", "interrupted", "cleaning up")
        status = _INTERRUPTED
    finally:
        status = status if _clean(run, say) else status or 1
    return status


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--stack", default="HyperPodNodeRemediation", metavar="NAME")
    parser.add_argument("--region", help="as the AWS CLI finds it, if not given")
    parser.add_argument("--profile", metavar="NAME")
    parser.add_argument("--endpoint-url", metavar="URL", help="of a local AWS")
    parser.add_argument("--patience", type=float, default=90.0, metavar="SECONDS", help="for each effect (default 90)")
    parser.add_argument("--no-wait", action="store_true", help="do not wait 15 minutes for the letter of the redrive")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each line")
    parser.add_argument("--gone-node", metavar="CLUSTER/INSTANCE", help="a terminated instance to ask for")
    return parser


def _begin(options: argparse.Namespace, say: Say) -> Stack:
    """Find the stack and look at its mode. Raises SmokeError and what `find` raises."""
    stack = connect(options.stack, profile=options.profile, region=options.region, endpoint_url=options.endpoint_url)
    say("PASS", "stack", f"{stack.name} in {stack.region} has the outputs that people and scripts rely on")
    if (mode := stack.mode) not in _SAFE_MODES:
        parameter = stack.outputs["ModeParameterName"]
        raise SmokeError(
            f"the mode is {mode[:80]}; a smoke test begins only where all is observe, without an end; this replaces "
            f"the whole mode: aws ssm put-parameter --type String --overwrite --name {parameter} --value observe"
        )
    say("PASS", "mode", f"{mode}: nothing is rebooted meanwhile")
    return stack


def _passes(name: str, check: Check, run: Run, say: Say) -> bool:
    try:
        say("PASS", name, check(run))
    except Skipped as reason:
        say("SKIP", name, str(reason))
    except ERRORS as error:
        say("FAIL", name, f"{in_one_line(error)} (docs/first-deploy.md#{name})")
        return False
    return True


def _say(verdict: str, name: str, text: str) -> None:
    print(f"{verdict}  {name:<13} {text}", flush=True)


def _say_in_json(verdict: str, name: str, text: str) -> None:
    print(json.dumps({"verdict": verdict, "check": name, "text": text}), flush=True)


def _clean(run: Run, say: Say) -> bool:
    """Remove all that the run made, the last first. Say what is left, and tell whether nothing is."""
    left = []
    for name, undo in [*reversed(run.undo), ("letters", lambda: _take_letters(run, say))]:
        try:
            undo()
        except ERRORS as error:
            left.append(f"{name}: {in_one_line(error)}")
        except KeyboardInterrupt:
            left.append(f"{name}: interrupted")
    for each in left:
        say("LEFT", "clean-up", each)
    if not left:
        say("DONE", "clean-up", "nothing else is left but items of the ledger, which expire")
    return not left


def _take_letters(run: Run, say: Say) -> None:
    """Take the letters that are visible by now, those of the run's last reports too. Raises SmokeError if one lacks."""
    expected, deadline = run.reports, time.monotonic() + _SECONDS_TO_CLEAN
    if run.returns_at and datetime.now(UTC) < run.returns_at:
        expected -= 1
        later = f"a letter, invisible until {run.returns_at:%H:%M} UTC: a later run deletes it"
        say("LEFT", "clean-up", later)
    run.letters.take()
    while (missing := expected - len(run.letters.found)) > 0:
        if time.monotonic() >= deadline:
            raise SmokeError(f"{missing} did not come; a run that begins later than 10 minutes from now deletes them")
        run.letters.take()


if __name__ == "__main__":
    sys.exit(main())
