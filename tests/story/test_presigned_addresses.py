"""A shell without keys reads from S3 and writes to it: it has addresses for one object and one purpose each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventmill.access.s3 import Bucket
from eventmill.campaign.audit import audit
from eventmill.config.campaign_spec import CampaignSpec
from tests.pilots import Led, led_by_pilots
from tests.servers import S3Server, environment
from tests.story.test_curl_pilot import NUMBERED, curl_pilot, expected


@pytest.fixture
def story(
    rclone_server: S3Server, campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> Iterator[CampaignSpec]:
    """Two files of 100 lines on S3, which are written into files on S3. The server checks signatures and MD5."""
    with environment(rclone_server.environment):
        for name in ("a", "b"):
            body = "".join(f'{{"n": {n}}}\n' for n in range(100)).encode()
            Bucket("data").call("put_object", Key=f"{tmp_path.name}/{name}.jsonl", Body=body)
        yield campaign(
            "lines",
            inputs={"files": [f"s3://data/{tmp_path.name}/*.jsonl"]},
            output={"store": f"s3://out/{tmp_path.name}", "format": "bytes"},
            ranges={"events": 20, "block": "1s"},
        )


def lines(led: Led) -> list[str]:
    opened = led.opened
    assert audit(opened.ledger, opened.store, opened.read_row()).problems == ()
    found = []
    for file in opened.ledger.merged_outputs(opened.id):
        with opened.store.open(file.key) as stream:
            found += stream.read().decode().splitlines()
    return sorted(found)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed here")
def test_curl_reads_and_writes_at_signed_addresses(story: CampaignSpec, tmp_path: Path) -> None:
    """It copies each input once, and sends the headers that were signed."""
    with led_by_pilots(story, folder=tmp_path / "led") as led, curl_pilot(led, NUMBERED):
        led.wait()
        assert lines(led) == expected(led.opened.urls, 100)
    assert len(set((led.folder / "gate.inputs").read_text().split())) == 2
