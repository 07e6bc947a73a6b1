// Following one batch: server-sent events, and what to do when they break off.
//
// EventSource reconnects by itself and names the last event that it had. It gives up where the
// server answers with an error: then we look what became of the batch.

import { EVENTS } from "./enums.js";
import { back, get, Offline, Problem, send, url } from "./http.js";

const NOTICE_MS = 1000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

// The request that asks, or asks again: the same key gives the same batch.
export function ask({ body, key }, options) {
  const headers = { Prefer: "respond-async", "Idempotency-Key": key };
  return send("POST", "/ask/multi-candidate", body, { ...options, headers });
}

// Call `on.contexts(data)`, `on.piece(data)`, `on.restart()`, `on.state(data)`, `on.failed(problem)`
// as they come, and `on.reconnecting(true or false)`. `asked` is {body, key} where this browser
// asked: a batch that a restart lost is then asked for again. Returns a function that ends it.
export function watch(batchId, on, asked) {
  const path = `/batches/${encodeURIComponent(batchId)}`;
  const stopping = new AbortController();
  let source = null;
  let notice = 0;
  let wait = FIRST_WAIT_MS;
  let opened = 0;

  function stop() {
    stopping.abort();
    source?.close();
    clearTimeout(notice);
  }

  function reconnecting(yes) {
    clearTimeout(notice);
    notice = 0;
    on.reconnecting(yes);
  }

  function open() {
    if (stopping.signal.aborted) return;
    let fresh = opened > 0; // a new stream tells all from the start
    opened += 1;
    source = new EventSource(url(`${path}/events`));
    source.addEventListener("open", () => reconnecting(false));
    for (const kind of EVENTS) {
      if (kind === "end") continue;
      source.addEventListener(kind, (event) => {
        wait = FIRST_WAIT_MS;
        if (fresh && kind !== "state") on.restart();
        fresh = false;
        on[kind](JSON.parse(event.data));
      });
    }
    source.addEventListener("end", stop);
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) recover();
      else notice ||= setTimeout(() => on.reconnecting(true), NOTICE_MS);
    });
  }

  async function recover() {
    notice ||= setTimeout(() => on.reconnecting(true), NOTICE_MS);
    while (!stopping.signal.aborted) {
      try {
        if (await found()) open();
        return;
      } catch (error) {
        if (error.name === "AbortError") return;
        if (error instanceof Offline) await back();
        else if (error instanceof Problem && error.status < 500) return failed(error);
        await pause();
      }
    }
  }

  // Whether there is something left to follow.
  async function found() {
    const { signal } = stopping;
    try {
      const state = await get(path, { signal });
      on.state(state);
      if (state.outcome) {
        reconnecting(false);
        stop();
        return false;
      }
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 404 || !asked) throw error;
      await ask(asked, { signal });
    }
    if (opened > 1) await pause(); // it broke off more than once
    return true;
  }

  function failed(error) {
    reconnecting(false);
    stop();
    on.failed(error);
  }

  async function pause() {
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(2 * wait, LONGEST_WAIT_MS);
  }

  open();
  return stop;
}
