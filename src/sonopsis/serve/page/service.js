// The service that this page comes from. Every answer that is an error becomes an Error with the service's own words.

let secret = "";

/** The key that every request carries from now on. */
export function useKey(key) {
  secret = key;
}

/** The service does not know this key. */
export class KeyError extends Error {}

/** Which paths the service has, such as "/v1/ask". */
export async function paths() {
  const answer = await request("openapi.json", {});
  return new Set(Object.keys((await answer.json()).paths));
}

/** Send a recording; resolves to the JSON of the answer. `query` holds values or lists of values. */
export async function send(path, file, query = {}, signal = undefined) {
  const answer = await request(`${path}?${encoded(query)}`, { method: "POST", body: form(file), signal });
  return answer.json();
}

/** Send JSON; resolves to the text of the answer. */
export async function sendJson(path, value, query = {}, signal = undefined) {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify(value);
  const answer = await request(`${path}?${encoded(query)}`, { method: "POST", body, headers, signal });
  return answer.text();
}

/** Send a recording; calls `onEvent(name, data)` for each server-sent event of the answer until it ends. */
export async function stream(path, file, query, onEvent, signal = undefined) {
  const answer = await request(`${path}?${encoded(query)}`, { method: "POST", body: form(file), signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
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
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service cannot be reached. Is it still running?", { cause: error });
  }
  if (answer.ok) return answer;
  const text = await reason(answer);
  if (answer.status === 401 || answer.status === 403) throw new KeyError(text);
  const wait = answer.headers.get("retry-after");
  throw new Error(wait ? `${text} Try again in ${wait} s.` : text);
}

/** What an error of the service says, in words. */
async function reason(answer) {
  const text = await answer.text();
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
