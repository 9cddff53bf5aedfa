//! Puts the page together: which view is shown, which stream is open, and what its state is.

import { Basket } from "./basket.js";
import { Book } from "./book.js";
import { Books } from "./books.js";
import { Catalogue } from "./catalogue.js";
import { Cluster } from "./cluster.js";
import { at, mark, say } from "./dom.js";
import { Orders } from "./orders.js";

const VIEWS = ["shop", "basket", "orders", "cluster"];
const TITLES = { shop: "The book shop", basket: "Basket · The book shop", orders: "Orders · The book shop", cluster: "Cluster · The book shop" };
const STATES = { connecting: "Connecting", live: "Live", cut: "Cut off: reconnecting", resting: "Resting" };

/** Where the stream stands, in a word. A cut that heals at once is not worth a word. */
const CUT_AFTER_MS = 400;
let saying = 0;
function showState(state) {
  clearTimeout(saying);
  const show = () => {
    say(at("stream"), STATES[state]);
    mark(at("stream"), "data-state", state);
    mark(document.body, "data-stream", state);
  };
  if (state === "cut") saying = setTimeout(show, CUT_AFTER_MS);
  else show();
}

const catalogue = new Catalogue();
const orders = new Orders(catalogue);
const basket = new Basket(catalogue, () => {});
const book = new Book(catalogue, basket);
const books = new Books(catalogue, basket, (number) => book.show(number));
const cluster = new Cluster(at("cluster-body"));

/** Asks until it works: the page may be open before the store is. */
async function openShop() {
  for (let pause = 250; view !== "cluster"; pause = Math.min(pause * 2, 3000)) {
    try {
      await catalogue.open(showState);
      await orders.open();
      return;
    } catch (error) {
      showState("cut");
      say(at("found"), `The catalogue cannot be read: ${error.message}. Trying again.`);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

let view = null;

function route() {
  const asked = location.hash.slice(1);
  // Another anchor, as that of the link to the content, leaves the view as it is.
  if (asked && !VIEWS.includes(asked) && view) return;
  const next = VIEWS.includes(asked) ? asked : "shop";
  const wasCluster = view === "cluster";
  const isFirst = view === null;
  view = next;
  mark(document.body, "data-view", view);
  document.title = TITLES[view];
  for (const link of document.querySelectorAll("[data-to]")) {
    mark(link, "aria-current", link.dataset.to === view ? "page" : false);
  }
  const isCluster = view === "cluster";
  at("cluster-view").hidden = !isCluster;
  at("shop-view").hidden = isCluster;
  if (isFirst || wasCluster !== isCluster) {
    showState("connecting");
    // One stream at a time: a browser has six connections for all of its windows.
    if (isCluster) {
      catalogue.close();
      orders.close();
      cluster.open(showState);
    } else {
      cluster.close();
      openShop().catch(reportError);
    }
  }
  if (!isCluster) books.refresh();
  if (!isFirst) {
    scrollTo({ top: 0 });
    if (view === "basket" || view === "orders") at(`${view}-title`).focus({ preventScroll: true });
  }
}

addEventListener("hashchange", route);
addEventListener("keydown", (event) => {
  const isTyping = event.target instanceof HTMLInputElement;
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey || view === "cluster") return;
  event.preventDefault();
  location.hash = "shop";
  at("search").focus();
});
route();
