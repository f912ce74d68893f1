// The live page: which view is shown, and what keeps it up to date. The service knows everything; nothing is kept here.

import { drawChart } from "./chart.js";
import { Refused, ask, follow, pause, token } from "./feed.js";
import { EventMap } from "./map.js";
import { badge, bar, campaignRows, more, showFacts, showFiles, showIncidents, showWorkers } from "./tables.js";
import { MEANINGS, STATES, count, counted, duration, element, fill, percent, rate, say } from "./words.js";

const LIST_MILLISECONDS = 2000, DETAIL_MILLISECONDS = 2000, CALM_MILLISECONDS = 10_000, ALOUD_MILLISECONDS = 30_000;
const MOST_LISTED = 100;

const at = (id) => document.getElementById(id);
const map = new EventMap({
  frame: at("map"), space: at("map-space"), canvas: at("map-canvas"), words: at("map-words"),
  announce: at("map-announce"), note: at("map-note"),
});
let view = new AbortController();
let samples = [];
const chart = () => drawChart(at("chart"), at("chart-words"), at("rate-note"), samples);
new ResizeObserver(chart).observe(at("chart"));

function show(...ids) {
  for (const each of ["token-form", "list-view", "campaign-view"]) at(each).hidden = !ids.includes(each);
}

function connection(isUp, words = isUp ? "live" : "connection lost, trying again") {
  at("connection").classList.toggle("lost", !isUp);
  say(at("connection"), words);
}

/** What went wrong, in the service's own words; a refusal asks for a token. */
function tell(error) {
  if (view.signal.aborted || error?.name === "AbortError") return;
  if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
    view.abort();
    show("token-form");
    connection(false, "not admitted");
    document.title = "Eventmill";
    problem(token.get() ? error.message : "");
    at("token").focus();
    return;
  }
  problem(error instanceof Refused ? error.message : "The service does not answer.");
}

function problem(words) {
  at("problem").hidden = !words;
  say(at("problem"), words);
}

function route() {
  view.abort();
  view = new AbortController();
  problem("");
  at("forget").hidden = !token.get();
  const named = /^#\/campaigns\/(.+)$/.exec(location.hash);
  let name = null;
  try {
    name = named && decodeURIComponent(named[1]);
  } catch {
    // a link that somebody mistyped
  }
  if (name === null) showList(view.signal);
  else showCampaign(name, view.signal);
}

async function showList(signal) {
  document.title = "Eventmill";
  show("list-view");
  while (!signal.aborted) {
    const begun = performance.now();
    if (!document.hidden) {
      try {
        const { campaigns, total } = await ask(`/v1/campaigns?limit=${MOST_LISTED}`, { signal });
        connection(true);
        problem("");
        say(at("list-note"), total > campaigns.length ? `the newest ${count(campaigns.length)} of ${count(total)}`
          : total ? "" : "There is none yet: 'eventmill run' begins one.");
        fill(at("campaigns").tBodies[0], campaignRows(campaigns));
      } catch (error) {
        if (!(error instanceof Refused)) connection(false);
        tell(error);
      }
    }
    await pause(Math.max(LIST_MILLISECONDS, 5 * (performance.now() - begun)), signal);
  }
}

async function showCampaign(name, signal) {
  const path = `/v1/campaigns/${encodeURIComponent(name)}`;
  document.title = `${name} · Eventmill`;
  say(at("name"), name);
  const state = { stale: true, wake: null, saidAt: 0, said: "" };
  try {
    const first = await ask(path, { signal });
    show("campaign-view"); // before the chart is drawn, which has to know its width
    showDetail(first, state);
  } catch (error) {
    if (!(error instanceof Refused)) {
      await pause(LIST_MILLISECONDS, signal);
      if (!signal.aborted) { problem("The service does not answer."); return showCampaign(name, signal); }
      return;
    }
    show();
    return tell(error);
  }
  problem("");
  map.show(name, signal);
  keepDetail(path, state, signal);
  try {
    await follow(`${path}/events`, {
      signal, connection: (isUp) => {
        connection(isUp);
        if (isUp) map.invalidate();
      },
      tell: (event, data) => {
        if (event === "gone") { connection(false, "this campaign was removed"); view.abort(); return; }
        if (event !== "progress") return;
        showProgress(data, state);
        map.invalidate();
        state.stale = true;
        state.wake?.();
      },
    });
  } catch (error) {
    tell(error);
  }
}

/** Asks for the tables when something changed, and now and then: durations pass without a change. */
async function keepDetail(path, state, signal) {
  let asked = performance.now();
  while (!signal.aborted) {
    const wait = state.stale ? DETAIL_MILLISECONDS : CALM_MILLISECONDS;
    if (document.hidden || performance.now() - asked < wait) {
      await Promise.race([pause(500, signal), new Promise((resolve) => { state.wake = resolve; })]);
      await pause(100, signal);
      continue;
    }
    asked = performance.now();
    state.stale = false;
    try {
      showDetail(await ask(path, { signal }), state);
    } catch (error) {
      if (error instanceof Refused && error.status < 500) tell(error);
    }
    await pause(4 * (performance.now() - asked), signal);
  }
}

function showProgress(now, state) {
  const share = percent(now.done, now.events.total);
  badge(at("state"), now.state);
  const target = `the target is ${Number((100 * now.target).toPrecision(4))} %`;
  say(at("said"), now.events.total ? `${count(now.done)} of ${counted(now.events.total, "event")} done (${share}); ${target}`
    : "Its inputs have not been looked into yet.");
  document.title = `${share} ${now.name} · Eventmill`;
  bar(at("whole-bar"), now.events);
  fill(at("legend"), STATES.map((each) => element("li", { title: MEANINGS[each] },
    element("span", { className: `swatch ${each}`, "aria-hidden": "true" }), `${each} `,
    element("span", { className: "number" }, count(now.events[each])))));
  showFacts(at("facts"), now);
  const changed = state.said !== now.state;
  if (changed || performance.now() - state.saidAt > ALOUD_MILLISECONDS) {
    Object.assign(state, { said: now.state, saidAt: performance.now() });
    const left = now.seconds_left ? `, ${duration(now.seconds_left)} left` : "";
    const speed = now.rate ? `, ${rate(now.rate)} events per second` : "";
    say(at("announce"), `${now.name} is ${now.state}: ${share} done${speed}${left}.`);
  }
}

function showDetail(now, state) {
  showProgress(now, state);
  const why = now.last_error ?? (now.close_reason ? `Ended: ${now.close_reason}.` : "");
  at("why").hidden = !why;
  at("why").classList.toggle("bad", Boolean(now.last_error));
  say(at("why"), why);
  samples = now.samples;
  chart();
  showWorkers(at("workers").tBodies[0], now.at_work, Date.parse(now.at));
  const sick = now.quarantined.length ? `; ${count(now.quarantined.length)} quarantined` : "";
  const { total, listed } = now.at_work;
  const left = total > listed.length ? `, ${count(listed.length)} of them here` : "";
  say(at("workers-note"), total ? `${count(total)} alive, ${count(now.workers)} hold events${left}${sick}` : sick.slice(2));
  showIncidents(at("failed"), now.failed.newest, "none");
  say(at("failed-note"), more(now.failed.total, now.failed.newest.length, "failed run") + (now.failed.total ? "; times are UTC" : ""));
  showIncidents(at("lost"), now.lost.newest, "none");
  say(at("lost-note"), more(now.lost.total, now.lost.newest.length, "loss", "losses") + (now.lost.total ? "; times are UTC" : ""));
  showFiles(at("files").tBodies[0], now.merged_files);
  say(at("files-note"), more(now.merged_files.total, now.merged_files.newest.length, "file") +
    (now.store ? ` in ${now.store}` : ""));
}

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(at("token").value.trim());
  at("token").value = "";
  route();
});
at("forget").addEventListener("click", () => { token.forget(); location.hash = "#/"; route(); });
at("skip").addEventListener("click", (event) => { event.preventDefault(); at("main").focus(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) map.invalidate(); });
addEventListener("hashchange", () => { route(); at("main").focus({ preventScroll: true }); scrollTo(0, 0); });
route();
