//! The orders, newest first. The ledger is read forwards from a revision, so a page of the newest is found by going
//! back far enough; new ones are read when a change says that something was bought.

import { read } from "./api.js";
import { at, count, h, many, say } from "./dom.js";

const PAGE = 20;
/** How many orders one question brings at most. */
const LIMIT = 200;
/** No place in an entry is greater. */
const LAST_PLACE = 4294967295;
/** How far back the first question goes, in revisions. */
const FIRST_SPAN = 64;
const MOST_SHOWN = 400;
const SETTLE_MS = 250;

const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium", hour12: false });
const day = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium", hour12: false });

/** Today's by the clock alone. */
const moment = (when) => (when.toDateString() === new Date().toDateString() ? clock : day).format(when);

export class Orders {
  /** Oldest first; what is shown ends with the newest. */
  #orders = [];
  /** No order before this revision has been read. */
  #from = Infinity;
  #last = "";
  #timer = 0;
  #isOpen = false;
  #isReading = false;
  #isStale = false;
  #hasMore = false;

  constructor(catalogue) {
    this.list = h("ol", { class: "orders", reversed: true });
    this.empty = h("p", { class: "empty" }, "No orders yet.");
    this.source = h("p", { class: "source" });
    this.older = h("button", { type: "button", class: "quiet", onclick: () => this.#older().catch(reportError) }, "Older orders");
    this.older.hidden = true;
    at("orders-body").append(this.empty, this.list, this.older, this.source);
    catalogue.listen(({ numbers }) => { if (numbers) this.#soon(); });
  }

  /** Reads the newest, and follows from there. */
  async open() {
    this.#isOpen = true;
    await this.#newer();
  }

  close() {
    this.#isOpen = false;
  }

  /** Something changed: reads what was ordered since, once for many changes. */
  #soon() {
    if (!this.#isOpen || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#newer().catch(() => { this.#isStale = true; });
    }, SETTLE_MS);
  }

  async #newer() {
    if (this.#isReading) {
      this.#isStale = true;
      return;
    }
    this.#isReading = true;
    try {
      do {
        this.#isStale = false;
        await (this.#last ? this.#since() : this.#newest());
      } while (this.#isStale);
    } finally {
      this.#isReading = false;
    }
    this.#draw();
  }

  /** The newest page: how far the ledger goes, and then back from there. */
  async #newest() {
    const { data } = await this.#page("0.0", 1);
    this.#from = data.revision + 1;
    await this.#back(PAGE);
    this.#last = cursor(this.#orders.at(-1)) ?? `${data.revision}.${LAST_PLACE}`;
  }

  async #since() {
    const { data, source } = await this.#page(this.#last, LIMIT);
    if (data.next) {
      // Nobody reads so many: the newest are found anew.
      this.#orders = [];
      return this.#newest();
    }
    const known = new Set(this.#orders.map((order) => order.id));
    this.#orders.push(...data.orders.filter((order) => !known.has(order.id)));
    this.#last = cursor(data.orders.at(-1)) ?? this.#last;
    this.#say(source);
  }

  /** Goes back from the oldest that is known until there are `wanted` more, or none. */
  async #back(wanted) {
    let span = FIRST_SPAN;
    const found = [];
    while (this.#from > 1 && found.length < wanted) {
      const start = Math.max(0, this.#from - 1 - span);
      const { data, source } = await this.#page(`${start}.${LAST_PLACE}`, LIMIT);
      const before = data.orders.filter((order) => order.revision < this.#from);
      const isCut = data.next && before.length === data.orders.length;
      if (isCut && span > 1) {
        // More than one question brings: not so far.
        span = Math.max(1, Math.floor(span / 4));
        continue;
      }
      // One entry of the log with more orders than a page has: the rest of it.
      for (let next = isCut && data.next; next; ) {
        const rest = (await this.#page(next, 1000)).data;
        before.push(...rest.orders.filter((order) => order.revision < this.#from));
        next = rest.orders.at(-1)?.revision < this.#from && rest.next;
      }
      found.unshift(...before);
      this.#from = start + 1;
      span = Math.min(span * 4, 1 << 24);
      this.#say(source);
    }
    this.#hasMore = this.#from > 1;
    this.#orders.unshift(...found);
  }

  async #older() {
    this.older.disabled = true;
    try {
      await this.#back(PAGE);
    } finally {
      this.older.disabled = false;
    }
    this.#draw();
  }

  #page(after, limit) {
    return read(`/v1/orders?limit=${limit}&after=${after}`);
  }

  #say(source) {
    say(this.source, source && `Orders ${source}`);
  }

  #draw() {
    if (this.#orders.length > MOST_SHOWN) {
      this.#orders = this.#orders.slice(-MOST_SHOWN);
      this.#from = this.#orders[0].revision;
      this.#hasMore = true;
    }
    this.empty.hidden = this.#orders.length > 0;
    this.older.hidden = !this.#hasMore || this.#orders.length === 0;
    const shown = new Map([...this.list.children].map((row) => [row.dataset.id, row]));
    let before = null;
    for (const order of this.#orders) {
      const row = shown.get(order.id) ?? rowOf(order);
      shown.delete(order.id);
      // Newest first: each goes before the one that is older.
      if (row.nextSibling !== before || !row.isConnected) this.list.insertBefore(row, before);
      before = row;
    }
    shown.forEach((row) => row.remove());
  }
}

/** Where a page goes on behind an order. Its place in its entry is not told, so the whole entry is read again. */
const cursor = (order) => order && `${order.revision - 1}.${LAST_PLACE}`;

function rowOf(order) {
  const books = order.lines.reduce((sum, line) => sum + line.quantity, 0);
  const lines = order.lines.map((line) => h("li", {}, `${count(line.quantity)} × ${line.title}`, h("span", {}, ` at ${count(line.unit_cost)}`)));
  return h("li", { "data-id": order.id, class: "order" },
    h("div", { class: "order-head" }, h("b", {}, many(books, "book")), h("span", { class: "cost" }, count(order.total))),
    h("ul", { class: "order-lines" }, lines),
    h("p", { class: "source" }, h("time", { datetime: order.time }, moment(new Date(order.time))), ` · revision ${count(order.revision)} · `, h("code", {}, order.id.slice(-8))));
}
