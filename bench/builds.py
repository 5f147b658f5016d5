"""Makes the builds that are compared, with the size of what each ships."""

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from bench.tools import BENCH, WORK, Runtime, compile_all, naive_packages
from infra.function_asset import CODE, function_asset

OURS, NAIVE, NAIVE_COMPILED = "ours", "naive", "naive + .pyc"


@dataclass(frozen=True, slots=True)
class Build:
    """Holds a build's asset as it is shipped, and its sizes."""

    name: str
    asset: Path
    archive: Path
    handler: str
    zipped_bytes: int
    unpacked_bytes: int

    @property
    def takes_batches(self) -> bool:
        return self.name == OURS


def all_builds(runtime: Runtime) -> dict[str, Build]:
    """Return ours as it is deployed, the naive one as pip leaves it, and the naive one compiled."""
    directory = WORK / "assets"
    shutil.rmtree(directory, ignore_errors=True)
    naive = _naive_asset(directory / "naive", runtime)
    compiled = directory / "naive-compiled"
    shutil.copytree(naive, compiled)
    compile_all(compiled, runtime.python)
    assets = {OURS: function_asset(), NAIVE: naive, NAIVE_COMPILED: compiled}
    return {name: _build(name, asset, directory) for name, asset in assets.items()}


def _naive_asset(target: Path, runtime: Runtime) -> Path:
    shutil.copytree(naive_packages(runtime.python), target)
    shutil.copytree(CODE, target / CODE.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(BENCH / "naive", target / "naive", ignore=shutil.ignore_patterns("__pycache__", "requirements*"))
    return target


def _build(name: str, asset: Path, directory: Path) -> Build:
    archive = directory / f"{name.replace(' ', '')}.zip"
    return Build(
        name=name,
        asset=asset,
        archive=archive,
        handler="node_remediation.handler.lambda_handler" if name == OURS else "naive.handler.lambda_handler",
        zipped_bytes=zipped_bytes(asset, archive),
        unpacked_bytes=sum(path.stat().st_size for path in asset.rglob("*") if path.is_file()),
    )


def zipped_bytes(directory: Path, archive: Path) -> int:
    """Write the directory as a deflated zip, as an upload makes it, and return its size."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            file.write(path, path.relative_to(directory))
    return archive.stat().st_size
