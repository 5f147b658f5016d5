"""The builds that are compared, each ready to run against a local TLS endpoint, with the size of what it ships."""

import shutil
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from bench.tools import BENCH, ROOT, WORK, BenchError, Runtime, compile_all, naive_packages
from infra.function_asset import function_asset

OURS, NAIVE, NAIVE_COMPILED, EMPTY = "ours", "naive", "naive + .pyc", "empty"
IN_TURN = "ours, calls in turn"
PRODUCT_CODE = ROOT / "lambda" / "node_remediation"


@dataclass(frozen=True, slots=True)
class Build:
    """What is shipped, sizes as it is shipped, and the copy of it that also trusts the local endpoint."""

    name: str
    shipped: Path
    trusting: Path
    handler: str
    zipped_bytes: int
    unpacked_bytes: int
    roots: int

    @property
    def takes_batches(self) -> bool:
        return self.name in (OURS, IN_TURN)


def all_builds(runtime: Runtime, root_certificate: str) -> dict[str, Build]:
    """Ours as it is deployed, the naive one as pip leaves it; and each changed in one thing, to see what that is worth.

    The naive one is compiled, and ours makes its calls one after another.
    """
    directory = WORK / "assets"
    shutil.rmtree(directory, ignore_errors=True)
    naive = _naive_asset(directory / "naive", runtime)
    compiled = directory / "naive-compiled"
    shutil.copytree(naive, compiled)
    compile_all(compiled, runtime.python)
    shipped = {OURS: function_asset(), NAIVE: naive, NAIVE_COMPILED: compiled}
    builds = {name: _build(name, asset, directory, root_certificate) for name, asset in shipped.items()}
    return {**builds, IN_TURN: _in_turn(builds[OURS], directory, runtime)}


def _in_turn(ours: Build, directory: Path, runtime: Runtime) -> Build:
    changed = directory / "in-turn"
    shutil.copytree(ours.trusting, changed)
    code = changed / PRODUCT_CODE.name
    with (code / "together.py").open("a") as module:
        module.write("\n\nside_by_side = in_turn\n")
    compile_all(code, runtime.python)
    return replace(ours, name=IN_TURN, trusting=changed)


def empty_build() -> Build:
    """A function that does nothing: what the runtime itself takes on this machine."""
    asset = WORK / "assets" / "empty"
    shutil.rmtree(asset, ignore_errors=True)
    asset.mkdir(parents=True)
    (asset / "nothing.py").write_text("def lambda_handler(event, context):\n    return {'batchItemFailures': []}\n")
    return Build(EMPTY, asset, asset, "nothing.lambda_handler", 0, 0, 0)


def _naive_asset(target: Path, runtime: Runtime) -> Path:
    """Certificates that lie in the product's code stay out: the naive build trusts what pip brought."""
    shutil.copytree(naive_packages(runtime.python), target)
    ignored = shutil.ignore_patterns("__pycache__", "*.pem")
    shutil.copytree(PRODUCT_CODE, target / PRODUCT_CODE.name, ignore=ignored)
    shutil.copytree(BENCH / "naive", target / "naive", ignore=shutil.ignore_patterns("__pycache__", "requirements*"))
    return target


def _build(name: str, shipped: Path, directory: Path, root_certificate: str) -> Build:
    trusting = directory / f"{shipped.name}-trusting"
    shutil.copytree(shipped, trusting)
    roots_file = short_roots(trusting)
    roots = roots_file.read_text().count("-----BEGIN CERTIFICATE-----")
    with roots_file.open("a") as file:
        file.write("\n" + root_certificate)
    return Build(
        name=name,
        shipped=shipped,
        trusting=trusting,
        handler="node_remediation.handler.lambda_handler" if name == OURS else "naive.handler.lambda_handler",
        zipped_bytes=zipped_bytes(shipped, directory / f"{shipped.name}.zip"),
        unpacked_bytes=sum(path.stat().st_size for path in shipped.rglob("*") if path.is_file()),
        roots=roots,
    )


def short_roots(asset: Path) -> Path:
    """The file of CA roots that the build reads: the shortest it carries. Raises BenchError."""
    found = [path for path in asset.rglob("*.pem") if "BEGIN CERTIFICATE" in path.read_text()]
    if not found:
        raise BenchError(f"no file of CA roots in {asset.name}")
    return min(found, key=lambda path: path.stat().st_size)


def zipped_bytes(directory: Path, archive: Path) -> int:
    """The size of the directory as a deflated zip, as an upload makes it."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            file.write(path, path.relative_to(directory))
    return archive.stat().st_size
