//! Shows what fails, instead of failing in silence. A plain script, loaded first: it must stand when modules do not.

(() => {
  const MOST = 3;
  let shown = 0;

  function show(what) {
    if (shown === MOST) return;
    shown += 1;
    const place = document.getElementById("errors");
    if (!place) {
      document.addEventListener("DOMContentLoaded", () => { shown -= 1; show(what); }, { once: true });
      return;
    }
    const text = document.createElement("p");
    text.textContent = `Something in this page failed: ${what.replace(/\.$/, "")}. What it shows may be out of date.`;
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = "Load the page again";
    again.addEventListener("click", () => location.reload());
    const box = document.createElement("div");
    box.className = "error";
    box.append(text, again);
    place.append(box);
  }

  // Captured, since the failure of a script to load does not bubble.
  addEventListener("error", (event) => {
    const source = event.target?.src ?? event.target?.href;
    show(source ? `${source} could not be loaded` : (event.message || "an unknown error"));
  }, true);
  addEventListener("unhandledrejection", (event) => show(event.reason?.message ?? String(event.reason)));
})();
