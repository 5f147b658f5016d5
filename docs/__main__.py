"""`python -m docs` writes the pages that are made from the code, `python -m docs picture` the README's picture."""

import os
import subprocess
import sys
from pathlib import Path

from docs.pages import PAGES
from docs.picture import picture

ROOT = Path(__file__).resolve().parent.parent
EVENT = "docs/node-health.json"


def main() -> None:
    if sys.argv[1:] == ["picture"]:
        demo = [sys.executable, "-m", "local", "demo", "--event", EVENT]
        env = {**os.environ, "COLUMNS": "100"}
        output = subprocess.run(demo, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
        drawn = picture(f'make demo ARGS="--event {EVENT}"', output)
        (ROOT / "docs" / "demo.svg").write_text(drawn, encoding="utf-8")
    else:
        for name, page in PAGES.items():
            (ROOT / "docs" / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
