"""The page of a run with very many blocks: `python -m benchmarks.run_page 1000`, with a chromium installed.

A campaign with one block for each of so many inputs runs on a Prefect server of its own; then a browser opens its
page, in both designs of the UI. Prints the figures as JSON: seconds until the page has what its graph is drawn
from, and until it has drawn that and answers a click, the memory of the page, and that of the server. Keeps a
screenshot of each design in the working directory.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

BLOCKS = 1_000
DESIGNS = {"first design": "", "second design": "/v2"}
MIB = 2**20

PAYLOAD = """
import pyarrow as pa


def same(events, where):
    return pa.table({"event": events})
"""


def main(blocks: int) -> None:
    """Run, look, print."""
    from eventmill.prefect_api.server import api_server

    with tempfile.TemporaryDirectory(prefix="run-page-") as temporary:
        folder = Path(temporary)
        os.environ["PREFECT_HOME"] = str(folder / "home")
        with api_server(folder / "server") as url:
            server = _server_process(url)
            figures: dict[str, Any] = {"blocks": blocks, "server": {"before": _memory(server)}}
            begin = time.monotonic()
            run_campaign(folder, blocks)
            figures["run_seconds"] = round(time.monotonic() - begin, 1)
            figures["server"] |= {"after": _memory(server), "database_mib": _size(folder / "server")}
            figures |= {name: look(url, design) for name, design in DESIGNS.items()}
            figures["server"]["looked at"] = _memory(server)
    print(json.dumps(figures, indent=2))


def run_campaign(folder: Path, blocks: int) -> None:
    """One campaign with a block for each input, by the command, on the server of this process."""
    campaign = {
        "name": "many",
        "inputs": {"generated": {"events": 10 * blocks, "files": blocks}},
        "payload": {"callable": "same.py:same"},
        "ranges": {"events": 10},
        "output": {"store": "out", "merge": {"events": 10 * blocks}},
    }
    (folder / "many.yaml").write_text(yaml.safe_dump(campaign))
    (folder / "same.py").write_text(PAYLOAD)
    subprocess.run([sys.executable, "-m", "eventmill", "run", "many.yaml"], cwd=folder, check=True)


def look(url: str, design: str) -> dict[str, Any]:
    """Open the page of the run in a browser."""
    from playwright.sync_api import sync_playwright
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["process"])))
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("no chromium is installed: apt-get install chromium")
    base = url.removesuffix("/api")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(300_000)
        page.route(lambda address: not address.startswith(base), lambda route: route.abort())
        begin = time.monotonic()
        with page.expect_response(re.compile("/graph-v2")) as graph:
            page.goto(f"{base}{design}/runs/flow-run/{run.id}", wait_until="domcontentloaded")
        size = len(graph.value.body())
        answered = time.monotonic() - begin
        page.get_by_text("Task Runs", exact=True).first.click()  # which waits until the page has drawn the rest
        page.get_by_text("many · file").first.wait_for()
        clicked = time.monotonic() - begin
        nodes = graph.value.json()["nodes"]
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        renderers = [p for p in psutil.Process().children(recursive=True) if "--type=renderer" in p.cmdline()]
        page.screenshot(path=f"run-page{design.replace('/', '-')}.png")
        found = {
            "graph_seconds": round(answered, 1),
            "click_seconds": round(clicked, 1),
            "graph_kib": size // 1024,
            "nodes": len(nodes),
            "edges": sum(len(node["parents"]) for _, node in nodes),
            "heap_mib": round(metrics["JSHeapUsedSize"] / MIB),
            "page_pss_mib": max(_memory(each)["pss_mib"] for each in renderers),
        }
        browser.close()
    return found


def _server_process(url: str) -> psutil.Process:
    port = int(url.removesuffix("/api").rpartition(":")[2])
    (found,) = [each for each in psutil.Process().children() if str(port) in each.cmdline()]
    return found


def _memory(process: psutil.Process) -> dict[str, int]:
    memory = process.memory_full_info()
    return {"pss_mib": round(memory.pss / MIB), "rss_mib": round(memory.rss / MIB)}


def _size(folder: Path) -> float:
    return round(sum(file.stat().st_size for file in folder.glob("prefect.db*")) / MIB, 1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else BLOCKS)
