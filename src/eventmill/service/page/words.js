// Numbers, times and events as words, and elements that hold text from outside as text, never as markup.

export const STATES = ["merged", "committed", "leased", "ready", "abandoned"];
export const MEANINGS = {
  merged: "in a merged file", committed: "stored, to be merged", leased: "held by a worker",
  ready: "waiting for a worker", abandoned: "given up",
};

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const threeDigits = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });

export const count = (number) => whole.format(number);
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
export const rate = (number) => (number === null ? "–" : number >= 1000 ? count(number) : threeDigits.format(number));

/** Rounded down, so that only all is 100 %. */
export const percent = (part, all) => `${(all ? Math.floor((1000 * part) / all) / 10 : 0).toFixed(1)} %`;

export function bytes(number) {
  for (const [unit, size] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (number >= size) return `${threeDigits.format(number / size)} ${unit}`;
  }
  return counted(number, "byte");
}

export function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 100) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`;
}

/** "01-31 22:15:04": all times of this page are UTC, as in the journal. */
export const time = (iso) => (iso ? iso.slice(5, 19).replace("T", " ") : "");
export const clock = (milliseconds) => new Date(milliseconds).toISOString().slice(11, 16);
export const day = (iso) => (iso ? iso.slice(0, 16).replace("T", " ") : "");

export const lastPart = (url) => url.split("?")[0].replace(/\/+$/, "").split("/").pop() || url;

/** "1,200 merged, 3 abandoned": what there is, in the order of STATES. */
export function byState(events) {
  return STATES.filter((state) => events[state]).map((state) => `${count(events[state])} ${state}`).join(", ");
}

/** An element with text and children; strings become text nodes. */
export function element(name, { className = "", title = "", ...others } = {}, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (title) made.title = title;
  for (const [key, value] of Object.entries(others)) made.setAttribute(key, value);
  made.append(...children.map((child) => (typeof child === "number" ? count(child) : child)));
  return made;
}

/** Sets a text only if it changes, so that nothing is laid out or read out anew. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Replaces what a table or list shows, unless it is the same: what is open stays open, what is focused stays so. */
export function fill(target, made) {
  const open = new Set([...target.querySelectorAll("details[open]")].map((each) => each.dataset.key));
  for (const child of made) for (const each of child.querySelectorAll("details")) each.open = open.has(each.dataset.key);
  const old = [...target.children];
  if (old.length === made.length && made.every((child, number) => child.isEqualNode(old[number]))) return;
  const focused = document.activeElement?.closest("details")?.dataset.key;
  target.replaceChildren(...made);
  if (focused) target.querySelector(`details[data-key="${CSS.escape(focused)}"] summary`)?.focus({ preventScroll: true });
}
