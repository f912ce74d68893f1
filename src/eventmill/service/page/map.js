// The map of events on one canvas: rows that are in sight are asked for, drawn, and told in words. Virtual: a million
// inputs cost what thirty do. The first row shows the whole campaign and stays in sight.

import { ask, pause } from "./feed.js";
import { binEvents, coloursOf, decode, edge, picture } from "./strips.js";
import { byState, count, counted, percent, say } from "./words.js";

const MOST_ROWS = 200_000; // a browser's element cannot be much higher; more inputs share rows
const LEAST_WAIT = 1000;
const MOST_STRIPS = 200;

export class EventMap {
  constructor({ frame, space, canvas, words, announce, note }) {
    Object.assign(this, { frame, space, canvas, words, announce, note });
    this.draw = canvas.getContext("2d");
    this.name = null;
    frame.addEventListener("scroll", () => { this.redraw(); this.stale = true; this.wake?.(); }, { passive: true });
    frame.addEventListener("keydown", (event) => this.onKey(event));
    frame.addEventListener("pointermove", (event) => this.onPoint(event));
    frame.addEventListener("pointerdown", (event) => this.onPoint(event));
    frame.addEventListener("focus", () => this.redraw());
    frame.addEventListener("blur", () => this.redraw());
    new ResizeObserver(() => this.resize()).observe(frame);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.resize());
  }

  /** Show a campaign until `signal` ends that. */
  show(name, signal) {
    Object.assign(this, {
      name, signal, inputs: 0, share: 1, rows: 0, whole: null, strips: new Map(), at: null, stale: true,
      wholeStaleAt: 0, wholeIsStale: true,
    });
    this.frame.scrollTop = 0;
    say(this.words, "Point at the map, or move on it with the arrow keys.");
    say(this.note, "");
    this.resize();
    this.run(signal);
  }

  /** Something changed. */
  invalidate() {
    this.stale = true;
    this.wholeIsStale = true;
    this.wake?.();
  }

  async run(signal) {
    while (!signal.aborted) {
      if (!this.stale || document.hidden) {
        await Promise.race([pause(5000, signal), new Promise((resolve) => { this.wake = resolve; })]);
        continue;
      }
      this.stale = false;
      const begun = performance.now();
      try {
        await this.ask(signal);
      } catch {
        if (signal.aborted) return;
        this.stale = true; // the stream says that the connection is lost
      }
      await pause(Math.max(LEAST_WAIT, 4 * (performance.now() - begun)) * (this.missing() ? 0.1 : 1), signal);
    }
  }

  async ask(signal) {
    const path = `/v1/campaigns/${encodeURIComponent(this.name)}/map`;
    const pixels = Math.max(16, Math.min(1200, Math.floor(this.stripWidth)));
    if (!this.whole || (this.wholeIsStale && performance.now() > this.wholeStaleAt)) {
      const begun = performance.now();
      const all = await ask(`${path}?strips=1&pixels=${pixels}`, { signal });
      this.wholeIsStale = false;
      this.wholeStaleAt = performance.now() + Math.max(2000, 10 * (performance.now() - begun));
      this.count(all);
      this.whole = all.strips.length ? decode(all.strips[0], all.states) : null;
    } else if (this.wholeIsStale) {
      setTimeout(() => { this.stale = true; this.wake?.(); }, this.wholeStaleAt - performance.now());
    }
    if (this.isAlone || !this.rows) return this.shown();
    const { first, stop } = this.inSight();
    const strips = Math.min(MOST_STRIPS, stop - first);
    const query = `from=${first * this.share}&to=${Math.min(this.inputs, (first + strips) * this.share)}`;
    const found = await ask(`${path}?${query}&strips=${strips}&pixels=${pixels}`, { signal });
    this.count(found);
    for (const strip of found.strips) this.strips.set(Math.floor(strip.from / this.share), decode(strip, found.states));
    if (this.strips.size > 2000) {
      for (const row of this.strips.keys()) if (row < first - 500 || row > stop + 500) this.strips.delete(row);
    }
    this.shown();
  }

  /** New data: the picture, and the words about what is under the cursor, which are read out if they were awaited. */
  shown() {
    if (this.at) this.tell({ aloud: this.isAwaited });
    this.redraw();
  }

  count({ inputs, events }) {
    if (inputs === this.inputs) return;
    this.inputs = inputs;
    this.share = Math.max(1, Math.ceil(inputs / MOST_ROWS));
    this.rows = Math.ceil(inputs / this.share);
    const shared = this.share > 1 ? `, ${this.share} share a strip` : "";
    say(this.note, inputs ? `${counted(events, "event")} in ${counted(inputs, "input")}${shared}` : "no inputs yet");
    this.resize();
  }

  /** One input: its strip is the whole campaign, and there is nothing to scroll. */
  get isAlone() { return this.rows <= 1; }

  get pinned() { return this.isAlone ? 0 : this.rowHeight + 5; }

  inSight() {
    const first = Math.max(0, Math.floor(this.frame.scrollTop / this.rowHeight) - 2);
    const shown = Math.ceil((this.height - this.pinned) / this.rowHeight) + 4;
    return { first, stop: Math.min(this.rows, first + shown) };
  }

  missing() {
    if (this.isAlone) return !this.whole;
    const { first, stop } = this.inSight();
    for (let row = first; row < stop; row++) if (!this.strips.has(row)) return true;
    return false;
  }

  resize() {
    if (this.name === null) return;
    const narrow = this.frame.clientWidth < 560;
    this.rowHeight = narrow ? 24 : 19;
    this.stripHeight = narrow ? 16 : 13;
    const most = Math.max(180, Math.min(innerHeight * 0.55, 620));
    const content = this.isAlone ? this.rowHeight : this.pinned + this.rows * this.rowHeight;
    this.frame.style.height = `${Math.min(content, most) + 2}px`;
    this.width = this.frame.clientWidth;
    this.height = this.frame.clientHeight;
    this.space.style.height = `${Math.max(content, this.height)}px`;
    this.labelWidth = narrow ? Math.round(this.width * 0.27) : Math.min(240, Math.round(this.width * 0.22));
    this.numberWidth = 58;
    this.stripWidth = this.width - this.labelWidth - this.numberWidth;
    this.scale = devicePixelRatio || 1;
    const size = { width: Math.round(this.width * this.scale), height: Math.round(this.height * this.scale) };
    if (size.width !== this.canvas.width || size.height !== this.canvas.height) {
      Object.assign(this.canvas, size);
      this.canvas.style.width = `${this.width}px`;
      this.canvas.style.height = `${this.height}px`;
    }
    this.colours = coloursOf(this.frame, this.draw);
    this.look = `${this.stripWidth}x${this.stripHeight}x${this.scale}${this.colours.ready}`;
    this.stale = true;
    this.wake?.();
    this.paint(); // now: a canvas of another size is empty
  }

  redraw() {
    if (this.isAsked || this.name === null) return;
    this.isAsked = true;
    requestAnimationFrame(() => {
      this.isAsked = false;
      this.paint();
    });
  }

  paint() {
    const { draw, colours, scale } = this;
    draw.setTransform(scale, 0, 0, scale, 0, 0);
    draw.clearRect(0, 0, this.width, this.height);
    draw.font = `12px ${getComputedStyle(this.frame).fontFamily}`;
    draw.textBaseline = "middle";
    if (!this.isAlone) {
      const { first, stop } = this.inSight();
      for (let row = first; row < stop; row++) {
        this.paintRow(this.strips.get(row), this.pinned + row * this.rowHeight - this.frame.scrollTop, row);
      }
      draw.clearRect(0, 0, this.width, this.pinned);
      draw.fillStyle = colours.line;
      draw.fillRect(0, this.pinned - 3, this.width, 1);
    }
    if (this.whole) this.paintRow(this.whole, 0, -1);
    if (this.at) this.paintCursor();
  }

  paintRow(strip, top, row) {
    const { draw, colours } = this;
    const middle = top + this.rowHeight / 2;
    const bar = top + (this.rowHeight - this.stripHeight) / 2;
    if (!strip) {
      draw.fillStyle = colours.line;
      draw.fillRect(this.labelWidth, middle, this.stripWidth, 1);
      return;
    }
    const isWhole = row < 0 && !this.isAlone;
    draw.fillStyle = colours.text;
    draw.textAlign = "left";
    draw.fillText(fitted(draw, isWhole ? "all inputs" : strip.label, this.labelWidth - 10), 2, middle);
    const width = Math.round(this.stripWidth * this.scale), height = Math.round(this.stripHeight * this.scale);
    const key = this.look;
    if (strip.pixels) {
      const image = picture(strip, { width, height, scale: this.scale, colours, key });
      draw.drawImage(image, this.labelWidth, bar, this.stripWidth, this.stripHeight);
    }
    draw.fillStyle = colours.quiet;
    draw.textAlign = "right";
    const done = strip.counts.merged + strip.counts.committed;
    draw.fillText(strip.events ? percent(done, strip.events) : "empty", this.width - 4, middle);
  }

  // What is under the cursor

  strip(row) { return row < 0 ? this.whole : this.strips.get(row); }

  paintCursor() {
    const { row, bin } = this.at;
    const strip = this.strip(row);
    if (!strip?.pixels) return;
    const top = row < 0 ? 0 : this.pinned + row * this.rowHeight - this.frame.scrollTop;
    if (row >= 0 && top < this.pinned - this.rowHeight / 2) return;
    const left = this.labelWidth + (bin * this.stripWidth) / strip.pixels;
    const width = Math.max(3, this.stripWidth / strip.pixels);
    for (const [thickness, colour] of [[5, this.colours.panel], [2, this.colours.text]]) {
      this.draw.lineWidth = thickness; // seen on every colour of a strip
      this.draw.strokeStyle = colour;
      this.draw.strokeRect(left - 2, top + 1, width + 4, this.rowHeight - 2);
    }
  }

  tell({ aloud }) {
    const strip = this.strip(this.at.row);
    this.isAwaited = aloud && !strip; // it is told when it is there
    if (!strip) return say(this.words, `input ${count(this.at.row * this.share + 1)}: a moment …`);
    this.at.bin = Math.max(0, Math.min(this.at.bin, strip.pixels - 1));
    const name = this.at.row < 0 && !this.isAlone ? "all inputs" : strip.url ?? strip.label;
    let text = `${name}: no events`;
    if (strip.pixels) {
      const first = edge(strip, this.at.bin), stop = edge(strip, this.at.bin + 1);
      const which = stop - first === 1 ? `event ${count(first)}` : `events ${count(first)} up to before ${count(stop)}`;
      text = `${name}, ${which}: ${byState(binEvents(strip, this.at.bin))}`;
    }
    say(this.words, text);
    if (aloud) say(this.announce, text);
  }

  move(row, bin, { aloud }) {
    const lowest = -1, highest = this.isAlone ? -1 : this.rows - 1;
    row = Math.max(lowest, Math.min(highest, row));
    const pixels = this.strip(row)?.pixels ?? this.whole?.pixels ?? 1;
    this.at = { row, bin: Math.max(0, Math.min(pixels - 1, bin)) };
    if (!this.strip(row)) { this.stale = true; this.wake?.(); }
    if (aloud && row >= 0) {
      const top = row * this.rowHeight, room = this.height - this.pinned;
      if (top < this.frame.scrollTop) this.frame.scrollTop = top;
      else if (top + this.rowHeight > this.frame.scrollTop + room) this.frame.scrollTop = top + this.rowHeight - room;
    }
    this.tell({ aloud });
    this.redraw();
  }

  onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { row, bin } = this.at ?? { row: -1, bin: 0 };
    const pixels = this.strip(row)?.pixels ?? 1;
    const step = event.shiftKey ? Math.max(1, Math.round(pixels / 20)) : 1;
    const screen = Math.max(1, Math.floor((this.height - this.pinned) / this.rowHeight) - 1);
    const to = {
      ArrowUp: [row - 1, bin], ArrowDown: [row + 1, bin], ArrowLeft: [row, bin - step], ArrowRight: [row, bin + step],
      PageUp: [row - screen, bin], PageDown: [row + screen, bin], Home: [row, 0], End: [row, pixels - 1],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    this.move(...(this.at ? to : [-1, 0]), { aloud: true });
  }

  onPoint(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left - this.labelWidth, y = event.clientY - box.top;
    if (y < 0 || y > this.height || x > this.stripWidth) return;
    const inside = (y - this.pinned + this.frame.scrollTop) / this.rowHeight;
    const row = this.isAlone || y < this.pinned ? -1 : Math.floor(inside);
    const pixels = (this.strip(row) ?? this.whole)?.pixels ?? 0; // of a strip that is not there yet, a guess
    if (this.rows) this.move(row, Math.floor((Math.max(0, x) * pixels) / this.stripWidth), { aloud: false });
  }
}

/** A text that is not wider than `room`; of a name the end tells more than the beginning. */
function fitted(draw, text, room) {
  if (draw.measureText(text).width <= room) return text;
  let [least, most] = [0, text.length];
  while (least < most) {
    const middle = Math.ceil((least + most) / 2);
    if (draw.measureText(`…${text.slice(-middle)}`).width <= room) least = middle;
    else most = middle - 1;
  }
  return least ? `…${text.slice(-least)}` : "…";
}
