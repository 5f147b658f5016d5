"""`python -m bench [part ...]`: measure, keep what was measured, write the documents; without names, all parts."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench import calls, cold, growth, report, results, scaling, storm
from bench.tools import ROOT, BenchError
from bench.world import Bench, prepare
from infra.errors import PackagingError
from local.aws import LocalAwsError
from local.deploy import DeployFailed

_MEASURED: Mapping[str, Callable[[Bench], Any]] = {
    "cold": cold.measure,
    "calls": calls.measure,
    "storm": storm.measure,
    "scaling": scaling.measure,
}
_REPORT = "report"


def main(arguments: Sequence[str] | None = None) -> None:
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
    storms, grown = results.load_storm(), results.load_scaling()
    documents = {
        "benchmarks.md": report.text(results.load_cold(), results.load_calls(), storms, grown),
        "scaling.md": growth.text(grown, storms.value),
        "scaling.svg": growth.plot(grown.value),
    }
    for name, content in documents.items():
        (ROOT / "docs" / name).write_text(content)
        print(f"bench: wrote docs/{name}")


if __name__ == "__main__":
    main()
