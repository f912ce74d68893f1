// Asks the service, with the token that the user gave; it is in this tab's storage and in headers, never in a url.

const KEY = "eventmill-token";
const HEARTBEAT_MILLISECONDS = 40_000; // the service says something every 15 s; silence means a dead connection
const LONGEST_WAIT = 30_000;

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** The service refused: `status` and its one line. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function fetched(path, { signal, headers = {} } = {}) {
  const known = token.get();
  const response = await fetch(path, {
    signal, cache: "no-store", headers: known ? { ...headers, Authorization: `Bearer ${known}` } : headers,
  });
  if (response.ok) return response;
  let detail = `the service answered ${response.status}`;
  try {
    detail = (await response.json()).detail ?? detail;
  } catch {
    // not from the service itself, but from a proxy on the way
  }
  throw new Refused(response.status, detail);
}

export async function ask(path, options) {
  return (await fetched(path, options)).json();
}

/** Waits; ends early when `signal` does. Leaves nothing behind: a page may be open for weeks. */
export const pause = (milliseconds, signal) => new Promise((resolve) => {
  const end = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
    resolve();
  };
  const timer = setTimeout(end, milliseconds);
  signal?.addEventListener("abort", end);
});

/** Follows a stream of server-sent events, and comes back to it, until `signal` ends it or the service refuses.
 *  The service ends each stream after a minute: only one that broke, or cannot be had again, is told as an outage. */
export async function follow(path, { signal, tell, connection }) {
  let wait = 1000;
  const stream = { last: null, retry: 2000 };
  while (!signal.aborted) {
    let broke = false;
    try {
      await listen(path, { signal, stream, tell: (name, data) => { wait = stream.retry; tell(name, data); },
                           open: () => connection(true) });
    } catch (error) {
      if (error instanceof Refused && error.status < 500) throw error;
      broke = true;
    }
    if (signal.aborted) return;
    if (broke) connection(false);
    await pause(wait * (0.75 + Math.random() / 2), signal); // not all pages at once after a restart
    wait = broke ? Math.min(2 * wait, LONGEST_WAIT) : stream.retry;
  }
}

async function listen(path, { signal, stream, tell, open }) {
  const silent = new AbortController();
  const either = AbortSignal.any([signal, silent.signal]);
  let timer = setTimeout(() => silent.abort(), HEARTBEAT_MILLISECONDS);
  try {
    const headers = { Accept: "text/event-stream", ...(stream.last ? { "Last-Event-ID": stream.last } : {}) };
    const response = await fetched(path, { signal: either, headers });
    open();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), HEARTBEAT_MILLISECONDS);
      const events = (rest + value).split(/\r?\n\r?\n/);
      rest = events.pop();
      for (const each of events) dispatch(each, stream, tell);
    }
  } finally {
    clearTimeout(timer);
  }
}

function dispatch(text, stream, tell) {
  let name = "message";
  const data = [];
  for (const line of text.split(/\r?\n/)) {
    const [, field, value] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
    if (field === "event") name = value;
    else if (field === "data") data.push(value ?? "");
    else if (field === "id") stream.last = value;
    else if (field === "retry" && /^\d+$/.test(value)) stream.retry = Number(value);
  }
  if (data.length) tell(name, JSON.parse(data.join("\n")));
}
