//! The list of books: topics, search, and rows of which only those on the screen exist.

import { FRESH_MS } from "./catalogue.js";
import { at, count, eachFrame, h, many, mark, say, topicName } from "./dom.js";

/** Rows beyond the screen, above and below. */
const SPARE = 6;
const LOW = 5;
const ASK_AFTER_MS = 200;

export class Books {
  #rows = new Map();
  #found = [];
  #topic = "";
  #asking = null;
  #asked = "";
  #timer = 0;
  #draw = eachFrame(() => this.#drawNow());
  #select = eachFrame(() => this.#selectNow());

  constructor(catalogue, basket, open) {
    this.catalogue = catalogue;
    this.basket = basket;
    this.open = open;
    this.list = at("books");
    this.search = at("search");
    this.search.addEventListener("input", () => this.#look());
    at("finder").addEventListener("submit", (event) => event.preventDefault());
    addEventListener("scroll", this.#draw, { passive: true });
    addEventListener("resize", this.#draw);
    this.list.addEventListener("keydown", (event) => this.#key(event));
    catalogue.listen(({ structure, numbers, position }) => {
      if (position) this.#say();
      else if (structure) this.#select();
      else if (numbers) this.#draw();
    });
    basket.listen(this.#draw);
  }

  /** Draws again, when the list has come into view. */
  refresh() {
    this.#select();
  }

  #say() {
    const { source, position } = this.catalogue;
    say(at("list-source"), source && `${source[0].toUpperCase()}${source.slice(1)}, live to ${count(position)}`);
  }

  #look() {
    scrollTo({ top: 0 });
    this.#select();
    if (!this.catalogue.isPartial) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), ASK_AFTER_MS);
  }

  /** Asks the servers too, where they have more books than this page. */
  async #ask() {
    const [text, topic] = [this.search.value.trim(), this.#topic];
    if (!text && !topic) return;
    this.#asking?.abort();
    this.#asking = new AbortController();
    try {
      await this.catalogue.find(text, topic, this.#asking.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#asked = `the servers could not be asked: ${error.message}`;
    }
    this.#select();
  }

  #selectNow() {
    this.#drawTopics();
    const { catalogue } = this;
    this.#found = catalogue.select(this.search.value, this.#topic);
    const what = this.search.value.trim() ? "match" : "";
    const found = this.#found.length;
    let text = what ? `${many(found, "book")} ${found === 1 ? "matches" : "match"}` : many(found, "book");
    if (!catalogue.isLoaded) text = found > 0 ? `${count(found)} books so far, loading` : "Loading the catalogue";
    say(at("found"), this.#asked || text);
    this.#asked = "";
    this.#say();
    const notice = at("list-notice");
    notice.hidden = !catalogue.isPartial;
    say(notice, catalogue.isPartial ? `This catalogue is large: ${count(catalogue.items.size)} books are here. Searches ask the servers for the rest.` : "");
    this.#drawNow();
  }

  #drawTopics() {
    const place = at("topics");
    const topics = [...this.catalogue.topics].sort(([a], [b]) => a.localeCompare(b));
    const wanted = [["", this.catalogue.items.size], ...topics];
    if (this.#topic && !this.catalogue.topics.has(this.#topic)) this.#topic = "";
    const shown = new Map([...place.children].map((button) => [button.dataset.topic, button]));
    wanted.forEach(([topic, books], index) => {
      let button = shown.get(topic);
      shown.delete(topic);
      if (!button) {
        const choose = () => { this.#topic = topic; this.#look(); };
        button = h("button", { type: "button", "data-topic": topic, onclick: choose }, h("span", {}, topicName(topic) || "All"), h("span", { class: "books-of" }));
      }
      if (place.children[index] !== button) place.insertBefore(button, place.children[index] ?? null);
      say(button.lastChild, ` ${count(books)}`);
      mark(button, "aria-pressed", topic === this.#topic ? "true" : "false");
    });
    shown.forEach((button) => button.remove());
  }

  #drawNow() {
    const { list } = this;
    const height = parseFloat(getComputedStyle(list).getPropertyValue("--row"));
    const box = list.getBoundingClientRect();
    // Not in view.
    if (box.width === 0) return;
    const total = this.#found.length;
    list.style.height = `${total * height}px`;
    const first = Math.max(0, Math.floor(-box.top / height) - SPARE);
    const last = Math.min(total, Math.ceil((innerHeight - box.top) / height) + SPARE);
    const wanted = new Set(this.#found.slice(first, last));
    for (const [number, row] of this.#rows) {
      // Whoever has the focus keeps it, wherever the page is scrolled to.
      if (wanted.has(number) || (row.element.contains(document.activeElement) && this.catalogue.items.has(number))) continue;
      row.element.remove();
      this.#rows.delete(number);
    }
    let before = null;
    for (let index = last - 1; index >= first; index -= 1) {
      const number = this.#found[index];
      const item = this.catalogue.items.get(number);
      // Withdrawn since it was found: the selection that follows does without it.
      if (!item) continue;
      let row = this.#rows.get(number);
      if (!row) {
        row = this.#row(number);
        this.#rows.set(number, row);
      }
      if (row.element.nextSibling !== before || !row.element.isConnected) list.insertBefore(row.element, before);
      before = row.element;
      row.element.style.transform = `translateY(${index * height}px)`;
      mark(row.element, "aria-setsize", total);
      mark(row.element, "aria-posinset", index + 1);
      this.#fill(row, item);
    }
  }

  #row(number) {
    const title = h("button", { type: "button", class: "title", onclick: () => this.open(number) });
    const topic = h("span", { class: "topic" });
    const cost = h("b", {});
    const stock = h("span", {});
    const add = h("button", { type: "button", class: "add", onclick: (event) => this.#add(event.currentTarget, number) });
    const element = h("li", { class: "row", "data-number": number },
      h("div", { class: "what" }, title, topic),
      h("div", { class: "cost" }, h("span", { class: "unseen" }, "Cost "), cost),
      h("div", { class: "stock" }, stock),
      add);
    return { element, title, topic, cost, stock, add };
  }

  /** A button that is disabled would lose the focus of whoever has just used it. */
  #add(button, number) {
    if (!button.hasAttribute("aria-disabled")) this.basket.add(number, 1);
  }

  #fill(row, item) {
    say(row.title, item.title);
    say(row.topic, topicName(item.topic));
    say(row.cost, count(item.cost));
    say(row.stock, item.quantity === 0 ? "Sold out" : item.quantity <= LOW ? `Only ${item.quantity} left` : `${count(item.quantity)} in stock`);
    mark(row.stock, "data-level", item.quantity === 0 ? "none" : item.quantity <= LOW ? "low" : "good");
    const inBasket = this.basket.quantityOf(item.item_number);
    say(row.add, inBasket > 0 ? `In basket: ${count(inBasket)}` : "Add");
    mark(row.add, "aria-label", `${inBasket > 0 ? `In basket: ${inBasket}. Add another` : "Add"}: ${item.title}`);
    mark(row.add, "data-in", inBasket > 0);
    mark(row.add, "aria-disabled", item.quantity <= inBasket && "true");
    this.#flash(row, item);
  }

  /** Shows for a while which way stock and cost went. */
  #flash(row, item) {
    const { changed } = item;
    if (!changed || changed === row.changed) return;
    row.changed = changed;
    const left = FRESH_MS - (performance.now() - changed.at);
    if (left <= 0) return;
    const way = (by) => (by > 0 ? "up" : by < 0 ? "down" : false);
    mark(row.stock, "data-went", way(changed.stock));
    mark(row.cost, "data-went", way(changed.cost));
    // The animation begins anew although the row has it already.
    row.element.classList.remove("fresh");
    void row.element.offsetWidth;
    row.element.classList.add("fresh");
    clearTimeout(row.timer);
    row.timer = setTimeout(() => {
      row.element.classList.remove("fresh");
      mark(row.stock, "data-went", false);
      mark(row.cost, "data-went", false);
    }, left);
  }

  /** Arrows, Page Up and Down, Home and End move between rows, to those as well that do not exist yet. */
  #key(event) {
    const row = event.target.closest?.(".row");
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
    const height = row.getBoundingClientRect().height;
    const page = Math.max(1, Math.floor(innerHeight / height) - 2);
    const index = this.#found.indexOf(Number(row.dataset.number));
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, PageDown: index + page, PageUp: index - page, Home: 0, End: Infinity }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const target = Math.min(Math.max(to, 0), this.#found.length - 1);
    const isAdd = event.target.classList.contains("add");
    const top = this.list.getBoundingClientRect().top + scrollY + target * height;
    if (top < scrollY + 2 * height || top > scrollY + innerHeight - 2 * height) scrollTo({ top: top - innerHeight / 2 });
    this.#drawNow();
    const shown = this.#rows.get(this.#found[target]);
    (isAdd ? shown?.add : shown?.title)?.focus({ preventScroll: true });
  }
}
