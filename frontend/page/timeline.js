//! What happened: a lane for each replica over the last five minutes, and the events in words.

import { SPAN_MS, placeOf, timeAxis } from "./charts.js";
import { count, h, many, mark, s, time } from "./dom.js";

const LANE = 20;
const TOP = 12;
const ROLES = { L: "leader", F: "follower", C: "candidate", N: "learner", D: "down" };
const MOST_SHOWN = 40;
/** Events that are marked in the charts as well. */
const MARKED = new Set(["down", "elected", "up"]);

const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium", hour12: false });

const SENTENCES = {
  down: (event) => (event.led ? "no longer answers: the leader is gone" : "no longer answers"),
  up: (event) => `answers again after ${time(event.after_ms)}${event.behind > 0 ? `, ${many(event.behind, "entry", "entries")} behind` : ""}`,
  "caught-up": (event) => `has caught up: ${many(event.entries, "entry", "entries")} in ${time(Math.max(event.after_ms, 1))}`,
  elected: (event) => `was elected, term ${count(event.term)}${event.after_ms === null ? "" : `, after ${time(event.after_ms)} without a leader`}`,
  snapshot: (event) => `has a snapshot of revision ${count(event.revision)}`,
  voters: (event) => `leads a group of other voters: ${event.voters.map((id) => `catalog-${id}`).join(", ")}`,
  "stream-cut": () => "of changes to the cache was cut: reads ask the replicas",
  "stream-live": () => "of changes to the cache is live again",
};

/** An event in words. */
export const sentenceOf = (event) => SENTENCES[event.what]?.(event) ?? event.what;

export class Timeline {
  /** An id that no event has: of those that are shown already. */
  #shown = 0;

  constructor() {
    this.svg = s("svg", { class: "lanes", role: "img" });
    this.list = h("ol", { class: "events", tabindex: "0", "aria-label": "Events, newest first" });
    this.empty = h("p", { class: "empty" }, "Nothing yet. Kill a replica, as with ", h("code", {}, "make kill NODE=leader"), ", and watch.");
    this.element = h("section", { class: "card timeline", "aria-labelledby": "timeline-title" },
      h("h2", { id: "timeline-title" }, "What happened"),
      h("ul", { class: "legend" }, ["leader", "follower", "candidate", "down"].map((role) => h("li", {}, h("span", { class: `swatch ${role}` }), role))),
      this.svg, this.empty, this.list);
  }

  /** Begins anew, when a stream has. */
  clear() {
    this.#shown = 0;
    this.list.replaceChildren();
  }

  /** Marks for the charts. */
  marked(events) {
    return events.filter((event) => MARKED.has(event.what));
  }

  draw({ names, samples, events, now, began }) {
    this.#drawLanes(names, samples, events, now);
    for (; this.#shown < events.length; this.#shown += 1) {
      const event = events[this.#shown];
      const when = new Date(began + event.at_ms);
      this.list.prepend(h("li", { class: event.what, "data-what": event.what },
        h("time", { datetime: when.toISOString() }, clock.format(when)),
        h("span", {}, h("b", {}, event.node === "stream" ? "The stream" : event.node), ` ${sentenceOf(event)}`)));
      while (this.list.children.length > MOST_SHOWN) this.list.lastChild.remove();
    }
    this.empty.hidden = events.length > 0;
  }

  #drawLanes(names, samples, events, now) {
    const width = this.svg.clientWidth;
    if (width === 0) return;
    const height = TOP + names.length * LANE + 22;
    mark(this.svg, "height", height);
    const parts = timeAxis(width, height);
    names.forEach((name, lane) => {
      const y = TOP + lane * LANE;
      parts.push(s("text", { x: 56, y: y + 12, "text-anchor": "end", class: "tick" }, name));
      for (const run of runsOf(samples, lane, now)) {
        const [x1, x2] = [placeOf(run.from, now, width), placeOf(run.upto, now, width)];
        parts.push(s("rect", { x: x1, y: y + 2, width: Math.max(x2 - x1, 1), height: LANE - 6, class: `run ${ROLES[run.role]}` }));
      }
      for (const event of events) {
        if (event.node !== name || event.what !== "elected" || now - event.at_ms > SPAN_MS) continue;
        const x = placeOf(event.at_ms, now, width);
        parts.push(s("path", { d: `M${x} ${y - 1}l4 -6h-8z`, class: "elected" }));
      }
    });
    this.svg.replaceChildren(...parts);
    mark(this.svg, "aria-label", `Roles of ${names.join(", ")} over the last five minutes; the events are listed below.`);
  }
}

/** Stretches of one role in a lane. */
export function runsOf(samples, lane, now) {
  const runs = [];
  for (const sample of samples) {
    const from = Math.max(sample.at_ms - 1000, now - SPAN_MS);
    if (sample.at_ms < from) continue;
    const role = sample.roles[lane];
    const last = runs.at(-1);
    if (last?.role === role && from - last.upto < 1500) last.upto = sample.at_ms;
    else runs.push({ role, from: last && from - last.upto < 1500 ? last.upto : from, upto: sample.at_ms });
  }
  return runs;
}
