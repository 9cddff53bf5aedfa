//! Server-Sent Events that say when they are cut, begin again by themselves, and go on where they were.
//!
//! Over `fetch`, since an `EventSource` tells neither a refusal from a cut nor a dead connection from a quiet one.

/** The servers are never silent for longer than a second. */
const SILENCE_MS = 3500;
const FIRST_PAUSE_MS = 150;
const LONGEST_PAUSE_MS = 3000;
/** A page that nobody sees gives its stream back after so long. */
const HIDDEN_MS = 30_000;

/** The messages in `text`, and what is left of it. */
export function messagesOf(text) {
  const parts = text.split("\n\n");
  const rest = parts.pop();
  const messages = parts.map((part) => {
    const message = { event: "message", data: "", id: "" };
    for (const line of part.split("\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) message[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
    }
    return message;
  });
  return { messages, rest };
}

/**
 * Follows `url()`, asked for anew at each beginning. `onMessage(event, data)`; `onState("live" | "cut" | "resting")`;
 * `onGone()` when what was asked for is no longer kept. Returns a function that ends it.
 */
export function follow({ url, onMessage, onState, onGone }) {
  let ended = false;
  let connection = null;
  let failures = 0;
  let wake = () => {};

  const pause = (ms) => new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    wake = () => { clearTimeout(timer); resolve(); };
  });

  async function once() {
    connection = new AbortController();
    let watchdog = 0;
    const heard = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => connection.abort(), SILENCE_MS);
    };
    heard();
    try {
      const response = await fetch(url(), {
        headers: { accept: "text/event-stream" },
        cache: "no-store",
        signal: connection.signal,
      });
      if (response.status === 410) return onGone?.();
      if (!response.ok) throw new Error(`the stream answered ${response.status}`);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done || ended) return;
        heard();
        const { messages, rest } = messagesOf(text + value);
        text = rest;
        for (const { event, data } of messages) onMessage(event, JSON.parse(data));
        if (messages.length > 0) {
          failures = 0;
          onState("live");
        }
      }
    } finally {
      clearTimeout(watchdog);
      connection.abort();
    }
  }

  async function run() {
    while (!ended) {
      if (document.hidden && failures === 0 && resting) {
        onState("resting");
        await pause(3_600_000);
        continue;
      }
      try {
        await once();
      } catch (error) {
        // A cut shows up as one of these two; anything else is a mistake of this page and must be seen.
        if (error.name !== "AbortError" && !(error instanceof TypeError && isNetwork(error))) report(error);
      }
      if (ended) return;
      if (!resting) {
        failures += 1;
        onState("cut");
        await pause(Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS));
      }
    }
  }

  let resting = false;
  let timer = 0;
  const seen = () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(() => { resting = true; failures = 0; connection?.abort(); }, HIDDEN_MS);
    } else {
      resting = false;
      wake();
    }
  };
  const online = () => wake();
  document.addEventListener("visibilitychange", seen);
  addEventListener("online", online);
  run();
  return () => {
    ended = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
    removeEventListener("online", online);
    connection?.abort();
    wake();
  };
}

const isNetwork = (error) => /fetch|network|connection|body|stream/i.test(error.message);

/** Shown by `errors.js`; the stream goes on. */
function report(error) {
  if (!/^the stream answered (429|503)/.test(error.message)) reportError(error);
}
