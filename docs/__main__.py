"""`python -m docs` writes the pages that are made from the code, `python -m docs picture` plays the demonstration for
the pictures: one event, and the data of the dashboard."""

import os
import subprocess
import sys
from pathlib import Path

from docs.pages import DASHBOARD_DATA, PAGES
from docs.picture import picture
from docs.recording import recorded, written

ROOT = Path(__file__).resolve().parent.parent
EVENT = "docs/node-health.json"


def main() -> None:
    if sys.argv[1:] == ["picture"]:
        demo = [sys.executable, "-m", "local", "demo", "--event", EVENT]
        env = {**os.environ, "COLUMNS": "100"}
        output = subprocess.run(demo, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
        drawn = picture(f'make demo ARGS="--event {EVENT}"', output)
        (ROOT / "docs" / "demo.svg").write_text(drawn, encoding="utf-8")
        DASHBOARD_DATA.write_text(written(recorded()), encoding="utf-8")
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
