//! One book, asked for by itself: the answer that the cache gives, and where it came from.

import { read } from "./api.js";
import { at, count, eachFrame, h, say, topicName } from "./dom.js";

export class Book {
  #number = null;
  #draw = eachFrame(() => this.#drawNow());

  constructor(catalogue, basket) {
    this.catalogue = catalogue;
    this.basket = basket;
    this.dialog = at("book");
    this.title = h("h2", { id: "book-title" });
    this.facts = h("dl", { class: "facts" });
    this.source = h("p", { class: "source", role: "status" });
    const ask = (text, path, note) => h("button", { type: "button", class: "quiet", title: note, onclick: () => this.#ask(path) }, text);
    this.add = h("button", { type: "button", class: "primary", onclick: () => { this.basket.add(this.#number, 1); this.dialog.close(); } }, "Add to basket");
    this.dialog.append(
      h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => this.dialog.close() }, "×"),
      this.title,
      this.facts,
      h("div", { class: "actions" }, this.add,
        ask("Ask again", "", "By default the front end answers from its cache, proven fresh"),
        ask("Ask the leader", "?read=linearizable", "The present, whatever it costs")),
      this.source);
    this.dialog.addEventListener("click", (event) => { if (event.target === this.dialog) this.dialog.close(); });
    catalogue.listen(({ numbers, structure }) => {
      if (this.dialog.open && (structure || numbers?.includes(this.#number))) this.#draw();
    });
  }

  show(number) {
    this.#number = number;
    this.#drawNow();
    say(this.source, "");
    this.dialog.showModal();
    this.#ask("");
  }

  async #ask(query) {
    const begun = performance.now();
    const number = this.#number;
    try {
      const { data, source } = await read(`/v1/items/${number}${query}`);
      const ms = Math.max(0.1, Math.round((performance.now() - begun) * 10) / 10);
      this.catalogue.put([data], true);
      if (number === this.#number) say(this.source, `${source[0].toUpperCase()}${source.slice(1)}, in ${ms} ms`);
    } catch (error) {
      say(this.source, `No answer: ${error.message}`);
    }
  }

  #drawNow() {
    const item = this.catalogue.items.get(this.#number);
    if (!item) {
      say(this.source, "This book has been withdrawn");
      this.add.disabled = true;
      return;
    }
    say(this.title, item.title);
    const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
    this.facts.replaceChildren(
      fact("Cost", count(item.cost)),
      fact("In stock", count(item.quantity)),
      fact("Topic", topicName(item.topic)),
      fact("Item", `#${item.item_number}`),
      fact("Last change", `revision ${count(item.revision)}`));
    this.add.disabled = item.quantity <= this.basket.quantityOf(item.item_number);
  }
}
