//! The cluster as this front end sees it: a picture, charts and a timeline, told by one stream.

import { Chart, SPAN_MS, niceAbove } from "./charts.js";
import { brief, count, eachFrame, h, mark, s, say, time } from "./dom.js";
import { Replica } from "./replica.js";
import { follow } from "./stream.js";
import { Timeline } from "./timeline.js";

const RATE_OVER_MS = 5000;
/** How far apart the replicas' answers may be: the front end asks each four times a second. */
const ASKED_WITHIN_S = 0.6;

export class Cluster {
  #last = null;
  #samples = [];
  #events = [];
  #replicas = new Map();
  #orders = new Map();
  #end = null;
  /** The clock of this page at the beginning of the front end's. */
  #began = 0;
  #isNew = true;
  #draw = eachFrame(() => this.#drawNow());

  constructor(place) {
    this.wires = s("svg", { class: "wires", "aria-hidden": "true" });
    this.front = this.#frontCard();
    this.orderTier = h("div", { class: "tier orders-tier" });
    this.replicaTier = h("div", { class: "tier replicas-tier" });
    this.headline = h("p", { class: "headline", role: "status" });
    this.picture = h("section", { class: "picture", "aria-labelledby": "picture-title" },
      h("h2", { id: "picture-title", class: "unseen" }, "Servers"), this.wires,
      h("div", { class: "tier" }, this.front.element), this.orderTier, this.replicaTier,
      h("ul", { class: "legend cells-legend" }, ["applied", "committed", "logged", "missing", "purged"].map((state) => h("li", {}, h("span", { class: `swatch ${state}` }), CELL_NAMES[state]))));
    this.timeline = new Timeline();
    const rate = (value) => `${brief(value)}/s`;
    this.charts = [
      new Chart({ title: "Reads a second", note: "by where they were answered", format: rate, series: [
        { name: "from the cache", value: (sample) => sample.hits }, { name: "from a replica", value: (sample) => sample.reads }] }),
      new Chart({ title: "Writes a second", note: "sent on by this front end", format: rate, series: [
        { name: "orders", value: (sample) => sample.orders }, { name: "changes of books", value: (sample) => sample.changes }] }),
      new Chart({ title: "Latency", note: "the slowest of a hundred, as near as buckets that double tell", format: time, isLogarithmic: true, least: 1, series: [
        { name: "a batch of orders", value: (sample) => sample.order_ms?.p99 ?? null }, { name: "a read at a replica", value: (sample) => sample.read_ms?.p99 ?? null }] }),
    ];
    place.append(this.headline, this.picture, this.timeline.element,
      h("section", { class: "charts", "aria-labelledby": "charts-title" }, h("h2", { id: "charts-title", class: "unseen" }, "The last five minutes"), this.charts.map((chart) => chart.element)));
    new ResizeObserver(this.#draw).observe(this.picture);
  }

  open(onState) {
    this.#end = follow({
      url: () => { this.#isNew = true; return "/v1/cluster"; },
      onMessage: (event, data) => { if (event === "cluster") this.#hear(data); },
      onState: (state) => { mark(this.picture, "data-old", state !== "live"); onState(state); },
    });
  }

  close() {
    this.#end?.();
    this.#end = null;
  }

  #hear(message) {
    // Each stream begins with all that is remembered.
    if (this.#isNew) {
      [this.#samples, this.#events, this.#isNew] = [[], [], false];
      this.#began = Date.now() - message.now_ms;
      this.timeline.clear();
    }
    this.#last = message;
    this.#samples.push(...message.samples);
    this.#events.push(...message.events);
    this.#samples = this.#samples.filter((sample) => message.now_ms - sample.at_ms <= SPAN_MS);
    this.#draw();
  }

  #drawNow() {
    if (!this.#last || this.picture.clientWidth === 0) return;
    const { cluster, status, now_ms: now } = this.#last;
    this.#drawHeadline(cluster, status);
    this.#drawFront(cluster.frontend);
    sync(this.orderTier, this.#orders, cluster.orders, orderCard, (card, view) => {
      mark(card.element, "data-role", view.active ? "up" : "down");
      say(card.badge, view.active ? "Ready" : "Down");
      say(card.line, view.address);
    });
    const scale = this.#scale(status, now);
    sync(this.replicaTier, this.#replicas, cluster.catalogs, (name) => new Replica(name), (card, view) => {
      card.draw(view, status.find((one) => one.node === view.node), scale);
    });
    this.#drawWires(cluster);
    const names = cluster.catalogs.map((view) => view.node);
    this.timeline.draw({ names, samples: this.#samples, events: this.#events, now, began: this.#began });
    const marked = this.timeline.marked(this.#events);
    this.charts.forEach((chart) => chart.draw(this.#samples, now, marked));
  }

  /** What all replicas are drawn to. */
  #scale(status, now) {
    const most = (key) => Math.max(0, ...status.map((one) => one[key]));
    this.end = Math.max(this.end ?? 0, most("last_log"));
    const recent = this.#samples.filter((sample) => now - sample.at_ms <= RATE_OVER_MS);
    const grown = recent.length > 1 ? recent.at(-1).position - recent[0].position : 0;
    const tolerance = Math.ceil((grown / (RATE_OVER_MS / 1000)) * ASKED_WITHIN_S);
    return { end: this.end, most: niceAbove(Math.max(10, this.end)), committed: most("committed"), tolerance };
  }

  #drawHeadline(cluster, status) {
    const down = [...cluster.catalogs, ...cluster.orders].filter((view) => !view.active).map((view) => view.node);
    const term = status.find((one) => one.node === cluster.leader && one.role === "leader")?.term;
    const leads = cluster.leader ? `${cluster.leader} leads${term ? ` in term ${count(term)}` : ""}` : "Nobody leads";
    say(this.headline, `${leads}. ${down.length === 0 ? "All servers answer." : `Not answering: ${down.join(", ")}.`}`);
    mark(this.headline, "data-bad", !cluster.leader || down.length > 0);
  }

  #frontCard() {
    const [title, badge, rate] = [h("h3", {}), h("span", { class: "badge" }), h("b", { class: "rate" })];
    const facts = h("dl", { class: "facts" });
    const arc = s("circle", { cx: 30, cy: 30, r: 25, pathLength: 100, class: "arc" });
    const ring = s("svg", { class: "ring", viewBox: "0 0 60 60", "aria-hidden": "true" }, s("circle", { cx: 30, cy: 30, r: 25, class: "track" }), arc);
    const values = Object.fromEntries(FACTS.map((name) => [name, h("dd", {})]));
    facts.append(...FACTS.map((name) => h("div", {}, h("dt", {}, name), values[name])));
    const element = h("article", { class: "card front" },
      h("div", { class: "head" }, title, badge),
      h("div", { class: "front-body" }, h("div", { class: "hit-rate" }, ring, h("p", {}, rate, h("span", {}, "answered from the cache"))), facts));
    return { element, title, badge, rate, arc, values };
  }

  #drawFront({ node, position, stream, stream_age_ms: age, cache }) {
    const { element, title, badge, rate, arc, values } = this.front;
    say(title, node);
    mark(element, "data-role", stream === "live" ? "up" : "down");
    say(badge, stream === "live" ? "Stream live" : "Stream cut");
    const asked = cache.hits + cache.misses;
    const share = asked > 0 ? (100 * cache.hits) / asked : 0;
    say(rate, asked > 0 ? `${share >= 99.95 ? "100" : share.toFixed(1)} %` : "–");
    mark(arc, "stroke-dasharray", `${share} 100`);
    say(values["Stream position"], count(position));
    say(values["Last heard"], age < 250 ? "just now" : `${time(age)} ago`);
    say(values["Cached answers"], count(cache.entries));
    say(values["Reads"], `${brief(cache.hits)} hit, ${brief(cache.misses)} missed`);
    say(values["Invalidated"], count(cache.invalidations));
  }

  /** Who speaks to whom: front end to order servers to the leader, and the leader to the others. */
  #drawWires(cluster) {
    const box = this.picture.getBoundingClientRect();
    const isWide = matchMedia("(min-width: 860px)").matches;
    if (!isWide) return this.wires.replaceChildren();
    const spot = (element, side) => {
      const { left, right, top, bottom } = element.getBoundingClientRect();
      return [(left + right) / 2 - box.left, (side === "top" ? top : bottom) - box.top];
    };
    const wires = [];
    const wire = (from, to, isLive, dip = 0) => {
      const [[x1, y1], [x2, y2]] = [from, to];
      const bend = dip ? y1 + dip : (y1 + y2) / 2;
      wires.push(s("path", { d: `M${x1} ${y1}C${x1} ${bend} ${x2} ${bend} ${x2} ${y2}`, class: isLive ? "wire live" : "wire" }));
    };
    const leader = this.#replicas.get(cluster.leader);
    for (const view of cluster.orders) {
      const { element } = this.#orders.get(view.node);
      wire(spot(this.front.element, "bottom"), spot(element, "top"), view.active);
      if (leader) wire(spot(element, "bottom"), spot(leader.element, "top"), view.active);
    }
    for (const view of cluster.catalogs) {
      if (leader && view.node !== cluster.leader) wire(spot(leader.element, "bottom"), spot(this.#replicas.get(view.node).element, "bottom"), view.active, 26);
    }
    const isBusy = (this.#samples.at(-1)?.orders ?? 0) + (this.#samples.at(-1)?.changes ?? 0) > 0;
    mark(this.wires, "data-busy", isBusy);
    this.wires.replaceChildren(...wires);
  }
}

const FACTS = ["Stream position", "Last heard", "Cached answers", "Reads", "Invalidated"];
const CELL_NAMES = { applied: "applied", committed: "committed", logged: "in the log", missing: "not here yet", purged: "purged behind a snapshot" };

function orderCard(name) {
  const [badge, line] = [h("span", { class: "badge" }), h("p", { class: "line" })];
  const element = h("article", { class: "card order-server", "data-node": name }, h("div", { class: "head" }, h("h3", {}, name), badge), line);
  return { element, badge, line };
}

/** A card for each view, in order; those that are gone go. */
function sync(place, cards, views, make, draw) {
  const gone = new Set(cards.keys());
  views.forEach((view, index) => {
    gone.delete(view.node);
    let card = cards.get(view.node);
    if (!card) {
      card = make(view.node);
      cards.set(view.node, card);
    }
    if (place.children[index] !== card.element) place.insertBefore(card.element, place.children[index] ?? null);
    draw(card, view);
  });
  for (const name of gone) {
    cards.get(name).element.remove();
    cards.delete(name);
  }
}
