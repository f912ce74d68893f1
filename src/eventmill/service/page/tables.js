// The tables and lists of the page. All words come as text.

import {
  STATES, byState, bytes, count, counted, day, duration, element, fill, lastPart, percent, rate, time,
} from "./words.js";

const number = (...children) => element("td", { className: "number" }, ...children);
const empty = (words, columns) => element("tr", {}, element("td", { className: "quiet", colspan: columns }, words));

/** Events by state as a bar of parts. */
export function bar(target, events) {
  const parts = STATES.filter((state) => events[state]).map((state) => {
    const part = element("span", { className: state });
    part.style.flexGrow = events[state] / events.total;
    return part;
  });
  target.replaceChildren(...parts);
  return target;
}

export function campaignRows(campaigns) {
  return campaigns.map((each) => {
    const shown = bar(element("div", { className: "bar", role: "img", "aria-label": byState(each.events) }), each.events);
    const link = element("a", { href: `#/campaigns/${encodeURIComponent(each.name)}` }, each.name);
    return element("tr", {},
      element("th", { scope: "row" }, link),
      element("td", {}, badge(element("span"), each.state)),
      element("td", { className: "bar-cell" }, shown),
      number(percent(each.done, each.events.total)), number(count(each.events.total)),
      number(`${Number((100 * each.target).toPrecision(4))} %`), number(rate(each.rate)),
      number(each.seconds_left ? duration(each.seconds_left) : "–"), element("td", { className: "time" }, day(each.created_at)));
  });
}

export function badge(target, state) {
  target.className = `badge is-${state}`;
  target.textContent = state;
  return target;
}

export function showWorkers(target, { listed }, now) {
  const rows = listed.flatMap((worker) => {
    const name = element("span", { title: worker.holder }, worker.host ? `${worker.host} · ${worker.pid}` : worker.holder,
      ...(worker.quarantined ? [element("span", { className: "badge is-incomplete" }, "quarantined")] : []));
    if (!worker.holds.length) {
      return [element("tr", {}, element("th", { scope: "row" }, name),
        element("td", { className: "quiet", colspan: 5 }, "holds nothing now"))];
    }
    return worker.holds.map((held, place) => element("tr", {},
      element("th", { scope: "row", className: place ? "repeated" : "" }, place ? name.cloneNode(true) : name),
      element("td", { title: held.input, className: "name" }, lastPart(held.input)),
      number(count(held.events)), number(count(held.start)), number(count(held.stop)),
      number(duration((now - Date.parse(held.since)) / 1000))));
  });
  fill(target, rows.length ? rows : [empty("nobody is at work", 6)]);
}

export function showIncidents(target, incidents, none) {
  const items = incidents.map((each) => {
    const events = each.start === null ? "" : ` [${count(each.start)}, ${count(each.stop)})`;
    const where = each.input ? element("span", { className: "where", title: each.input }, lastPart(each.input) + events) : "";
    const head = [element("time", { datetime: each.at }, time(each.at)), " ",
      element("span", { className: `kind ${each.kind === "abandoned" ? "bad" : ""}` }, each.kind), " ", where, " ",
      element("span", { className: "reason" }, each.reason),
      ...(each.holder ? [" ", element("span", { className: "quiet" }, each.holder)] : [])];
    if (!each.detail) return element("li", {}, ...head);
    const key = `${each.at} ${each.input} ${each.start}`;
    return element("li", {}, element("details", { "data-key": key }, element("summary", {}, ...head),
      element("pre", { tabindex: 0 }, each.detail)));
  });
  fill(target, items.length ? items : [element("li", { className: "quiet" }, none)]);
}

export function showFiles(target, { newest }) {
  const rows = newest.map((file) => element("tr", {},
    element("th", { scope: "row", className: "name", title: file.key }, file.key), number(count(file.events)),
    number(count(file.rows)), number(count(file.bytes)), element("td", { className: "time" }, time(file.at))));
  fill(target, rows.length ? rows : [empty("none yet", 5)]);
}

export function showFacts(target, now) {
  const facts = [
    ["Throughput", now.rate === null ? "–" : `${rate(now.rate)} events/s`],
    ["Time left", now.seconds_left ? duration(now.seconds_left) : "–"],
    ["Workers", count(now.workers)],
    ["Losses", count(now.losses)],
    ["Failed runs", count(now.failures)],
    ["Merged files", now.files ? `${count(now.files)} · ${bytes(now.file_bytes)}` : "0"],
  ];
  fill(target, facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

export const more = (total, shown, one, many) => {
  if (!total) return "";
  const all = counted(total, one, many);
  return total > shown ? `the newest ${count(shown)} of ${all}` : all;
};
