// The service that this page comes from. Every answer that is an error becomes an Error with the service's own words.

const NO_KEY = "This service asks for a key. It is the one that the service was started with.";
const WRONG_KEY = "The service does not know this key. Look for spaces, and for small and capital letters.";

let secret = "";

/** The key that every request carries from now on. */
export function useKey(key) {
  secret = key;
}

/** The service asks for a key, or for another one. */
export class KeyError extends Error {}

/** Which paths the service has, such as "/v1/ask". */
export async function paths() {
  const answer = await request("openapi.json", {});
  return new Set(Object.keys((await answer.json()).paths));
}

/** Send a recording; resolves to the JSON of the answer. `query` holds values or lists of values. */
export async function send(path, file, query = {}, signal = undefined) {
  const answer = await request(`${path}?${encoded(query)}`, { method: "POST", body: form(file), signal });
  return JSON.parse(await reached(answer.text()));
}

/** Send JSON; resolves to the text of the answer. */
export async function sendJson(path, value, query = {}, signal = undefined) {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify(value);
  const answer = await request(`${path}?${encoded(query)}`, { method: "POST", body, headers, signal });
  return reached(answer.text());
}

/** Send a recording; calls `onEvent(name, data)` for each server-sent event of the answer until it ends. */
export async function stream(path, file, query, onEvent, signal = undefined) {
  const answer = await request(`${path}?${encoded(query)}`, { method: "POST", body: form(file), signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reached(reader.read());
    if (done) break;
    const blocks = (waiting + value.replaceAll("\r\n", "\n")).split("\n\n");
    waiting = blocks.pop();
    blocks.filter((block) => block.trim()).forEach((block) => onEvent(...parsed(block)));
  }
}

/** One server-sent event as its name and its data. */
function parsed(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
  return [name, data.length ? JSON.parse(data.join("\n")) : null];
}

async function request(path, options) {
  const headers = { ...options.headers, ...(secret ? { authorization: `Bearer ${secret}` } : {}) };
  const answer = await reached(fetch(path, { ...options, headers }));
  if (answer.ok) return answer;
  if (answer.status === 401) throw new KeyError(secret ? WRONG_KEY : NO_KEY);
  const text = await reason(answer);
  const wait = answer.headers.get("retry-after");
  throw new Error(wait ? `${text} Try again in ${wait} s.` : text);
}

/** What a promise of the network resolves to; what the browser says of a connection that is lost is put in words. */
async function reached(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service cannot be reached. Is it still running?", { cause: error });
  }
}

/** What an error of the service says, in words. */
async function reason(answer) {
  const text = await reached(answer.text());
  try {
    const { error } = JSON.parse(text);
    return error.message;
  } catch {
    return text || `The service answered ${answer.status} ${answer.statusText}.`;
  }
}

const encoded = (query) =>
  new URLSearchParams(Object.entries(query).flatMap(([name, value]) => [value].flat().map((one) => [name, one])));

function form(file) {
  const body = new FormData();
  body.append("file", file, file.name ?? "window.wav");
  return body;
}
