//! Elements made of text and attributes, never of markup; numbers and times as they are shown.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** An HTML element: `h("button", {type: "button", onclick: f}, "Add")`. */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** The element of an id that the page has. */
export const at = (id) => document.getElementById(id);

/** Sets text only where it differs: what does not change is not announced again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets an attribute, or takes it away. */
export function mark(element, name, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : value);
}

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** 1,234 */
export const count = (n) => whole.format(n);

/** 1.2K, for what moves fast. */
export const brief = (n) => (n < 1000 ? whole.format(Math.round(n * 10) / 10) : short.format(n));

/** "1 book", "2 books" */
export const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;

/** 0.42 ms, 12 ms, 1.3 s, 5 min */
export function time(ms) {
  if (ms < 10) return `${Math.round(ms * 100) / 100} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${Math.round(ms / 100) / 10} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`;
  return `${Math.floor(ms / 3_600_000)} h`;
}

/** `Distributed_systems` as it is read. */
export const topicName = (topic) => topic.replaceAll("_", " ");

/** Runs `work` with the next frame, once, however often it is asked to. */
export function eachFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    requestAnimationFrame(() => { asked = false; work(); });
    asked = true;
  };
}

/** Whether things should not move. */
export const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
