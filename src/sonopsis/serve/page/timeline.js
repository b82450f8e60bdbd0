// What was heard, in time: a list of captions and a lane for each label, both of which follow playback.

import { clock, element, make, scored } from "./dom.js";

/** Shows captions and events; `onChoose(seconds)` is called when one is chosen. */
export class Timeline {
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.marked = []; // { start, end, node } of what playback marks
    this.captions = [];
    this.lanes = new Map(); // label -> its track
    element("events").addEventListener("keydown", (event) => this.move(event));
  }

  clear() {
    this.marked = [];
    this.captions = [];
    element("captions").replaceChildren();
    this.clearEvents();
    element("now").textContent = "";
  }

  /** Add one window of the service's answer to the list of captions. */
  addCaption(window) {
    const labels = described(window);
    const text = window.caption ?? labels;
    const button = make("button", { type: "button" }, `${clock(window.start)} – ${clock(window.end)}`);
    button.addEventListener("click", () => this.onChoose(window.start));
    const item = make("li", {}, button, make("span", {}, text, window.caption ? make("small", {}, labels) : ""));
    element("captions").append(item);
    this.captions.push({ start: window.start, end: window.end, text });
    this.marked.push({ start: window.start, end: window.end, node: item });
  }

  /** Draw all events (windows of one label each) on a time axis of `duration` seconds, in place of those before. */
  showEvents(events, duration) {
    this.clearEvents();
    for (const { start, end, labels: [{ label, score }] } of events) this.addEvent({ start, end, label, score }, duration);
    if (!events.length) element("events").append(make("p", {}, "No event was clear enough."));
  }

  clearEvents() {
    this.lanes.clear();
    this.marked = this.marked.filter(({ node }) => node.localName === "li");
    element("events").replaceChildren();
  }

  /** Draw one more event in the lane of its label, on a time axis of `duration` seconds. */
  addEvent({ start, end, label, score }, duration) {
    const name = `${label}, ${clock(start)} to ${clock(end)}, score ${score.toFixed(2)}`;
    const first = this.lanes.size === 0; // one stop of the Tab key; arrows lead to the others
    const button = make("button", { type: "button", title: name, tabIndex: first ? 0 : -1 });
    button.setAttribute("aria-label", name);
    button.style.left = `${(100 * start) / duration}%`;
    button.style.width = `${(100 * (end - start)) / duration}%`;
    button.style.opacity = 0.35 + 0.65 * score;
    button.addEventListener("click", () => this.onChoose(start));
    if (!this.lanes.has(label)) {
      this.lanes.set(label, make("div", { className: "track" }));
      element("events").append(make("div", { className: "lane" }, make("span", {}, label), this.lanes.get(label)));
    }
    this.lanes.get(label).append(button);
    this.marked.push({ start, end, node: button });
  }

  /** Mark what sounds at a second of the recording. */
  follow(seconds) {
    for (const { start, end, node } of this.marked) {
      const now = start <= seconds && seconds < end;
      if (now === node.hasAttribute("aria-current")) continue;
      if (now) node.setAttribute("aria-current", "true");
      else node.removeAttribute("aria-current");
      if (now && node.localName === "li") reveal(node);
    }
    const heard = this.captions.findLast(({ start, end }) => start <= seconds && seconds <= end); // also at the end
    const text = heard?.text ?? "";
    if (element("now").textContent !== text) element("now").textContent = text;
  }

  move(event) {
    const buttons = [...element("events").querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const next = { Home: 0, End: buttons.length - 1 }[event.key] ?? at + step;
    if (at < 0 || !buttons[next]) return;
    event.preventDefault();
    buttons[at].tabIndex = -1;
    buttons[next].tabIndex = 0;
    buttons[next].focus();
  }
}

function described({ status, labels, guess }) {
  if (status === "silence") return "no sound";
  if (labels.length) return scored(labels);
  return guess ? `not clear; perhaps ${scored([guess])}` : "not clear";
}

/** Scroll the list alone, not the page. */
function reveal(item) {
  const list = item.parentElement;
  const above = item.offsetTop - list.offsetTop - list.scrollTop;
  if (above < 0 || above + item.offsetHeight > list.clientHeight) list.scrollTop += above - list.clientHeight / 3;
}
