//! Questions to the front end, and where each answer came from.

/** How long an answer may take: the servers have a deadline of their own, which is shorter. */
const PATIENCE_MS = 15_000;
const KEY_TRIES = 4;

/** An answer: `{status, data, source, revision}`. `source` says where it came from, in a few words. */
export async function ask(path, { method = "GET", body, key, signal } = {}) {
  const headers = { accept: "application/json" };
  if (body) headers["content-type"] = "application/json";
  if (key) headers["idempotency-key"] = key;
  const late = AbortSignal.timeout(PATIENCE_MS);
  const response = await fetch(path, {
    method,
    headers,
    body: body && JSON.stringify(body),
    cache: "no-store",
    signal: signal ? AbortSignal.any([signal, late]) : late,
  });
  const text = await response.text();
  const data = text ? JSON.parse(text) : null;
  return { status: response.status, data, ...origin(response.headers, method) };
}

/** As `ask`, for what must be there: anything but 200 is thrown, in the server's words. */
export async function read(path, options) {
  const answer = await ask(path, options);
  if (answer.status !== 200) throw new Error(answer.data?.detail ?? `${path} answered ${answer.status}`);
  return answer;
}

/**
 * A write that takes effect at most once: it is sent again under its key while its outcome is not known. `told` is
 * called before each further try. `isDecided`: the answer is the outcome; else `isUnknown` says whether a try may have
 * taken effect.
 */
export async function decide(path, { body, key, told }) {
  let last;
  let isUnknown = false;
  for (let tries = 0; tries < KEY_TRIES; tries += 1) {
    if (tries > 0) {
      told(tries);
      await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** Math.min(tries, 4)));
    }
    try {
      last = await ask(path, { method: "POST", body, key });
      if (last.status < 500 && last.status !== 429) return { ...last, isDecided: true };
      isUnknown ||= last.data?.type === "/problems/outcome-unknown";
    } catch (error) {
      last = { status: 0, data: { detail: `no answer (${error.message})` } };
      isUnknown = true;
    }
  }
  return { ...last, isDecided: false, isUnknown };
}

function origin(headers, method) {
  const revision = headers.get("x-revision");
  const server = headers.get("x-served-by");
  const status = headers.get("cache-status") ?? "";
  if (!revision) return { revision: null, source: "" };
  const at = Number(revision).toLocaleString("en");
  let source;
  if (method !== "GET") source = `committed by ${server} at revision ${at}`;
  else if (status.endsWith("; hit")) source = `from the cache, as of revision ${at}`;
  else source = `read from ${server} at revision ${at}`;
  return { revision: Number(revision), source, isHit: status.endsWith("; hit") };
}

/** A new id for a command. Also where the page is not served over a secure connection. */
export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0"));
  return hex.join("").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
