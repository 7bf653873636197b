// Requests to the server: the models it has, and answers that arrive in pieces.

import { messages } from "./event_stream.js";

const KEY = "tinygrad-llm.key"; // in sessionStorage: it ends with the tab

/** An answer that is no answer. `code` is the server's, or "unreachable", "broken_off" or "unauthorized". */
class ServerError extends Error {
  constructor(message, { code = "", status = 0, retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { code, status, retryAfter });
  }
}

let key = "";
try {
  key = sessionStorage.getItem(KEY) ?? "";
} catch {
  // a browser that keeps nothing: the key lives as long as the page
}

export function setKey(text) {
  key = text.trim();
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    // as above
  }
}

/** Take the key out of an address that ends with #key=KEY, where it would be seen and copied. */
export function takeKeyFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given === null) return;
  setKey(given);
  history.replaceState(null, "", location.pathname + location.search);
}

async function request(path, options = {}) {
  let response;
  try {
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer. It has ended, or this machine cannot reach it.", {
      code: "unreachable",
    });
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const { error } = await response.json().catch(() => ({}));
  const code = response.status === 401 ? "unauthorized" : (error?.code ?? "");
  return new ServerError(error?.message ?? `The server answered with status ${response.status}.`, {
    code: String(code),
    status: response.status,
    retryAfter: Number(response.headers.get("Retry-After")) || 0,
  });
}

/** The model that the server has: {id, context_length, has_chat, takes_system}. */
export async function theModel() {
  const { data } = await (await request("v1/models")).json();
  return data[0];
}

/** The chunks of a streamed answer. Raises ServerError; AbortError after `signal` aborts. */
export async function* chunks(path, body, signal) {
  const response = await request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  try {
    for await (const message of messages(response)) {
      if (message === "[DONE]") return;
      const chunk = JSON.parse(message);
      if (chunk.error) throw new ServerError(chunk.error.message, { code: chunk.error.code ?? "" });
      yield chunk;
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof ServerError) throw error;
  }
  throw new ServerError("the connection ended before the answer did", { code: "broken_off" });
}
