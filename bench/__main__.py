"""`python -m bench [part ...]`: measure, keep what was measured, write the documents; without names, all parts."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench import cold, documents, latency, results, scaling, storm, sweep
from bench.results import Taken
from bench.targets import Measured
from bench.tools import ROOT, BenchError
from bench.world import Bench, prepare
from infra.errors import PackagingError
from local.aws import LocalAwsError
from local.deploy import DeployFailed

_MEASURED: Mapping[str, Callable[[Bench], Any]] = {
    "cold": cold.measure,
    "latency": latency.measure,
    "storm": storm.measure,
    "sweep": sweep.measure,
    "scaling": scaling.measure,
}
_REPORT = "report"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts that are named, all where none is; then write the documents if `report` is among them."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join([*_MEASURED, _REPORT])}; none: all")
    parts = parser.parse_args(arguments).parts or [*_MEASURED, _REPORT]
    if unknown := [part for part in parts if part not in (*_MEASURED, _REPORT)]:
        parser.error(f"there is no part {unknown[0]}, but {', '.join([*_MEASURED, _REPORT])}")
    try:
        _measure([part for part in _MEASURED if part in parts])
        if _REPORT in parts:
            _write()
    except (BenchError, PackagingError, DeployFailed, LocalAwsError) as error:
        sys.exit(f"bench: {error}")


def _measure(parts: Sequence[str]) -> None:
    if not parts:
        return
    bench = prepare()
    for part in parts:
        started = time.monotonic()
        print(f"bench: {part} ...", flush=True)
        results.save(part, _MEASURED[part](bench))
        print(f"bench: {part} took {time.monotonic() - started:.0f} s", flush=True)


def _write() -> None:
    starts = results.load("cold", cold.Cold)
    measured = Measured(
        cold=starts.value,
        latency=results.load("latency", latency.Latency).value,
        storm=results.load("storm", storm.Storms).value,
        sweep=results.load("sweep", sweep.Sweeps).value,
    )
    grown = results.load("scaling", scaling.Scaling)
    blocks = {
        "benchmarks.md": documents.benchmarks(Taken(measured, starts.day, starts.cores), grown.value),
        "scaling.md": documents.growth(grown, measured.storm),
    }
    for name, measured_blocks in blocks.items():
        document = ROOT / "docs" / name
        document.write_text(documents.filled(document.read_text(), measured_blocks))
        print(f"bench: wrote the tables of docs/{name}")


if __name__ == "__main__":
    main()
