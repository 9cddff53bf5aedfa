//! The basket: several books, bought in one order, all of them or none.

import { decide, newKey } from "./api.js";
import { at, count, eachFrame, h, many, mark, say } from "./dom.js";

const KEPT = "basket";
const MOST_LINES = 100;

export class Basket {
  /** Number → how many. */
  #lines = new Map();
  /** An order whose outcome is not known: `{key, lines}`. It outlives a reload. */
  #pending = null;
  #isBuying = false;
  /** What the last refusal named: `{item_number, left}`. */
  #short = null;
  #listeners = new Set();
  #rows = new Map();
  #draw = eachFrame(() => this.#drawNow());

  constructor(catalogue, onBought) {
    this.catalogue = catalogue;
    this.onBought = onBought;
    this.list = h("ul", { class: "lines", "aria-label": "Books in the basket" });
    this.total = h("b", {});
    this.buy = h("button", { type: "button", class: "primary", onclick: () => this.#buy().catch(reportError) }, "Buy");
    this.empty = h("p", { class: "empty" }, "Nothing yet. What you add here is bought in one order: all of it, or none.");
    this.sum = h("div", { class: "sum" }, h("span", {}, "Total ", this.total), this.buy);
    at("basket-body").append(this.empty, this.list, this.sum);
    this.#restore();
    addEventListener("storage", (event) => { if (event.key === KEPT) this.#restore(); });
    catalogue.listen(({ structure, numbers }) => {
      if (structure || numbers?.some((number) => this.#lines.has(number))) this.#draw();
    });
    if (this.#pending) this.#buy().catch(reportError);
  }

  listen(listener) {
    this.#listeners.add(listener);
  }

  quantityOf(number) {
    return this.#lines.get(number) ?? 0;
  }

  add(number, by) {
    this.#set(number, this.quantityOf(number) + by);
  }

  #set(number, quantity) {
    if (this.#isBuying) return;
    if (quantity > 0) this.#lines.set(number, quantity);
    else this.#lines.delete(number);
    if (this.#short?.item_number === number) this.#short = null;
    at("refused").replaceChildren();
    this.#changed();
  }

  #changed() {
    this.#keep();
    this.#draw();
    this.#listeners.forEach((listener) => listener());
  }

  #keep() {
    try {
      localStorage.setItem(KEPT, JSON.stringify({ lines: [...this.#lines], pending: this.#pending }));
    } catch {
      // A browser that keeps nothing: the basket lives as long as the page.
    }
  }

  #restore() {
    try {
      const { lines = [], pending = null } = JSON.parse(localStorage.getItem(KEPT)) ?? {};
      this.#lines = new Map(lines);
      // Who left the page did not learn the outcome.
      if (!this.#isBuying) this.#pending = pending && { ...pending, isUnknown: true };
    } catch {
      this.#lines = new Map();
    }
    this.#draw();
    this.#listeners.forEach((listener) => listener());
  }

  async #buy() {
    if (this.#isBuying || (this.#lines.size === 0 && !this.#pending)) return;
    const lines = [...this.#lines].map(([item_number, quantity]) => ({ item_number, quantity }));
    // What is not known yet is settled first, under its own key.
    this.#pending ??= { key: newKey(), lines };
    this.#keep();
    this.#isBuying = true;
    this.#short = null;
    at("refused").replaceChildren();
    say(at("bought"), "Buying");
    this.#draw();
    const { key, lines: body } = this.#pending;
    const told = () => say(at("bought"), "No outcome yet: asking again under the same key, so that it is bought once");
    try {
      this.#settle(await decide("/v1/orders", { body: { lines: body }, key, told }));
    } finally {
      this.#isBuying = false;
      this.#changed();
    }
  }

  #settle({ status, data, source, isDecided, isUnknown }) {
    say(at("bought"), "");
    if (status === 201) {
      const bought = this.#pending.lines;
      this.#pending = null;
      for (const { item_number, quantity } of bought) {
        const left = this.quantityOf(item_number) - quantity;
        if (left > 0) this.#lines.set(item_number, left);
        else this.#lines.delete(item_number);
      }
      this.#thank(data, source);
      this.onBought(data);
      return;
    }
    if (!isDecided && (isUnknown || this.#pending.isUnknown)) {
      this.#pending.isUnknown = true;
      return this.#refuse("It is not known yet whether this was bought. “Ask again” asks under the same key, so that it is bought once at most.");
    }
    this.#pending = null;
    const title = this.catalogue.items.get(data?.item_number)?.title;
    if (status === 409 && title) {
      this.#short = data;
      const left = data.left === 0 ? "none is left" : `only ${count(data.left)} left`;
      return this.#refuse(`Nothing was bought: of “${title}” you want ${count(data.wanted)}, and ${left}.`, data);
    }
    this.#refuse(`Nothing was bought: ${title ? `“${title}”: ` : ""}${data?.detail ?? `the server answered ${status}`}.`);
  }

  #refuse(text, short) {
    const settle = short && h("button", { type: "button", class: "quiet", onclick: () => this.#set(short.item_number, short.left) },
      short.left > 0 ? `Take ${count(short.left)}` : "Take it out");
    at("refused").replaceChildren(h("p", {}, text), settle || "");
  }

  #thank(order, source) {
    const books = order.lines.reduce((sum, line) => sum + line.quantity, 0);
    at("bought").replaceChildren(
      h("p", {}, h("b", {}, `Bought ${many(books, "book")} for ${count(order.total)}.`), " Order ", h("code", {}, order.id.slice(-8))),
      h("p", { class: "source" }, source));
  }

  #drawNow() {
    const books = [...this.#lines.values()].reduce((sum, quantity) => sum + quantity, 0);
    const badge = at("basket-count");
    badge.hidden = books === 0;
    say(badge, books > 0 ? count(books) : "");
    this.empty.hidden = books > 0;
    this.sum.hidden = books === 0 && !this.#pending;
    for (const [number, row] of this.#rows) {
      if (this.#lines.has(number)) continue;
      row.element.remove();
      this.#rows.delete(number);
    }
    let total = 0;
    for (const [number, quantity] of this.#lines) {
      let row = this.#rows.get(number);
      if (!row) {
        row = this.#row(number);
        this.#rows.set(number, row);
        this.list.append(row.element);
      }
      total += this.#fill(row, number, quantity);
    }
    say(this.total, count(total));
    const isTooLong = this.#lines.size > MOST_LINES;
    say(this.buy, this.#isBuying ? "Buying" : isTooLong ? `At most ${MOST_LINES} titles` : this.#pending ? "Ask again" : `Buy ${many(books, "book")}`);
    this.buy.disabled = this.#isBuying || isTooLong;
  }

  #row(number) {
    const title = h("span", { class: "title" });
    const less = h("button", { type: "button", onclick: () => this.add(number, -1) }, "−");
    const more = h("button", { type: "button", onclick: () => this.add(number, 1) }, "+");
    const change = (event) => this.#set(number, Math.max(0, Math.floor(Number(event.target.value) || 0)));
    const quantity = h("input", { type: "number", min: "0", inputmode: "numeric", onchange: change });
    const cost = h("span", { class: "cost" });
    const note = h("span", { class: "note" });
    const element = h("li", {}, title, h("span", { class: "stepper" }, less, quantity, more), cost, note);
    return { element, title, less, more, quantity, cost, note };
  }

  /** Returns what the line costs. */
  #fill(row, number, quantity) {
    const item = this.catalogue.items.get(number);
    const title = item?.title ?? `Item ${number}`;
    const left = item?.quantity ?? (this.catalogue.isLoaded && !this.catalogue.isPartial ? 0 : Infinity);
    say(row.title, title);
    mark(row.less, "aria-label", `One less of ${title}`);
    mark(row.more, "aria-label", `One more of ${title}`);
    mark(row.quantity, "aria-label", `How many of ${title}`);
    if (document.activeElement !== row.quantity || this.#isBuying) row.quantity.value = quantity;
    for (const control of [row.less, row.more, row.quantity]) control.disabled = this.#isBuying;
    say(row.cost, item ? count(item.cost * quantity) : "");
    const isShort = quantity > left || this.#short?.item_number === number;
    mark(row.element, "data-short", isShort);
    say(row.note, quantity > left ? (left === 0 ? "None left" : `Only ${count(left)} left`) : "");
    return item ? item.cost * quantity : 0;
  }
}
