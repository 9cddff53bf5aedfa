//! Lines over the last five minutes, as plain SVG.

import { h, mark, s, say } from "./dom.js";

/** What a chart goes back, in milliseconds. */
export const SPAN_MS = 300_000;
const HEIGHT = 150;
const EDGE = { left: 62, right: 10, top: 10, bottom: 20 };
/** Two samples further apart than this are not joined. */
const GAP_MS = 2500;

/** The least of 1, 2, 5, 10, … that is no less than `value`. */
export function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 5, 10].map((step) => step * power).find((nice) => nice >= value * 0.999);
}

/** Where a moment lies between the edges, given the width. */
export const placeOf = (atMs, nowMs, width) => EDGE.left + (1 - (nowMs - atMs) / SPAN_MS) * (width - EDGE.left - EDGE.right);

/** The axis of time: a line each minute. */
export function timeAxis(width, height) {
  const marks = [];
  for (let minute = 0; minute <= 5; minute += 1) {
    const x = placeOf(-minute * 60_000, 0, width);
    marks.push(s("line", { x1: x, x2: x, y1: EDGE.top, y2: height - EDGE.bottom, class: "grid" }));
    const anchor = minute === 0 ? "end" : minute === 5 ? "start" : "middle";
    marks.push(s("text", { x, y: height - 5, "text-anchor": anchor, class: "tick" }, minute === 0 ? "now" : `${minute} min ago`));
  }
  // On a narrow screen every other has room.
  return width < 420 ? marks.filter((_, index) => index % 2 === 0 || [1, 5, 11].includes(index)) : marks;
}

/**
 * A chart of `series`: `{name, value(sample)}`, at most three. `format` writes a value. A logarithmic one shows small
 * and large side by side.
 */
export class Chart {
  #samples = [];
  #now = 0;
  #events = [];
  #at = null;

  constructor({ title, note, series, format, isLogarithmic = false, least = 1 }) {
    Object.assign(this, { series, format, isLogarithmic, least, title });
    this.svg = s("svg", { class: "chart", role: "img", height: HEIGHT });
    this.values = series.map(() => h("b", {}));
    const legend = series.map((one, index) => h("li", {}, s("svg", { width: 22, height: 10, "aria-hidden": "true" }, s("line", { x1: 1, x2: 21, y1: 5, y2: 5, class: `series s${index}` })), one.name, " ", this.values[index]));
    this.when = h("span", { class: "when" });
    this.element = h("figure", { class: "card figure" },
      h("figcaption", {}, h("h3", {}, title), h("p", { class: "source" }, note), h("ul", { class: "legend" }, legend, h("li", {}, this.when))),
      this.svg);
    this.svg.addEventListener("pointermove", (event) => this.#point(event));
    this.svg.addEventListener("pointerleave", () => { this.#at = null; this.#draw(); });
    new ResizeObserver(() => this.#draw()).observe(this.element);
  }

  draw(samples, now, events) {
    [this.#samples, this.#now, this.#events] = [samples, now, events];
    this.#draw();
  }

  #point(event) {
    const x = event.clientX - this.svg.getBoundingClientRect().left;
    let nearest = null;
    for (const sample of this.#samples) {
      const far = Math.abs(placeOf(sample.at_ms, this.#now, this.width) - x);
      if (far < (nearest?.far ?? 24)) nearest = { sample, far };
    }
    this.#at = nearest?.sample ?? null;
    this.#draw();
  }

  #draw() {
    const width = this.svg.clientWidth;
    if (width === 0) return;
    this.width = width;
    const values = this.#samples.flatMap((sample) => this.series.map((one) => one.value(sample))).filter((value) => value !== null);
    const most = niceAbove(Math.max(this.least, ...values));
    const [low, high] = this.isLogarithmic ? [this.least / 10, most] : [0, most];
    const scale = this.isLogarithmic
      ? (value) => Math.log(Math.max(value, low) / low) / Math.log(high / low)
      : (value) => value / high;
    const y = (value) => HEIGHT - EDGE.bottom - scale(value) * (HEIGHT - EDGE.top - EDGE.bottom);
    const ticks = this.isLogarithmic ? decades(low, high) : [0, high / 2, high];
    const parts = timeAxis(width, HEIGHT);
    for (const tick of ticks) {
      parts.push(s("line", { x1: EDGE.left, x2: width - EDGE.right, y1: y(tick), y2: y(tick), class: "grid" }));
      parts.push(s("text", { x: EDGE.left - 6, y: y(tick) + 4, "text-anchor": "end", class: "tick" }, this.format(tick)));
    }
    for (const { at_ms, what } of this.#events) {
      const x = placeOf(at_ms, this.#now, width);
      if (x < EDGE.left) continue;
      parts.push(s("line", { x1: x, x2: x, y1: EDGE.top, y2: HEIGHT - EDGE.bottom, class: `event ${what}` }));
    }
    this.series.forEach((one, index) => parts.push(s("path", { d: this.#path(one, y), class: `series s${index}` })));
    const shown = this.#at ?? this.#samples.at(-1);
    if (this.#at) {
      const x = placeOf(this.#at.at_ms, this.#now, width);
      parts.push(s("line", { x1: x, x2: x, y1: EDGE.top, y2: HEIGHT - EDGE.bottom, class: "cursor" }));
    }
    this.svg.replaceChildren(...parts);
    const texts = this.series.map((one) => {
      const value = shown ? one.value(shown) : null;
      return value === null ? "–" : this.format(value);
    });
    texts.forEach((text, index) => say(this.values[index], text));
    say(this.when, this.#at ? `${Math.round((this.#now - this.#at.at_ms) / 1000)} s ago` : "");
    mark(this.svg, "aria-label", `${this.title}, the last five minutes. Now: ${this.series.map((one, index) => `${one.name} ${texts[index]}`).join(", ")}.`);
  }

  #path(one, y) {
    let path = "";
    let before = null;
    for (const sample of this.#samples) {
      const value = one.value(sample);
      if (value === null) {
        // A second without any is a gap, and a lone one a dot.
        before = null;
        continue;
      }
      const x = placeOf(sample.at_ms, this.#now, this.width);
      if (x < EDGE.left) continue;
      const isJoined = before !== null && sample.at_ms - before < GAP_MS;
      path += `${isJoined ? "L" : "M"}${x.toFixed(1)} ${y(value).toFixed(1)}${isJoined ? "" : "h1.5"}`;
      before = sample.at_ms;
    }
    return path;
  }
}

function decades(low, high) {
  const ticks = [];
  for (let tick = 10 ** Math.ceil(Math.log10(low) - 1e-9); tick <= high * 1.001; tick *= 10) ticks.push(tick);
  return ticks;
}
