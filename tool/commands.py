"""Defines the commands: what each takes, and which view it shows as text or JSON."""

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.text import Text

from node_remediation.events import own
from node_remediation.policy.modes import ModeEntry
from node_remediation.policy.record import State
from node_remediation.settings import MODES
from smoke.stack import Stack, connect
from tool import modes, text
from tool.errors import FAILED, NOT_FOUND, OK, TROUBLE, ToolError
from tool.ledger import Reader
from tool.letters import DeadLetterQueue, Wanted, groups
from tool.report.gather import gather as gather_report
from tool.report.gather import write_page
from tool.report.page import sentence
from tool.requests import answer
from tool.requests import request as send_request
from tool.status import status as gather_status
from tool.story import incident_rows, story
from tool.times import iso, now, read_duration, read_time
from tool.watching import watch as watch_live

PROGRAM = "hyperpod-remediation"
_PAGE = "hyperpod-remediation-report.html"
_A_DAY = timedelta(hours=24)
_STACK_VARIABLE = "HYPERPOD_REMEDIATION_STACK"

app = typer.Typer(
    help="See and steer HyperPod Node Remediation: what happened to a node, why, and what happens next.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
)
mode_app, dlq_app = typer.Typer(rich_markup_mode=None), typer.Typer(rich_markup_mode=None)
app.add_typer(mode_app, name="mode", help="Show or change the mode.")
app.add_typer(dlq_app, name="dlq", help="Show dead letters, or put them back.")


@dataclass
class Session:
    """The options that every command takes, and what comes of them."""

    stack_name: str
    profile: str | None
    region: str | None
    as_json: bool

    @cached_property
    def stack(self) -> Stack:
        return connect(self.stack_name, profile=self.profile, region=self.region)

    def show(self, view: Any, lines: Callable[[Any], Iterator[Text]]) -> None:
        """Print a view, as JSON or as text."""
        if self.as_json:
            sys.stdout.write(json.dumps(view, indent=1) + "\n")
        else:
            text.print_lines(lines(view))


def _options(
    *,
    stack: Annotated[
        str, typer.Option(metavar="NAME", envvar=_STACK_VARIABLE, help="The deployed stack.")
    ] = "HyperPodNodeRemediation",
    profile: Annotated[str | None, typer.Option(metavar="NAME", help="As for the AWS CLI.")] = None,
    region: Annotated[str | None, typer.Option(metavar="NAME", help="As for the AWS CLI.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> Session:
    return Session(stack, profile, region, as_json)


def _command(add: Callable[[Callable[..., Any]], Any]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Make a command of a function that takes a session: the options of every command are added to its own."""

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        of_all = inspect.signature(_options, eval_str=True).parameters
        _, *own_parameters = inspect.signature(function, eval_str=True).parameters.values()

        @wraps(function)
        def run(**given: Any) -> int:
            session = _options(**{name: given.pop(name) for name in of_all})
            return function(session, **given)

        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own_parameters, *of_all.values())]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        add(run)
        return function

    return decorate


def _parsed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser for typer, which takes ValueError for another thing."""

    def read(value: str) -> Any:
        try:
            return parse(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"takes one of {', '.join(words)}, not {value!r}")
        return value

    return _parsed(parse)


_Cluster = Annotated[str | None, typer.Option("--cluster", metavar="NAME", help="Of one cluster.")]
_Code = Annotated[str | None, typer.Option("--code", metavar="CODE", help="Of one code, such as Paused.")]
_Most = Annotated[int, typer.Option("--most", metavar="N", min=1, help="Look at so many letters.")]
_Incident = Annotated[str, typer.Argument(metavar="INCIDENT", parser=_parsed(lambda text: str(UUID(text))))]
_By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who answers; else as AWS knows the caller.")]
_Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="For the record.")]


@app.callback(invoke_without_command=True)
def help_(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@_command(app.command("status"))
def status(session: Session) -> int:
    """Show how the system is: mode, incidents, budgets, alarms."""
    view = gather_status(session.stack, now())
    session.show(view, text.status)
    return TROUBLE if view["trouble"] else OK


@_command(app.command("incidents"))
def incidents(
    session: Session,
    cluster: _Cluster = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Such as rebooted, proposed, not_recovered.")
    ] = None,
    since: Annotated[
        timedelta | None,
        typer.Option(metavar="24h", parser=_parsed(read_duration), help="With those over that changed since then."),
    ] = None,
) -> int:
    """List open incidents; with --since those over, too."""
    reader = Reader(session.stack)
    records = reader.all() if since or (state and state not in set(State)) else reader.unfinished()
    rows = [row for record in records for row in incident_rows(record)]
    oldest = iso(now() - since) if since else None
    rows = [
        row
        for row in rows
        if cluster in (None, row["cluster"])
        and state in (None, row["state"])
        and (row["open"] or ((oldest or "") <= row["changed_at"] and (since or state)))
    ]
    rows.sort(key=lambda row: (row["changed_at"], row["node"]), reverse=True)
    session.show({"incidents": rows}, text.incidents)
    return OK


@_command(app.command("explain"))
def explain(
    session: Session,
    of: Annotated[str, typer.Argument(metavar="NODE|INCIDENT", help="Instance ID, logical ID or incident ID.")],
    cluster: _Cluster = None,
) -> int:
    """Tell the story of a node or incident, and what is next."""
    reader, incident = Reader(session.stack), _incident_id(of)
    records = reader.of_incident(incident) if incident else []
    if not records:  # a logical ID may look like an incident's
        incident, records = None, reader.of_node(of, cluster)
    if not records:
        raise ToolError(f"nothing is known of {of}: it has had no incident, or its record has expired", NOT_FOUND)
    views = []
    for record in records:
        budget, limit = reader.budget(record.key.cluster), reader.limit(record.key.cluster)
        view = story(record, budget, limit=limit, settings=session.stack.settings, now=now())
        if incident:
            view["history"] = [each for each in view["history"] if each["incident"] == incident]
            view["incident"] = view["incident"] if record.incident and record.incident.id == incident else None
        views.append(view)
    session.show({"at": iso(now()), "nodes": views}, text.explain)
    return OK


@_command(app.command("report"))
def report(
    session: Session,
    cluster: _Cluster = None,
    since: Annotated[
        timedelta | None,
        typer.Option(metavar="24h", parser=_parsed(read_duration), help="What happened since; else 24h."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help=f"The page; else {_PAGE}.")
    ] = None,
) -> int:
    """Write a page that tells what happened in the night."""
    view = gather_report(session.stack, cluster, since=since or _A_DAY, now=now())
    if output or not session.as_json:
        write_page(view, output or Path(_PAGE))
    session.show(view, lambda _: iter([Text(f"{output or _PAGE}: {sentence(view)}")]))
    return OK


def _incident_id(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None


@_command(mode_app.callback(invoke_without_command=True))
def mode(session: Session, context: typer.Context) -> int:
    """Show or change the mode: active, observe or paused."""
    if _is_alone(context):
        session.show(modes.view(session.stack, now()), text.mode)
    return OK


def _is_alone(context: typer.Context) -> bool:
    """Tell whether no subcommand follows; an option before one would be lost."""
    if context.invoked_subcommand is None:
        return True
    given = [name for name in context.params if "COMMANDLINE" in str(context.get_parameter_source(name))]
    if given:
        raise typer.BadParameter(f"options follow the subcommand: {context.info_name} {context.invoked_subcommand} ...")
    return False


_Group = Annotated[str, typer.Option("--group", metavar="NAME", help="Of one instance group; takes *.")]
_Of = Annotated[str | None, typer.Option("--cluster", metavar="NAME", help="Of one cluster; takes *.")]


@_command(mode_app.command("set"))
def set_mode(
    session: Session,
    *,
    word: Annotated[str, typer.Argument(metavar="MODE", parser=_one_of(*MODES), help="active, observe or paused.")],
    cluster: _Of = None,
    group: _Group = "*",
    until: Annotated[
        datetime | None, typer.Option(metavar="TIME", parser=_parsed(read_time), help="Its end: 2026-12-01T06:00Z.")
    ] = None,
    lasting: Annotated[
        timedelta | None, typer.Option("--for", metavar="2h", parser=_parsed(read_duration), help="Its end, from now.")
    ] = None,
) -> int:
    """Set the mode of all nodes, or of a cluster's.

    It takes effect within a minute. Other entries stay, and the strictest counts.
    """
    if until and lasting:
        raise typer.BadParameter("takes one of --until and --for")
    end = now().replace(microsecond=0) + lasting if lasting else until
    if end and end <= now():
        raise typer.BadParameter(f"--until takes a time to come, not {iso(end)}")
    modes.set_mode(session.stack, ModeEntry(word, _pattern(cluster, group) or "*", end), now())
    session.show(modes.view(session.stack, now()), text.mode)
    return OK


@_command(mode_app.command("clear"))
def clear_mode(session: Session, cluster: _Of = None, group: _Group = "*") -> int:
    """Remove a cluster's entry, or all: the setting counts."""
    modes.clear_mode(session.stack, _pattern(cluster, group), now())
    session.show(modes.view(session.stack, now()), text.mode)
    return OK


def _pattern(cluster: str | None, group: str) -> str | None:
    if group == "*":
        return cluster
    if cluster is None:
        raise typer.BadParameter("--group takes --cluster beside it")
    return f"{cluster}/{group}"


@_command(app.command("approve"))
def approve(session: Session, incident: _Incident, by: _By = None, reason: _Reason = "") -> int:
    """Approve a proposed reboot; every limit is judged again."""
    return _answer(session, incident, own.APPROVED, by, reason)


@_command(app.command("veto"))
def veto(session: Session, incident: _Incident, by: _By = None, reason: _Reason = "") -> int:
    """Veto a proposed reboot."""
    return _answer(session, incident, own.VETOED, by, reason)


def _answer(session: Session, incident: str, detail_type: str, by: str | None, reason: str) -> int:
    """Send an answer, if its proposal waits for one."""
    found = [each.incident for each in Reader(session.stack).of_incident(incident)]
    waiting = next((each for each in found if each and each.id == incident and each.state is State.PROPOSED), None)
    if waiting is None or waiting.approved:
        raise ToolError(f"no proposal of incident {incident} waits for an answer: see `explain {incident}`", NOT_FOUND)
    message = answer(session.stack, incident, detail_type, by=by, reason=reason)
    return _sent(session, message, incident)


def _sent(session: Session, message: str, about: str) -> int:
    def lines(view: Any) -> Iterator[Text]:
        yield Text(f"sent as message {view['message']}; judged within seconds: {PROGRAM} explain {about}")

    session.show({"message": message}, lines)
    return OK


@_command(app.command("request"))
def request(
    session: Session,
    cluster: Annotated[str, typer.Argument(metavar="CLUSTER")],
    nodes: Annotated[list[str], typer.Argument(metavar="NODE...", help="Instance IDs or logical IDs.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the record.")],
) -> int:
    """Ask for reboots of nodes; every limit applies."""
    return _sent(session, send_request(session.stack, cluster, nodes, reason), nodes[0])


@_command(dlq_app.callback(invoke_without_command=True))
def dlq(
    session: Session,
    *,
    context: typer.Context,
    code: _Code = None,
    cluster: _Cluster = None,
    nodes: Annotated[bool, typer.Option("--nodes", help="A line for each letter, too.")] = False,
    most: _Most = 1_000,
) -> int:
    """Show the dead letters by code and cluster; they stay where they are."""
    if _is_alone(context):
        queue, wanted = DeadLetterQueue(session.stack), Wanted(code, cluster)
        counts = queue.counts()
        found = queue.look(wanted, most)
        view = {
            "counts": counts,
            "groups": groups(found),
            "letters": [each.view() for each in found] if nodes or session.as_json else None,
            "looked_at_most": most if counts["visible"] > most else None,
        }
        session.show(view, text.letters)
    return OK


@_command(dlq_app.command("redrive"))
def redrive(
    session: Session,
    code: _Code = None,
    cluster: _Cluster = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and send nothing.")] = False,
    most: _Most = 10_000,
) -> int:
    """Put letters back on the intake queue, each a new attempt."""
    queue, wanted = DeadLetterQueue(session.stack), Wanted(code, cluster)
    view: dict[str, Any] = {"dry_run": dry_run, "counts": queue.counts(), "letters": None, "missed": []}
    if dry_run:
        view["letters"] = [each.view() for each in queue.look(wanted, most)]
    elif wanted.all:
        queue.redrive_all()
    else:
        done = queue.redrive(wanted, most)
        view |= {"letters": [each.view() for each in done.sent], "missed": done.missed}
    session.show(view, text.redriven)
    return FAILED if view["missed"] else OK


_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command("simulate", context_settings=_PASSED_ON, add_help_option=False)
def simulate(context: typer.Context) -> int:
    """Play captured events offline: what would be decided."""
    return _passed_on("simulate", context)


@app.command("smoke", context_settings=_PASSED_ON, add_help_option=False)
def smoke(context: typer.Context) -> int:
    """Try the deployed stack out in mode observe."""
    return _passed_on("smoke", context)


def _passed_on(package: str, context: typer.Context) -> int:
    """Run a package of its own with its own options."""
    try:
        status: int = import_module(f"{package}.__main__").main(context.args, program=f"{PROGRAM} {package}")
    except SystemExit as ended:  # argparse ends so, after help or a word about wrong usage
        return int(ended.code or 0)
    return status


@_command(app.command("watch"))
def watch(
    session: Session,
    cluster: _Cluster = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.5, help="How often it looks.")] = 3.0,
) -> int:
    """Follow reports and incidents live, until Ctrl-C."""
    watch_live(session.stack, every=every, cluster=cluster, as_json=session.as_json)
    return OK
