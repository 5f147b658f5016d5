"""`hyperpod-remediation`, or `python -m tool`: the entrance, where every error becomes one line and an exit status."""

import os
import sys
from collections.abc import Sequence

import typer

from node_remediation.aws.errors import LookupFailedError
from smoke.stack import ERRORS, in_one_line
from tool.commands import PROGRAM, app
from tool.errors import FAILED, INTERRUPTED, ToolError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: see docs/tool.md."""
    try:
        status = app(arguments, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _complain(error.format_message(), error.exit_code)
    except ToolError as error:
        return _complain(str(error), error.status)
    except (*ERRORS, LookupFailedError) as error:
        return _complain(in_one_line(error), FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away, such as `head`; what Python would still write on exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status if isinstance(status, int) else 0


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {' '.join(text.split())}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
