//! One replica as a card: its role, and its log as bars and as cells.

import { count, h, many, mark, s, say } from "./dom.js";

/** Entries at the end of the log that are shown one by one. */
export const CELLS = 40;
const CELL = { width: 7, height: 18, step: 8 };
const ROLES = { leader: "Leader", follower: "Follower", candidate: "Candidate", learner: "Learner", down: "Down" };
const BARS = [["last_log", "last"], ["committed", "committed"], ["applied", "applied"], ["purged", "purged"]];

export class Replica {
  /** What it said last, however long ago. */
  #status = null;

  constructor(name) {
    this.title = h("h3", {}, name);
    this.badge = h("span", { class: "badge" });
    this.line = h("p", { class: "line" });
    this.cells = Array.from({ length: CELLS }, (_, index) => s("rect", { x: index * CELL.step, y: 0, width: CELL.width, height: CELL.height, rx: 1.5 }));
    this.strip = s("svg", { class: "strip", role: "img", viewBox: `0 0 ${CELLS * CELL.step - 1} ${CELL.height}` }, this.cells);
    this.bars = BARS.map(([key, text]) => {
      const fill = h("span", { class: `fill ${key}` });
      const number = h("b", {});
      return { key, fill, number, element: h("div", {}, h("dt", {}, text), h("dd", {}, h("span", { class: "bar" }, fill), number)) };
    });
    this.lag = h("p", { class: "lag" });
    this.element = h("article", { class: "card replica", "data-node": name },
      h("div", { class: "head" }, this.title, this.badge),
      this.line, this.strip,
      h("dl", { class: "bars" }, this.bars.map((bar) => bar.element)),
      this.lag);
  }

  /** `scale`: `{end, most, committed, tolerance}` of all replicas. */
  draw(view, status, scale) {
    if (status) this.#status = status;
    const known = this.#status;
    const role = view.active && status ? status.role : "down";
    mark(this.element, "data-role", role);
    say(this.badge, ROLES[role] ?? role);
    say(this.line, [view.address, known && `term ${count(known.term)}`, known && many(known.orders, "order")].filter(Boolean).join(" · "));
    const at = known ?? { last_log: 0, committed: 0, applied: 0, purged: 0 };
    const first = Math.max(1, scale.end - CELLS + 1);
    const behind = Math.max(0, scale.committed - at.applied);
    const isBehind = behind > scale.tolerance || role === "down";
    // Of replicas in step, one was only asked a little earlier than the other.
    const end = isBehind ? scale.end : at.last_log;
    this.cells.forEach((cell, index) => mark(cell, "class", cellOf(at, first + index, end)));
    mark(this.strip, "aria-label", `The last ${CELLS} entries of the log: this replica has applied up to ${count(at.applied)} of ${count(scale.committed)}.`);
    for (const bar of this.bars) {
      bar.fill.style.width = `${(100 * at[bar.key]) / scale.most}%`;
      say(bar.number, known ? count(at[bar.key]) : "–");
    }
    mark(this.lag, "data-behind", isBehind);
    if (role === "down") say(this.lag, known && behind > 0 ? `Not answering, ${many(behind, "entry", "entries")} behind` : "Not answering");
    else say(this.lag, isBehind ? `${many(behind, "entry", "entries")} behind` : role === "leader" ? "Leads: what it appends, the others follow" : "In step");
  }
}

function cellOf(at, index, end) {
  if (index > end) return "none";
  if (index <= at.purged) return "purged";
  if (index <= at.applied) return "applied";
  if (index <= at.committed) return "committed";
  return index <= at.last_log ? "logged" : "missing";
}
