"""An example of each message, as JSON has it, for OpenAPI and its pages. Tests check them against the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eventmill.messages import v1

Example = Mapping[str, Any]

LEASE = "1.42.7.1033"
SESSION = "3f9a1c0d5b7e2846"
NONCE = "9f86d081884c7d659a2feaa0"
DIGEST = "c536d3177541d744"
SHA256 = "b78a1987bcbdc0903ba6ba29ee3e1f4e7cc1ca868a60889beb141e26e06cb005"
MD5 = "f8ef33b13cb1a4ed5ca1c3b4a4b5a5f4"
KEY = "_ranges/dimuon-2026/1033/7-2000-3000-b78a1987bcbdc090.parquet"

RANGE = {"start": 2000, "stop": 3000}

OFFERS = {
    "host": "node017.example.org",
    "site": "CERN",
    "cores": 8,
    "memory_bytes": 16_000_000_000,
    "gpus": 0,
    "seconds_left": 7200.0,
    "software": {"python": "3.12.3"},
}

ENVIRONMENT = {
    "digest": "5f2a0b94e7c1d386",
    "packages": ["numpy==2.1.0", 'pywin32==306; sys_platform == "win32"'],
    "path": "/cvmfs/sft.cern.ch/lcg/views/LCG_105",
}

REFUSAL = {
    "campaign": "dimuon-2026",
    "kind": "gpus",
    "reason": "it wants 1 GPU for each slot, and this pilot has 0 for 8 slots",
}

INPUT = {
    "url": "https://data.example.org/run3/7.root",
    "name": "https://data.example.org/run3/7.root",
    "ordinal": 6,
    "first": 600_000,
    "events": 100_000,
    "identity": 'size=73400320 etag="5d41402a"',
    "boundaries": [50_000],
    "label": "data",
}

CLAIM = {
    "lease": LEASE,
    "campaign": "dimuon-2026",
    "lease_seconds": 60.0,
    "renew_in_seconds": 20.0,
    "input": INPUT,
    "block": {"start": 2000, "stop": 4000},
    "range_events": 1000,
    "aligned": True,
    "missing": [{"start": 2000, "stop": 4000}],
    "ranges": [RANGE, {"start": 3000, "stop": 4000}],
    "schema": None,
    "suffix": "parquet",
    "upload": "presigned",
    "payload": DIGEST,
    "order": "{…}",
}

FAILURE = {
    "kind": "payload",
    "summary": "ValueError: event 2345 is poisonous",
    "traceback": "Traceback (most recent call last): …",
    "printed": "working on 2000 to 3000\n",
    "cpu_seconds": 1.5,
}

OUTPUT = {
    "range": RANGE,
    "key": KEY,
    "bytes": 48_213,
    "sha256": SHA256,
    "rows": 987,
    "cpu_seconds": 5.2,
    "wall_seconds": 5.4,
    "overhead_seconds": 0.01,
}

COMMIT = {"type": "commit", "lease": LEASE, "outputs": [OUTPUT], "payload": DIGEST, "begun": 4000}
FAIL = {"type": "fail", "lease": LEASE, "range": RANGE, "failure": FAILURE, "report_id": NONCE}
RENEW = {"type": "renew", "lease": LEASE, "begun": 3000}

ACCEPTED = {"outcomes": ["accepted"], "directive": "continue", "stop": 4000}
DUPLICATE = {"outcomes": ["duplicate"], "directive": "continue", "stop": 4000}
FENCED = {"outcomes": ["fenced"], "directive": "stop"}

EXAMPLES: Mapping[type[v1.Message], tuple[Example, ...]] = {
    v1.Range: (RANGE,),
    v1.Environment: (ENVIRONMENT,),
    v1.Refusal: (REFUSAL,),
    v1.Offers: (OFFERS,),
    v1.SessionRequest: (
        {"name": "node017", "slots": 8, "campaigns": ["dimuon-2026"], "offers": OFFERS, "nonce": NONCE},
        {"name": "laptop", "slots": 1, "nonce": NONCE},
    ),
    v1.SessionReply: (
        {
            "session": SESSION,
            "worker": f"pilot/node017/{SESSION}",
            "protocol": v1.PROTOCOL,
            "version": "0.1.0",
            "wait_seconds": v1.LONGEST_WAIT_SECONDS,
        },
    ),
    v1.InputAddress: (INPUT, INPUT | {"url": "/v1/inputs/1/7", "name": "run3/7.root", "size": 73_400_320}),
    v1.Claim: (CLAIM,),
    v1.AcquireRequest: (
        {"blocks": 2, "wait_seconds": 20.0, "nonce": NONCE},
        {"blocks": 1, "nonce": NONCE, "seconds_left": 5400.0, "environments": {ENVIRONMENT["digest"]: []}},
    ),
    v1.AcquireReply: (
        {"claims": [CLAIM], "retry_in_seconds": 0.0},
        {"claims": [], "retry_in_seconds": 1.0, "environments": [ENVIRONMENT], "refusals": [REFUSAL]},
    ),
    v1.Failure: (FAILURE,),
    v1.Output: (OUTPUT,),
    v1.CommitItem: (COMMIT,),
    v1.FailItem: (FAIL,),
    v1.RenewItem: (RENEW,),
    v1.AskItem: ({"type": "ask", "lease": LEASE},),
    v1.ReleaseItem: (
        {"type": "release", "lease": LEASE},
        {"type": "release", "lease": LEASE, "drained": "SIGTERM"},
    ),
    v1.SetupFailedItem: (
        {
            "type": "setup_failed",
            "lease": LEASE,
            "failure": {"kind": "setup", "summary": "ImportError: No module named 'ROOT'"},
        },
    ),
    v1.SetupItem: ({"type": "setup", "lease": LEASE, "cpu_seconds": 12.5},),
    v1.SchemaItem: ({"type": "schema", "lease": LEASE, "schema": "Ynl0ZXM="},),
    v1.TroubleItem: (
        {
            "type": "trouble",
            "lease": LEASE,
            "kind": "input",
            "summary": "data/0.parquet changed while it was being read.",
        },
    ),
    v1.ReportRequest: ({"items": [COMMIT, RENEW]}, {"items": [FAIL]}),
    v1.ItemReply: (ACCEPTED, DUPLICATE, FENCED),
    v1.ReportReply: ({"replies": [ACCEPTED, FENCED]},),
    v1.UploadRequest: ({"lease": LEASE, "range": RANGE, "bytes": 48_213, "sha256": SHA256, "md5": MD5},),
    v1.UploadReply: (
        {
            "key": KEY,
            "method": "PUT",
            "url": f"/v1/sessions/{SESSION}/outputs/{LEASE}/2000-3000?sha256={SHA256}",
            "headers": {"Content-Type": "application/octet-stream"},
            "expires_in_seconds": 3600.0,
        },
    ),
    v1.StoredReply: ({"key": KEY, "bytes": 48_213, "sha256": SHA256},),
    v1.PayloadReply: (
        {
            "digest": DIGEST,
            "callable": "payload.py:Dimuon",
            "entry": "payload:Dimuon",
            "bundle": "UEsDBBQAAAAI…",
        },
    ),
    v1.EndReply: ({"released": 1},),
    v1.Problem: (
        {
            "type": "about:blank",
            "title": "Conflict",
            "status": 409,
            "detail": f"the lease {LEASE} is not current any more: drop the block, and acquire another one.",
            "request": "884c94743a1cd1b9",
        },
    ),
}
"""Of each message, in the order of `v1`: one example, or several where it is used in several ways."""
