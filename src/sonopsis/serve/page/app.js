// The page: a recording comes in, and is played, described, looked at and asked about.

import { forgetAnswers, offerQuestions } from "./asking.js";
import { clock, element } from "./dom.js";
import { KEEP_RATES, Patches } from "./patches.js";
import { Player } from "./player.js";
import { canRecord, record } from "./recorder.js";
import { offer } from "./saving.js";
import { KeyError, paths, send, sendJson, stream, useKey } from "./service.js";
import { Timeline } from "./timeline.js";
import { cut } from "./wav.js";

const SHORT = { window: 2, hop: 1 }; // seconds: windows that events are joined from, of a model without a time axis
const LONGEST = 30; // seconds that any model hears at once
const EVERY = 250; // milliseconds between two looks at a recording that is being made
const ONE_OF_MANY = "Only the first of the files is opened: the page describes one recording at a time.";

const state = { file: null, captions: null, events: null, recording: null, asked: null, able: null, notes: new Set() };
const timeline = new Timeline((seconds) => player.play(seconds));
const patches = new Patches(fetchWindow, (seconds) => player.seek(seconds), complain);
const player = new Player((seconds) => {
  timeline.follow(seconds);
  patches.follow(seconds);
});

function say(text) {
  element("status").textContent = text;
}

/** Tell what a listener should know of a recording, each thing once. */
function note(text) {
  state.notes.add(text);
  element("notes").textContent = [...state.notes].join("\n");
}

function complain(error) {
  if (error.name === "AbortError") return;
  element("error").textContent = error.message;
  if (error instanceof KeyError) {
    element("key").hidden = false;
    element("secret").focus();
  }
}

/** Everything about a new recording; what is still on the way of the one before is given up. */
async function open(file, ...others) {
  state.asked?.abort();
  state.asked = new AbortController();
  const { signal } = state.asked;
  Object.assign(state, { file, captions: null, events: null });
  for (const id of ["heard", "looking", "asking", "saving"]) element(id).hidden = true;
  for (const id of ["error", "notes"]) element(id).textContent = "";
  state.notes.clear();
  element("progress").hidden = true;
  player.close();
  timeline.clear();
  patches.clear();
  forgetAnswers();
  element("name").textContent = file.name;
  element("listen").hidden = false;
  say("Reading …");
  try {
    if (others.length) note(ONE_OF_MANY);
    await look(file);
    signal.throwIfAborted();
    const playable = await player.open(file, signal);
    await patches.open(); // before the captions, so that nothing else computes while its time is measured
    signal.throwIfAborted();
    element("looking").hidden = false;
    const able = await abilities();
    await describe(file, able.has("/v1/caption"), signal);
    player.lasts(state.captions.duration);
    element("saving").hidden = false;
    element("asking").hidden = !able.has("/v1/ask");
    say(`Done: ${clock(state.captions.duration)} of sound.${playable ? "" : " This browser cannot play this format."}`);
  } catch (error) {
    if (signal.aborted) return;
    element("listen").hidden = !player.duration && element("heard").hidden;
    element("progress").hidden = true;
    say("");
    complain(error);
  }
}

/** Reject for what cannot be sent: an empty file, a folder, a file that is gone. */
async function look(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch (cause) {
    throw new Error(`${file.name} cannot be read. Is it a folder, or was it moved? Choose a file.`, { cause });
  }
  if (!file.size) throw new Error(`${file.name} is empty: it holds no sound. Choose another file.`);
}

/** Sentences (labels, where the model only tags) of the model's own windows, and events, as they come. */
async function describe(file, captions, signal) {
  say("Listening …");
  const events = [];
  const onWindow = (window) => {
    timeline.addCaption(window);
    patches.add(window.start);
    element("heard").hidden = false;
    player.refresh();
  };
  const onEvent = (event) => {
    events.push(event);
    if (player.duration) timeline.addEvent(event, player.duration);
  };
  const heard = await hear(file, { captions }, { onWindow, onEvent }, signal);
  const found = heard.times === "axis" ? { ...heard, windows: events.map(windowOf) } : await shortEvents(file, heard.duration, signal);
  Object.assign(state, { captions: heard, events: found });
  timeline.showEvents(found.windows, heard.duration);
  player.refresh();
}

/** An event as a window of one label, as results have it. */
function windowOf({ start, end, ...label }) {
  return { start, end, labels: [label] };
}

/** The events of short windows, as they come, for models that do not know when in a window a label sounds. */
async function shortEvents(file, duration, signal) {
  say("Looking for events …");
  timeline.clearEvents();
  const short = await hear(file, SHORT, { onEvent: (event) => timeline.addEvent(event, duration) }, signal);
  const [events] = JSON.parse(await sendJson("v1/convert", [short], { format: "json", events: true }, signal));
  signal.throwIfAborted();
  return events;
}

/** A recording as the service describes it, `{ path, duration, ..., windows }`; calls back for each part as it comes. */
async function hear(file, query, { onWindow = () => {}, onEvent = () => {} }, signal) {
  const windows = [];
  let head = null;
  const take = {
    window(window) {
      windows.push(window);
      progress(window.end);
      onWindow(window);
    },
    event: onEvent,
    warning: ({ message }) => note(message),
    end: (end) => { head = end; },
    error: ({ error }) => { throw new Error(error.message); },
  };
  progress(0);
  await stream("v1/events", file, query, (name, data) => {
    signal.throwIfAborted();
    take[name]?.(data);
  }, signal);
  if (!head) throw new Error("The service ended before the recording did. Is it still running?");
  element("progress").hidden = true;
  return { ...head, windows };
}

/** Show how much has been heard, where the length is known, or that something is. */
function progress(seconds) {
  const bar = element("progress");
  if (player.duration) Object.assign(bar, { max: player.duration, value: seconds });
  else bar.removeAttribute("value");
  bar.hidden = false;
}

/** What the service says of a window: of its samples where the browser has them, else of the recording. */
function fetchWindow(number) {
  const { decoded } = player;
  const query = { keep_rate: KEEP_RATES };
  const { signal } = state.asked;
  if (!decoded) return send("v1/patches", state.file, { ...query, number }, signal);
  return send("v1/patches", cut(decoded, patches.starts[number], LONGEST), query, signal);
}

async function toggleRecording() {
  const button = element("record");
  if (!state.recording) {
    player.pause(); // what it plays is not what is to be recorded
    button.disabled = true;
    try {
      state.recording = await record();
    } catch (error) {
      complain(new Error(`The microphone cannot be used: ${error.message}`));
      return;
    } finally {
      button.disabled = false;
    }
    element("error").textContent = "";
    button.textContent = "Stop";
    state.ticking = setInterval(() => { element("taken").textContent = clock(state.recording.seconds()); }, EVERY);
    return;
  }
  clearInterval(state.ticking);
  element("taken").textContent = "";
  button.textContent = "Record";
  const made = state.recording;
  state.recording = null;
  await open(await made.stop());
}

function listenToDrops() {
  const dragging = (on) => document.body.classList.toggle("dragging", on);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    dragging(true);
  });
  document.addEventListener("dragleave", (event) => dragging(event.relatedTarget !== null));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    dragging(false);
    if (event.dataTransfer.files.length) open(...event.dataTransfer.files);
  });
}

/** The space bar plays and pauses wherever it has no other use. */
function listenToSpace(event) {
  if (event.key !== " " || !player.duration || event.target.closest("button, input, a")) return;
  event.preventDefault();
  player.toggle();
}

/** Which paths the service has: what its model can do. Asked once, and again where there was no answer. */
function abilities() {
  state.able ??= lookAround();
  return state.able;
}

async function lookAround() {
  try {
    const found = await paths();
    element("lacking").hidden = found.has("/v1/caption");
    return found;
  } catch (error) {
    state.able = null;
    throw error;
  }
}

element("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  target.value = ""; // so that the same file can be chosen again
  if (file) open(file);
});
element("record").addEventListener("click", toggleRecording);
element("record").hidden = !canRecord();
element("key").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(element("secret").value);
  element("key").hidden = true;
  element("error").textContent = "";
  state.able = null;
  if (state.file) open(state.file);
  else abilities().catch(complain);
});
document.addEventListener("keydown", listenToSpace);
listenToDrops();
offer(() => ({ ...state, signal: state.asked.signal }), complain);
offerQuestions(() => ({ file: state.file, signal: state.asked.signal }), complain);
abilities().catch(complain);
