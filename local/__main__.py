"""`python -m local COMMAND`: a local AWS with a simulated HyperPod, and what one can do to it."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from local.cli import commands
from local.cli.client import AdminClient, CommandError

_Command = Callable[[AdminClient, argparse.Namespace], Iterable[str]]


def main(arguments: Sequence[str] | None = None, env: Mapping[str, str] = os.environ) -> int:
    """Run one command; the exit status is 0, 1 for an error, 2 (from argparse) for wrong usage, 130 for Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(given, env)
    except CommandError as error:
        print(f"local: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader went away, such as `head`; what Python would still write on exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _run(given: list[str], env: Mapping[str, str]) -> int:
    if given[:1] == ["demo"]:
        # It has options of its own, and brings in what no other command needs.
        return importlib.import_module("local.demo").main(given[1:]) or 0
    parsed = _parser().parse_args(given)
    if parsed.command == "up":
        importlib.import_module("local.cli.up").up(dict(parsed.context), partial(print, flush=True))
        return 0
    for line in parsed.run(AdminClient.from_env(env), parsed):
        print(line, flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    subs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    started = subs.add_parser("up", help="start a local AWS, deploy the stack, stay until Ctrl-C")
    started.add_argument(
        "-c", "--context", action="append", default=[], type=_setting, metavar="KEY=VALUE", help="as for the CDK CLI"
    )
    subs.add_parser("demo", help="show the main job on a local AWS of its own")
    _add_node_commands(subs)
    _add_cluster_commands(subs)
    _add(subs, "calls", commands.show_calls)
    _add(subs, "mail", commands.show_mail)
    event = _add(subs, "event", commands.play_event)
    event.add_argument("file", type=Path, metavar="FILE", help="a captured EventBridge event, JSON")
    return parser


def _add_node_commands(subs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    broken = _add(subs, "break", commands.break_node)
    healed = _add(subs, "heal", commands.heal_node)
    for parser in (broken, healed):
        parser.add_argument("node", metavar="NODE", help="instance ID or logical ID")
        parser.add_argument("--cluster", help="where the ID alone does not tell")
    broken.add_argument("--reason", help="HealthStatusReason of the event")
    broken.add_argument("--repair-action", help="RepairAction of the event, such as None, Reboot, Replace")
    broken.add_argument("--ends", choices=tuple(commands.ENDS), metavar="END", help=commands.ENDS_HELP)
    broken.add_argument("--reboot-seconds", type=float, metavar="S", help="how long a reboot of it takes")
    broken.add_argument(
        "--repairs-itself",
        type=float,
        metavar="S",
        help="HyperPod repairs it S seconds later, where the cluster has --node-recovery Automatic; --ends says how",
    )


def _add_cluster_commands(subs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    _add(subs, "clusters", commands.show_clusters)
    verbs = subs.add_parser("cluster", help="make or remove a cluster").add_subparsers(required=True, metavar="VERB")
    create = _add(verbs, "create", commands.create_cluster)
    create.add_argument("name", metavar="NAME")
    create.add_argument("--nodes", type=int, required=True, metavar="N")
    orchestrator = create.add_mutually_exclusive_group()
    orchestrator.add_argument("--eks", metavar="EKS-NAME", help="name of its EKS cluster (default: NAME-eks)")
    orchestrator.add_argument("--slurm", action="store_true", help="a Slurm cluster, with a controller")
    create.add_argument("--node-recovery", choices=("None", "Automatic"), default="None")
    create.add_argument("--not-continuous", action="store_true", help="nodes without logical IDs")
    create.add_argument("--reboot-seconds", type=float, default=2.0, metavar="S")
    delete = _add(verbs, "delete", commands.delete_cluster)
    delete.add_argument("name", metavar="NAME")


def _add(
    subs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, run: _Command
) -> argparse.ArgumentParser:
    summary = (run.__doc__ or "").rstrip(".")
    parser = subs.add_parser(name, help=summary[:1].lower() + summary[1:], description=run.__doc__)
    parser.set_defaults(run=run)
    return parser


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
