//! The books that this page knows, kept true by the stream of changes. Knows nothing of how they are shown.

import { read } from "./api.js";
import { follow } from "./stream.js";

const PAGE = 1000;
/** Beyond so many the rest stays with the servers, which searches and topics ask for. */
const MOST_HELD = 20_000;
const MOST_FOUND = 1000;
/** What searches have found beyond those is dropped again when it is so much. */
const MOST_KEPT = 50_000;
/** How long a change is shown as one. */
export const FRESH_MS = 2500;

/** As the servers have it: catalog-raft/client/src/items/words.rs. */
function words(text) {
  const runs = text.split(/[^\p{Alphabetic}\p{N}]+/u).filter(Boolean);
  return runs.map((run) => run.toLowerCase().replaceAll("ς", "σ"));
}

/** Whether each word of `query` begins a word of the title, as one types it. */
export function matches(item, query) {
  return query.every((part) => item.words.some((word) => word.startsWith(part)));
}

export class Catalogue {
  /** Number → item. */
  items = new Map();
  /** Topic → how many books. */
  topics = new Map();
  /** Up to where changes are known. */
  position = 0;
  /** Whether the servers have more than is held here. */
  isPartial = false;
  isLoaded = false;
  /** Where the last page of the list came from. */
  source = "";

  #gone = new Set();
  #listeners = new Set();
  #end = null;
  #begun = 0;

  /** `listener({structure, numbers})`: whether books came, went or moved; else which have changed. */
  listen(listener) {
    this.#listeners.add(listener);
  }

  /** Loads and follows, or follows on from where it was; `onState` hears of the stream. */
  async open(onState) {
    this.#end?.();
    const run = (this.#begun += 1);
    if (this.isLoaded) this.#follow(onState);
    else await this.#load(run, onState);
  }

  async #load(run, onState) {
    const first = await this.#page(`limit=${PAGE}`);
    if (run !== this.#begun) return;
    // A later beginning, when history was lost, has seen no withdrawal: what is not listed any more is gone.
    const before = new Set(this.items.keys());
    this.position = first.revision;
    this.#follow(onState);
    for (let page = first; ; page = await this.#page(`limit=${PAGE}&after=${page.next}`)) {
      if (run !== this.#begun) return;
      this.put(page.items);
      page.items.forEach((item) => before.delete(item.item_number));
      if (!page.next) break;
      if (this.items.size >= MOST_HELD) {
        this.isPartial = true;
        break;
      }
    }
    if (!this.isPartial) before.forEach((number) => this.#withdraw(number));
    this.isLoaded = true;
    this.#tell({ structure: true });
  }

  #follow(onState) {
    this.#end = follow({
      url: () => `/v1/watch?after=${this.position}`,
      onMessage: (event, data) => this.#hear(event, data, onState),
      onState,
      onGone: () => this.#again(onState),
    });
  }

  /** Ends the stream; `open` goes on. */
  close() {
    this.#begun += 1;
    this.#end?.();
    this.#end = null;
  }

  /** Asks the servers for what is not held here. */
  async find(query, topic, signal) {
    const parts = [`limit=${MOST_FOUND}`];
    if (query) parts.push(`q=${encodeURIComponent(query)}`);
    if (topic) parts.push(`topic=${encodeURIComponent(topic)}`);
    const { items } = await this.#page(parts.join("&"), signal);
    this.#trim();
    this.put(items, true);
  }

  #trim() {
    if (this.items.size < MOST_KEPT) return;
    // Those that were loaded first came first.
    for (const number of [...this.items.keys()].slice(MOST_HELD)) {
      this.#count(this.items.get(number).topic, -1);
      this.items.delete(number);
    }
  }

  /** Takes items that are newer than what is known; of a catalogue too large to hold, others only if they were asked for. */
  put(items, isAsked = false) {
    let structure = false;
    const numbers = [];
    for (const item of items) {
      const number = item.item_number;
      const known = this.items.get(number);
      if (this.#gone.has(number) || (known && known.revision >= item.revision)) continue;
      if (!known && this.isPartial && !isAsked) continue;
      if (!known || known.title !== item.title || known.topic !== item.topic) {
        structure = true;
        if (known) this.#count(known.topic, -1);
        this.#count(item.topic, 1);
        item.words = words(item.title);
      } else {
        item.words = known.words;
      }
      if (known) {
        item.changed = { at: performance.now(), stock: item.quantity - known.quantity, cost: item.cost - known.cost };
      }
      this.items.set(number, item);
      numbers.push(number);
    }
    if (numbers.length > 0) this.#tell({ structure, numbers });
  }

  /** The numbers of the books of `topic` (or all) whose titles match. */
  select(text, topic) {
    const query = words(text);
    const found = [];
    for (const [number, item] of this.items) {
      if ((!topic || item.topic === topic) && matches(item, query)) found.push(number);
    }
    return found.sort((a, b) => a - b);
  }

  async #page(query, signal) {
    const { data, source } = await read(`/v1/items?${query}`, { signal });
    this.source = source;
    return data;
  }

  #hear(event, data, onState) {
    if (event === "compacted") return this.#again(onState);
    if (event === "change") {
      this.put(data.changes.filter((change) => change.type === "put"));
      for (const change of data.changes) if (change.type === "withdrawn") this.#withdraw(change.item_number);
    }
    this.position = data.revision;
    this.#tell({ position: true });
  }

  /** History was lost: everything is loaded anew. */
  #again(onState) {
    this.isLoaded = false;
    this.open(onState).catch(reportError);
  }

  /** A number is never given again, so what is gone stays gone, whatever page may still be on its way. */
  #withdraw(number) {
    this.#gone.add(number);
    const known = this.items.get(number);
    if (!known) return;
    this.items.delete(number);
    this.#count(known.topic, -1);
    this.#tell({ structure: true, numbers: [number] });
  }

  #count(topic, by) {
    const now = (this.topics.get(topic) ?? 0) + by;
    if (now > 0) this.topics.set(topic, now);
    else this.topics.delete(topic);
  }

  #tell(what) {
    this.#listeners.forEach((listener) => listener(what));
  }
}
