// The page: a recording comes in, and is played, described, looked at and asked about.

import { offerQuestions } from "./asking.js";
import { clock, element } from "./dom.js";
import { KEEP_RATES, Patches } from "./patches.js";
import { Player } from "./player.js";
import { canRecord, record } from "./recorder.js";
import { offer } from "./saving.js";
import { KeyError, paths, send, sendJson, useKey } from "./service.js";
import { Timeline } from "./timeline.js";
import { cut } from "./wav.js";

const SHORT = { window: 2, hop: 1 }; // seconds: windows that events are joined from
const LONGEST = 30; // seconds that any model hears at once
const EVERY = 250; // milliseconds between two looks at a recording that is being made

const state = { file: null, captions: null, events: null, recording: null, asked: null };
const timeline = new Timeline((seconds) => player.play(seconds));
const patches = new Patches(fetchWindow, (seconds) => player.seek(seconds));
const player = new Player((seconds) => {
  timeline.follow(seconds);
  patches.follow(seconds);
});

function say(text) {
  element("status").textContent = text;
}

function complain(error) {
  if (error.name === "AbortError") return;
  element("error").textContent = error.message;
  element("key").hidden = element("key").hidden && !(error instanceof KeyError);
  say("");
}

/** Everything about a new recording; what is still on the way of the one before is given up. */
async function open(file) {
  state.asked?.abort();
  state.asked = new AbortController();
  const { signal } = state.asked;
  Object.assign(state, { file, captions: null, events: null });
  for (const id of ["heard", "looking", "asking"]) element(id).hidden = true;
  element("error").textContent = "";
  timeline.clear();
  element("name").textContent = file.name;
  element("listen").hidden = false;
  say("Reading …");
  try {
    const playable = await player.open(file);
    await patches.open(); // before the captions, so that nothing else computes while its time is measured
    signal.throwIfAborted();
    element("looking").hidden = false;
    await describe(file, signal);
    element("asking").hidden = !state.asks;
    say(`Done: ${clock(state.captions.duration)} of sound.${playable ? "" : " This browser cannot play this format."}`);
  } catch (error) {
    if (!signal.aborted) complain(error);
  }
}

/** Captions of the model's own windows, and events of short ones. */
async function describe(file, signal) {
  say("Listening …");
  [state.captions] = await send("v1/caption", file, { format: "json" }, signal);
  for (const window of state.captions.windows) {
    timeline.addCaption(window);
    patches.add(window.start);
  }
  player.refresh();
  element("heard").hidden = false;
  say("Looking for events …");
  const short = await send("v1/tag", file, { format: "json", ...SHORT }, signal);
  [state.events] = JSON.parse(await sendJson("v1/convert", short, { format: "json", events: true }));
  signal.throwIfAborted();
  timeline.showEvents(state.events.windows, state.captions.duration);
  player.refresh();
}

/** What the service says of a window: of its samples where the browser has them, else of the recording. */
function fetchWindow(number) {
  const { decoded } = player;
  const query = { keep_rate: KEEP_RATES };
  if (!decoded) return send("v1/patches", state.file, { ...query, number });
  return send("v1/patches", cut(decoded, patches.starts[number], LONGEST), query);
}

async function toggleRecording() {
  const button = element("record");
  if (!state.recording) {
    try {
      state.recording = await record();
    } catch (error) {
      complain(new Error(`The microphone cannot be used: ${error.message}`));
      return;
    }
    element("error").textContent = "";
    button.textContent = "Stop";
    state.ticking = setInterval(() => say(`Recording, ${clock(state.recording.seconds())}`), EVERY);
    return;
  }
  clearInterval(state.ticking);
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
    if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
  });
}

/** The space bar plays and pauses wherever it has no other use. */
function listenToSpace(event) {
  if (event.key !== " " || event.target.closest("button, input, a")) return;
  event.preventDefault();
  player.toggle();
}

async function lookAround() {
  try {
    state.asks = (await paths()).has("/v1/ask");
  } catch (error) {
    complain(error);
  }
}

element("file").addEventListener("change", (event) => event.target.files.length && open(event.target.files[0]));
element("record").addEventListener("click", toggleRecording);
element("record").hidden = !canRecord();
element("key").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(element("secret").value);
  element("error").textContent = "";
  lookAround();
  if (state.file) open(state.file);
});
document.addEventListener("keydown", listenToSpace);
listenToDrops();
offer(() => state, complain);
offerQuestions(() => state.file, complain);
lookAround();
