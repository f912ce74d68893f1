// Throughput over time, with losses as marks: a few hundred points at most.

import { clock, counted, rate, say, time } from "./words.js";

const SPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 150, LEFT = 62, RIGHT = 10, TOP = 10, BOTTOM = 22;

export function drawChart(svg, words, note, samples) {
  const width = Math.max(240, svg.clientWidth);
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const points = samples.map((each) => ({ ...each, at: Date.parse(each.at) }));
  if (points.length < 2) {
    svg.replaceChildren(text("not enough samples yet: a campaign takes one every 2 s or so", { x: 8, y: 30 }));
    say(words, "Not enough samples yet.");
    say(note, "");
    return;
  }
  const [begin, end] = [points[0].at, points.at(-1).at];
  const highest = nice(Math.max(...points.map((each) => each.rate), 1e-9));
  const x = (at) => LEFT + ((at - begin) / Math.max(1, end - begin)) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - value / highest) * (HEIGHT - TOP - BOTTOM);
  const parts = [0, highest / 2, highest].flatMap((value) => [
    shape("line", { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value), class: "grid" }),
    text(rate(value), { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }),
  ]);
  let line = "";
  points.slice(1).forEach((each, number) => {
    const from = x(points[number].at).toFixed(1);
    line += `${line ? "L" : "M"}${from} ${y(each.rate).toFixed(1)}H${x(each.at).toFixed(1)}`;
  });
  parts.push(shape("path", { d: `${line}V${y(0)}H${LEFT}Z`, class: "area" }), shape("path", { d: line, class: "curve" }));
  let lost = 0;
  points.slice(1).forEach((each, number) => {
    const losses = each.losses - points[number].losses;
    if (losses <= 0) return;
    lost += losses;
    const mark = shape("path", { d: `M${x(each.at)} ${HEIGHT - BOTTOM}l-4 -8h8z`, class: "loss" });
    const title = shape("title");
    title.textContent = `${counted(losses, "loss", "losses")} before ${clock(each.at)} UTC`;
    mark.append(title);
    parts.push(mark);
  });
  const ticks = width < 480 ? 2 : 4;
  for (let tick = 0; tick <= ticks; tick++) {
    const at = begin + ((end - begin) * tick) / ticks;
    const anchor = tick === 0 ? "start" : tick === ticks ? "end" : "middle";
    const precise = end - begin < 600_000 ? new Date(at).toISOString().slice(11, 19) : clock(at);
    parts.push(text(precise, { x: x(at), y: HEIGHT - 6, "text-anchor": anchor }));
  }
  svg.replaceChildren(...parts);
  const losses = lost ? `; ▼ ${counted(lost, "loss", "losses")}` : "";
  say(note, `events/s, UTC${losses}`);
  say(words, `From ${time(samples[0].at)} to ${time(samples.at(-1).at)} UTC; the highest was ` +
    `${rate(Math.max(...points.map((each) => each.rate)))} events per second, the last ` +
    `${rate(points.at(-1).rate)}, with ${counted(lost, "loss", "losses")}.`);
}

/** The next of 1, 2, 5, 10, 20, 50 … */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= value);
}

function shape(name, attributes = {}) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function text(words, attributes) {
  const made = shape("text", attributes);
  made.textContent = words;
  return made;
}
