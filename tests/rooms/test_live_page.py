"""The live page in a real browser, at a simulated campaign that fills up. Its screenshots are kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.core.ranges import NewInput, Span
from eventmill.core.states import State
from eventmill.ledger import Ledger, create_ledger
from eventmill.ledger.database import schema
from eventmill.ledger.database.transactions import insert_spans
from tests.conftest import new_campaign
from tests.engine.ledger_actions import DIGEST, begin, commit, lead, output
from tests.live_service import SimulatedCampaign, serving, whoever_knows
from tests.rooms.browser import PAGE_SECONDS
from tests.rooms.live_page_visitor import PHONE, Visitor, visiting
from tests.waiting import until

pytestmark = pytest.mark.system


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[SimulatedCampaign]:
    """200,000 events in 40 inputs on 60 workers that vanish, fail and come back."""
    campaign = SimulatedCampaign(tmp_path, events=200_000, files=40)
    yield campaign
    campaign.end()


def test_the_map_fills_while_one_watches(simulated: SimulatedCampaign) -> None:
    """From the list to a campaign; numbers, map and tables follow the ledger without a reload, to the end."""
    simulated.reach(0.3)
    with serving(simulated.ledger) as service, visiting(service) as visitor:
        visitor.open()
        visitor.until_says("#campaigns tbody", r"simulated\s+running")
        visitor.look("list")
        visitor.page.click("#campaigns a")
        visitor.until_says("#said", r"of 200,000 events done")
        visitor.until_says("#connection", "live")
        done = "56b4e9"  # committed; merged are 009e73
        before = until(lambda: (c := visitor.colours())[done] and c, seconds=PAGE_SECONDS)
        assert before["dddddd"] > 100 and before["f0e442"] > 100  # ready and leased
        visitor.look("begun")
        simulated.reach(0.7)
        until(lambda: visitor.events()["ready"] < 60_000, seconds=PAGE_SECONDS)
        until(
            lambda: (c := visitor.colours())[done] + c["009e73"] > 1.3 * (before[done] + before["009e73"]),
            seconds=PAGE_SECONDS,
        )
        assert "vanished" in visitor.text("#lost") or "expired" in visitor.text("#lost")
        assert "cannot" in visitor.text("#failed")
        assert visitor.page.locator("#workers tbody tr").count() > 10
        assert visitor.page.locator("#chart path.curve").count() == 1
        visitor.look("half")
        simulated.reach(2)
        visitor.until_says("#state", "incomplete|done")
        counts = simulated.ledger.counts(1)
        until(lambda: visitor.events()["merged"] == counts.merged, seconds=PAGE_SECONDS)
        assert visitor.events()["abandoned"] == counts.abandoned > 0
        until(lambda: visitor.colours()[done] == 0, seconds=PAGE_SECONDS)
        files = simulated.ledger.count_files(1)[0]
        visitor.until_says("#files-note", f"{files} files")
        assert "nobody is at work" in visitor.text("#workers")
        visitor.look("end")


def test_it_is_read_by_keyboard_alone(simulated: SimulatedCampaign) -> None:
    """Tab and Enter to a campaign, arrow keys on its map; what is told of the events is what the ledger says."""
    simulated.reach(0.4)
    with serving(simulated.ledger) as service, visiting(service) as visitor:
        visitor.open()
        visitor.until_says("#campaigns tbody", "simulated")
        keyboard = visitor.page.keyboard
        _tab_to(visitor, "#campaigns a")
        keyboard.press("Enter")
        visitor.until_says("#said", "events done")
        _tab_to(visitor, "#map")
        keyboard.press("ArrowDown")
        assert visitor.until_says("#map-words", r"all inputs, events 0 up to before [\d,]+: .+")
        for key, row in (("ArrowDown", 0), ("ArrowDown", 1), ("ArrowUp", 0)):
            keyboard.press(key)
            _until_told(visitor, f"^{re.escape(simulated.inputs[row].url)}, ")
        keyboard.press("End")
        _until_told(visitor, r"up to before 5,000:|event 4,999:")
        keyboard.press("Home")
        _until_told(visitor, "events? 0 ")
        keyboard.press("Shift+ArrowRight")
        _until_told(visitor, r"events? [1-9]")
        for _ in range(45):
            keyboard.press("ArrowDown")
        _until_told(visitor, f"^{re.escape(simulated.inputs[-1].url)}, ")
        _check_words(_told(visitor), simulated)
        visitor.look("keyboard")
        assert visitor.page.get_attribute("#map", "aria-describedby") and visitor.text("#announce")


def _tab_to(visitor: Visitor, selector: str) -> None:
    for _ in range(30):
        visitor.page.keyboard.press("Tab")
        if visitor.page.evaluate(f"document.activeElement.matches('{selector}')"):
            seen = "getComputedStyle(document.activeElement).outlineStyle"
            assert visitor.page.evaluate(seen) == "solid"  # one sees where one is
            return
    raise AssertionError(f"no way to {selector} by Tab")


def _told(visitor: Visitor) -> str:
    """What is read out of the map."""
    return str(visitor.page.text_content("#map-announce"))


def _until_told(visitor: Visitor, pattern: str) -> None:
    """What is read out is also to be seen."""
    until(
        lambda: re.search(pattern, _told(visitor)) and _told(visitor) == visitor.text("#map-words"),
        seconds=PAGE_SECONDS,
    )


def _check_words(words: str, simulated: SimulatedCampaign) -> None:
    """What was told of some events of the last input is true."""
    found = re.fullmatch(r"(\S+), events? ([\d,]+)(?: up to before ([\d,]+))?: (.+)", words)
    assert found, words
    start = int(found[2].replace(",", ""))
    stop = int(found[3].replace(",", "")) if found[3] else start + 1
    said = {state: int(number.replace(",", "")) for number, state in re.findall(r"([\d,]+) (\w+)", found[4])}
    there: Counter[str] = Counter()
    for item, span in simulated.ledger.spans(1):
        if item.url == found[1]:
            overlap = min(stop, span.stop) - max(start, span.start)
            there[str(span.state)] += max(0, overlap)
    assert said == +there


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_on_a_phone(simulated: SimulatedCampaign, scheme: str) -> None:
    """320 pixels wide, nothing is wider than the page; the list, too."""
    simulated.reach(0.5)
    with serving(simulated.ledger) as service, visiting(service, size=PHONE, scheme=scheme) as visitor:
        wide = "document.documentElement.scrollWidth"
        visitor.open()
        visitor.until_says("#campaigns tbody", "simulated")
        assert visitor.page.evaluate(wide) == PHONE[0]
        visitor.look(f"phone-list-{scheme}")
        visitor.open("simulated")
        visitor.until_says("#said", "events done")
        until(lambda: visitor.colours()["f0e442"] > 100, seconds=PAGE_SECONDS)
        assert visitor.page.evaluate(wide) == PHONE[0]
        visitor.page.locator("#map").tap() if False else visitor.page.locator("#map").click(
            position={"x": 150, "y": 60}
        )
        visitor.until_says("#map-words", r"events? [\d,]+")
        visitor.look(f"phone-{scheme}")


def test_it_is_dark_where_people_want_that(simulated: SimulatedCampaign) -> None:
    """The colours of the map, too, also when that changes while one watches."""
    simulated.reach(0.6)
    with serving(simulated.ledger) as service, visiting(service, scheme="dark") as visitor:
        visitor.open("simulated")
        visitor.until_says("#said", "events done")
        until(lambda: (c := visitor.colours())["4a5257"] > 100 and not c["dddddd"], seconds=PAGE_SECONDS)
        visitor.look("dark")
        visitor.page.emulate_media(color_scheme="light")
        until(lambda: (c := visitor.colours())["dddddd"] > 100 and not c["4a5257"], seconds=PAGE_SECONDS)


def test_a_token_stays_in_the_tab(simulated: SimulatedCampaign) -> None:
    """Asked for where one is needed; sent in headers, kept in the tab's storage alone, and forgotten."""
    simulated.reach(0.1)
    with serving(simulated.ledger, may_read=whoever_knows("s3cret")) as service, visiting(service) as visitor:
        visitor.open("simulated")
        visitor.page.wait_for_selector("#token-form")
        visitor.look("token")
        for given, said in (("wrong", "#problem"), ("s3cret", "#said")):
            visitor.page.fill("#token", given)
            visitor.page.keyboard.press("Enter")
            visitor.until_says(said, "give a token|events done")
        visitor.until_says("#connection", "live")
        kept = "[JSON.stringify(localStorage), document.cookie, JSON.stringify(sessionStorage), location.href]"
        local, cookie, session, address = visitor.page.evaluate(kept)
        assert "s3cret" not in local + cookie + address and "s3cret" in session
        assert [url for url in visitor.requests if "s3cret" in url] == []
        visitor.page.click("#forget")
        visitor.page.wait_for_selector("#token-form")
        assert visitor.page.evaluate("sessionStorage.length") == 0
        visitor.forgive("401")


HOSTILE = "<img src=x onerror=\"document.title='taken'\"><b id=in>bold"


def test_what_comes_from_outside_is_text(tmp_path: Path) -> None:
    """Names of inputs, workers and files, reasons and tracebacks: markup in them is shown, and does nothing."""
    ledger = create_ledger("memory://hostile")
    campaign = new_campaign(ledger, (), failures=1)
    ledger.add_inputs(campaign.id, [NewInput(f"/data/{HOSTILE}{number}", 100, "id") for number in range(3)])
    leadership = lead(ledger, campaign)
    commit(ledger, begin(ledger, leadership, events=10, holder=HOSTILE), (0, 5))
    claim = begin(ledger, leadership, events=10, holder="w")
    failed = FailureReport(FailureKind.PAYLOAD, HOSTILE, HOSTILE, HOSTILE, cpu_seconds=1.0)
    ledger.fail(claim.lease, claim.missing[0], failed)
    lost = begin(ledger, leadership, events=10, holder="lost")
    ledger.mark_lost(campaign.id, holders=["lost"], reason=HOSTILE)
    assert lost.block
    with serving(ledger) as service, visiting(service) as visitor:
        visitor.open("c")
        visitor.until_says("#failed", re.escape(HOSTILE))
        visitor.page.click("#failed summary")
        assert HOSTILE in visitor.text("#failed pre") and HOSTILE in visitor.text("#workers")
        assert HOSTILE in visitor.text("#lost")
        visitor.page.locator("#map").click(position={"x": 400, "y": 60})
        visitor.until_says("#map-words", "onerror|bold")
        assert visitor.page.locator("#in, main img").count() == 0
        assert visitor.page.title() != "taken"
        visitor.look("hostile")


def test_it_comes_back_with_its_server(simulated: SimulatedCampaign) -> None:
    """While nobody answers it says so; afterwards it shows what happened meanwhile, without a reload."""
    simulated.reach(0.2)
    with serving(simulated.ledger) as service:
        port = int(service.url.rpartition(":")[2])
        with visiting(service) as visitor:
            visitor.open("simulated")
            visitor.until_says("#connection", "live")
            service.stop()
            visitor.until_says("#connection", "connection lost")
            visitor.look("connection-lost")
            simulated.reach(0.6)
            done = simulated.ledger.counts(1).done
            with serving(simulated.ledger, port=port):
                visitor.until_says("#connection", "live")
                until(lambda: sum(_done(visitor)) >= done, seconds=PAGE_SECONDS)
                loaded = [url for url in visitor.requests if url.endswith("/page/page.js")]
                assert len(loaded) == 1
                visitor.complaints = [
                    each for each in visitor.complaints if "ERR_" not in each
                ]  # the browser's own
                visitor.page.goto("about:blank")
            visitor.requests = [url for url in visitor.requests if url != "about:blank"]


def _done(visitor: Visitor) -> tuple[int, int]:
    events = visitor.events()
    return events["committed"], events["merged"]


def test_without_scripts_it_says_so(simulated: SimulatedCampaign) -> None:
    """In one line, with what to do."""
    with serving(simulated.ledger) as service, visiting(service, scripts=False) as visitor:
        visitor.open()
        assert "needs JavaScript" in visitor.text("noscript")
        visitor.look("no-scripts")


def test_a_campaign_that_there_is_not_is_said_so(simulated: SimulatedCampaign) -> None:
    """In the service's own words; the way back works."""
    with serving(simulated.ledger) as service, visiting(service) as visitor:
        visitor.open("nobody's")
        visitor.until_says("#problem", "there is no campaign 'nobody's'")
        visitor.page.click(".brand")
        visitor.until_says("#campaigns tbody", "simulated")
        assert not visitor.page.is_visible("#problem")
        visitor.forgive("404")


INPUTS, SPANS = 1_000, 100_000


@pytest.fixture
def large(tmp_path: Path) -> Ledger:
    """10^9 events in 100,000 spans of 1,000 inputs, the last of which is worked on."""
    ledger = create_ledger(str(tmp_path / "ledger.sqlite"))
    campaign = new_campaign(ledger, (10**6,) * INPUTS, name="large", merge_bytes=10**9)
    size = 10**6 * INPUTS // SPANS
    with ledger.writing() as tx:
        tx.execute(sa.delete(schema.span))
        for item in ledger.inputs(campaign.id)[:-1]:
            ready = [Span(item.id, start, start + size, State.READY) for start in range(0, item.events, size)]
            lost = [replace(span, state=State.ABANDONED, reason="lost") for span in ready]
            insert_spans(tx, campaign.id, [*ready[::2], *lost[1::2]])
        last = ledger.inputs(campaign.id)[-1]
        insert_spans(tx, campaign.id, [Span(last.id, 0, last.events, State.READY)])
    return ledger


def test_a_thousand_million_events_are_scrolled_and_watched(large: Ledger) -> None:
    """The page asks for what is in sight only, and holds no more than that however far one scrolls.

    How long its frames took is printed and decides nothing.
    """
    leadership = lead(large, large.campaign("large"))
    with serving(large) as service, visiting(service) as visitor:
        visitor.open("large")
        visitor.until_says("#map-note", "1,000,000,000 events in 1,000 inputs")
        until(lambda: visitor.colours()["cc3311"] > 100, seconds=PAGE_SECONDS)
        visitor.page.evaluate(
            """() => {
                globalThis.frames = []; globalThis.tasks = [];
                new PerformanceObserver((list) => tasks.push(...list.getEntries().map((each) => each.duration)))
                    .observe({ entryTypes: ["longtask"] });
                let last = performance.now();
                const next = (now) => { frames.push(now - last); last = now; requestAnimationFrame(next); };
                requestAnimationFrame(next);
            }"""
        )
        claim = begin(large, leadership, events=10**6, size=1000, holder="far:1:2")
        for number in range(20):
            start = claim.block.start + number * 1000
            large.commit(claim.lease, [output(start, start + 1000)], payload=DIGEST)
            visitor.page.evaluate("document.getElementById('map').scrollTop += 900")
            visitor.page.wait_for_timeout(200)
        visitor.page.focus("#map")
        visitor.page.evaluate("document.getElementById('map').scrollTop = 1e9")
        visitor.page.wait_for_timeout(1500)
        box = visitor.page.locator("#map").bounding_box()
        visitor.page.locator("#map").click(position={"x": 700, "y": box["height"] - 12})
        visitor.until_says("#map-words", r"file999, events [\d,]+ up to before [\d,]+: [\d,]+ ready")
        maps = [url for url in visitor.requests if "/map?" in url]
        asked = [re.search(r"strips=(\d+)", url) for url in maps]
        assert max(int(found[1]) for found in asked if found) <= 60
        assert visitor.page.evaluate("document.querySelectorAll('*').length") < 1500
        canvas = visitor.page.evaluate(
            "[document.querySelectorAll('canvas').length, document.querySelector('canvas').height]"
        )
        assert canvas[0] == 1 and canvas[1] < 1200
        frames, tasks = visitor.page.evaluate("[frames, tasks]")
        frames.sort()
        print(
            f"\n{len(frames)} frames: median {frames[len(frames) // 2]:.1f} ms, "
            f"99% {frames[len(frames) * 99 // 100]:.1f} ms, longest {frames[-1]:.1f} ms; "
            f"{len(tasks)} tasks over 50 ms, longest {max(tasks, default=0):.0f} ms"
        )
        visitor.look("large")
