// Tokens of an answer with their probabilities, from the two forms that the endpoints have for them.

/** {bytes, logprob, top: [{bytes, logprob}]} of each token in a chunk of a chat. */
function ofChat(logprobs) {
  return (logprobs?.content ?? []).map((token) => ({
    ...one(token),
    top: (token.top_logprobs ?? []).map(one),
  }));
}

const one = ({ token, bytes, logprob }) => ({ bytes: bytes ? Uint8Array.from(bytes) : bytesOf(token), logprob });

/** The same in a chunk of a completion, where a token that is no whole text reads as `bytes:\xf0\x9f`. */
function ofCompletion(logprobs) {
  return (logprobs?.tokens ?? []).map((token, i) => ({
    bytes: bytesOf(token),
    logprob: logprobs.token_logprobs[i],
    top: Object.entries(logprobs.top_logprobs?.[i] ?? {}).map(([text, logprob]) => ({ bytes: bytesOf(text), logprob })),
  }));
}

function bytesOf(text) {
  if (!/^bytes:(\\x[0-9a-f]{2})+$/.test(text)) return new TextEncoder().encode(text);
  return Uint8Array.from(text.match(/[0-9a-f]{2}(?=\\|$)/g), (hex) => parseInt(hex, 16));
}

export function tokensOf(choice) {
  return "delta" in choice ? ofChat(choice.logprobs) : ofCompletion(choice.logprobs);
}

/** The text of a token on its own; bytes that are no whole character as hexadecimal numbers. */
export function textOf({ bytes }) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
  }
}

/** The texts of tokens one after another; a character of several tokens appears with the last of them. */
export function textsInOrder(tokens) {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return tokens.map(({ bytes }) => decoder.decode(bytes, { stream: true }));
}
