"""`_<campaign>-manifest.json`: merged files with events and checksums, abandoned events with reasons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eventmill.core.keys import companion_key
from eventmill.core.records import CampaignRow, JournalKind, is_about
from eventmill.core.states import State
from eventmill.ledger import Ledger
from eventmill.reports.status import events_by_label
from eventmill.store import Store
from eventmill.store.overwrite import replace


def manifest_key(campaign: str) -> str:
    """The key of the manifest. Tools that read a folder of Parquet files skip names that begin with '_'."""
    return companion_key(campaign, "manifest.json")


def manifest(ledger: Ledger, record: CampaignRow) -> dict[str, Any]:
    """The campaign's result as plain data.

    Every event of every input is in `merged` or `abandoned`, or in `unfinished` before the end of the campaign.
    """
    merged = ledger.merged_outputs(record.id)
    counts = ledger.counts(record.id)
    inputs = ledger.inputs(record.id)
    label = {item.url: item.label for item in inputs}
    taken_up = {item.url for item in inputs}  # some of them were added later, after a repair
    codes = sorted({s.payload for _, s in ledger.spans(record.id, State.MERGED) if s.payload})
    return {
        "campaign": record.name,
        "target": record.rules.target,
        "close_reason": record.close_reason,
        "payload": record.payload,
        "payloads_used": codes,
        # What is merged may be of before or after such a change.
        "accepted_changes": [
            {"at": line.at.isoformat(), "what": line.reason}
            for line in ledger.journal(record.id, JournalKind.CHANGED)
        ],
        "events": {
            "total": counts.total,
            "merged": counts.merged,
            "abandoned": counts.abandoned,
            "unfinished": counts.open + counts.committed,
        },
        "labels": events_by_label(ledger.counts_by_label(record.id)),
        "inputs": [
            {
                "url": item.url,
                "events": item.events,
                "identity": item.identity,
                "label": item.label,
                "parameters": dict(item.parameters),
            }
            for item in inputs
        ],
        "left_out": [
            incident.reason
            for incident in ledger.journal(record.id, JournalKind.LEFT_OUT, JournalKind.COLUMNS_LEFT_OUT)
            if not any(is_about(incident, url) for url in taken_up)
        ],
        "merged": [
            {
                "key": file.key,
                "bytes": file.bytes,
                "sha256": file.sha256,
                "rows": file.rows,
                "events": file.events,
                "labels": list(dict.fromkeys(label[url] for url, _, _ in file.spans if label[url] is not None)),
                "spans": [list(span) for span in file.spans],
            }
            for file in merged
        ],
        "abandoned": [
            {"input": item.url, "start": span.start, "stop": span.stop, "reason": span.reason}
            for item, span in ledger.spans(record.id, State.ABANDONED)
        ],
    }


def write_manifest(ledger: Ledger, store: Store, record: CampaignRow) -> str:
    """Write or replace the manifest; returns its key. Harmless if two processes do it at once."""
    key = manifest_key(record.name)

    def write(path: Path) -> None:
        text = json.dumps(manifest(ledger, ledger.campaign(record.name)), indent=2) + "\n"
        path.write_text(text, encoding="utf-8")

    replace(store, key, write)
    return key
