// Strips of the map: what the service says of them, and what they look like. Each is drawn once, and then copied.

import { STATES } from "./words.js";

/** From bottom to top of a bin; READY is the ground. */
const STACK = ["merged", "committed", "leased", "abandoned"];
const LEAST = { leased: 1 / 4, abandoned: 1 / 2 }; // never hidden: one event among a billion is so high

/** A strip as the service says it, its bins as events in each state: `cover[bin * 5 + state]`. */
export function decode(strip, states) {
  const order = states.map((state) => STATES.indexOf(state));
  const cover = new Float64Array(strip.pixels * STATES.length);
  let bin = 0;
  for (const each of strip.bins) {
    if (each.length === 2) {
      for (const stop = bin + each[0]; bin < stop; bin++) {
        cover[bin * STATES.length + order[each[1]]] = edge(strip, bin + 1) - edge(strip, bin);
      }
    } else {
      for (let state = 0; state < each.length; state++) cover[bin * STATES.length + order[state]] = each[state];
      bin++;
    }
  }
  const counts = Object.fromEntries(states.map((state, number) => [state, strip.counts[number]]));
  return { ...strip, counts, cover, image: null };
}

/** Where bin `bin` begins: the event `floor(bin * events / pixels)`, exact for what numbers can hold. */
export function edge(strip, bin) {
  const whole = Math.floor(strip.events / strip.pixels);
  return bin * whole + Math.floor((bin * (strip.events % strip.pixels)) / strip.pixels);
}

export function binEvents(strip, bin) {
  const at = bin * STATES.length;
  return Object.fromEntries(STATES.map((state, number) => [state, strip.cover[at + number]]));
}

/** The picture of a strip, `width` × `height` device pixels; kept until its data, size or colours change. */
export function picture(strip, { width, height, scale, colours, key }) {
  if (strip.image?.key === key) return strip.image.canvas;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, width);
  canvas.height = height;
  const draw = canvas.getContext("2d");
  draw.fillStyle = colours.ready;
  if (strip.events) draw.fillRect(0, 0, width, height);
  for (let bin = 0; bin < strip.pixels;) {
    let stop = bin + 1;
    const only = sole(strip, bin);
    if (only !== null) while (stop < strip.pixels && sole(strip, stop) === only) stop++;
    const left = Math.floor((bin * width) / strip.pixels);
    const right = Math.max(left + 1, Math.floor((stop * width) / strip.pixels));
    if (only === null) stack(draw, strip, bin, { left, right, height, colours });
    else block(draw, STATES[only], { left, right, top: 0, bottom: height, colours });
    bin = stop;
  }
  mark(draw, strip, { width, height, scale, colours });
  strip.image = { key, canvas };
  return canvas;
}

/** What was given up is what people look for: one event of a billion is three pixels wide, and half as high. */
function mark(draw, strip, { width, height, scale, colours }) {
  const least = Math.round(3 * scale), place = STATES.indexOf("abandoned");
  if (width / strip.pixels >= least) return;
  draw.fillStyle = colours.abandoned;
  const isWhole = (bin) => bin < 0 || bin >= strip.pixels || sole(strip, bin) === place;
  for (let bin = 0; bin < strip.pixels; bin++) {
    if (!strip.cover[bin * STATES.length + place]) continue;
    if (isWhole(bin - 1) && isWhole(bin) && isWhole(bin + 1)) continue; // within a long piece, which has its texture
    const middle = ((bin + 0.5) * width) / strip.pixels;
    const left = Math.round(Math.max(0, Math.min(width - least, middle - least / 2)));
    draw.fillRect(left, 0, least, Math.round(height / 2));
  }
}

/** The only state of a bin, as its number; null if there are several. */
function sole(strip, bin) {
  const at = bin * STATES.length;
  let found = null;
  for (let state = 0; state < STATES.length; state++) {
    if (!strip.cover[at + state]) continue;
    if (found !== null) return null;
    found = state;
  }
  return found;
}

function stack(draw, strip, bin, { left, right, height, colours }) {
  const events = binEvents(strip, bin);
  const all = STATES.reduce((sum, state) => sum + events[state], 0);
  const shares = STACK.map((state) => {
    const share = (events[state] / all) * height;
    return events[state] ? Math.max(share, height * (LEAST[state] ?? 0)) : 0;
  });
  const much = Math.max(1, shares.reduce((sum, share) => sum + share, 0) / height);
  let bottom = height;
  STACK.forEach((state, number) => {
    if (!shares[number]) return;
    const top = Math.max(0, bottom - Math.max(1, Math.round(shares[number] / much)));
    block(draw, state, { left, right, top, bottom, colours });
    bottom = top;
  });
}

/** Colour, and a texture by which states differ without it: abandoned has diagonals, leased has dots. */
function block(draw, state, { left, right, top, bottom, colours }) {
  draw.fillStyle = colours[state];
  draw.fillRect(left, top, right - left, bottom - top);
  if (colours.textures[state] && right - left > 3) {
    draw.fillStyle = colours.textures[state];
    draw.fillRect(left, top, right - left, bottom - top);
  }
}

/** The colours of the style sheet, in the scheme that holds now, with textures for `draw`. */
export function coloursOf(element, draw) {
  const style = getComputedStyle(element);
  const found = Object.fromEntries(STATES.map((state) => [state, style.getPropertyValue(`--${state}`).trim()]));
  for (const name of ["text", "quiet", "line", "focus", "panel"]) {
    found[name] = style.getPropertyValue(`--${name}`).trim();
  }
  found.textures = {
    abandoned: texture(draw, 6, (tile) => {
      tile.strokeStyle = "rgba(255,255,255,.75)";
      tile.lineWidth = 1.4;
      for (const shift of [-6, 0, 6]) {
        tile.moveTo(shift, 6);
        tile.lineTo(shift + 6, 0);
      }
      tile.stroke();
    }),
    leased: texture(draw, 5, (tile) => {
      tile.fillStyle = "rgba(0,0,0,.45)";
      tile.fillRect(1, 1, 1.3, 1.3);
    }),
  };
  return found;
}

function texture(draw, size, paint) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = size;
  paint(tile.getContext("2d"));
  return draw.createPattern(tile, "repeat");
}
