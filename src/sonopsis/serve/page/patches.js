// What the model looked at: its spectrogram of one window, pruned patches dimmed, and what a keep rate costs.

import { clock, element, make, scored } from "./dom.js";

export const KEEP_RATES = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3];
const DROPPED = [0.12, 0.6]; // brightness of what the first pruning block dropped, and of the limit for later ones
const SHADE = [24, 52, 120]; // the colour of what was dropped: blue, because quiet patches that are kept are black
const HEAT = [[6, 4, 26], [74, 20, 104], [165, 44, 96], [231, 104, 60], [252, 197, 96], [252, 253, 214]];

/**
 * Shows one window; `fetchWindow(number)` resolves to the service's answer, `onSeek(seconds)` is called on a click, and
 * `onError(error)` where there is no answer for the window that playback has come to.
 */
export class Patches {
  constructor(fetchWindow, onSeek, onError) {
    this.fetchWindow = fetchWindow;
    this.onSeek = onSeek;
    this.onError = onError;
    this.answers = new Map(); // by number of the window
    this.position = 0; // of playback, in seconds
    const keep = element("keep");
    Object.assign(keep, { min: KEEP_RATES.at(-1), max: 1, step: 0.1, value: 0.7 });
    element("rates").append(...KEEP_RATES.map((rate) => make("option", { value: rate })));
    keep.addEventListener("input", () => this.draw());
    element("before").addEventListener("click", () => this.step(-1));
    element("after").addEventListener("click", () => this.step(1));
    element("picture").addEventListener("click", (event) => this.clicked(event));
  }

  /** Forget the recording; nothing is fetched before the next one is opened. */
  clear() {
    this.answers.clear();
    this.answer = null;
    this.starts = null;
  }

  /** Begin with the first window of a new recording. */
  open() {
    this.clear();
    this.starts = [0];
    return this.show(0);
  }

  /** There is a window that starts at a second, too. */
  add(start) {
    if (!this.starts.includes(start)) this.starts.push(start);
    this.enable();
  }

  /** Show the window with a number; each is fetched once, and the one before stays until the answer is there. */
  async show(number) {
    this.number = number;
    this.enable();
    if (!this.answers.has(number)) this.answers.set(number, this.fetchWindow(number));
    const asked = this.answers.get(number);
    try {
      const answer = await asked;
      if (this.number !== number || this.answers.get(number) !== asked) return; // another one is wanted by now
      Object.assign(this, { answer, start: this.starts[number], seconds: answer.seconds });
    } catch (error) {
      if (this.answers.get(number) !== asked) return;
      this.answers.delete(number);
      throw error;
    }
    this.draw();
    this.point();
  }

  enable() {
    element("before").disabled = this.number === 0;
    element("after").disabled = this.number === this.starts.length - 1;
  }

  step(by) {
    this.onSeek(this.starts[this.number + by]);
  }

  /** Move the cursor, and to another window when playback has left this one. */
  follow(seconds) {
    this.position = seconds;
    if (!this.starts) return;
    const number = Math.max(0, this.starts.findLastIndex((start) => start <= seconds));
    if (number !== this.number) this.show(number).catch(this.onError);
    this.point();
  }

  point() {
    if (!this.answer) return;
    const share = (this.position - this.start) / this.seconds;
    element("cursor").hidden = share < 0 || share > 1;
    element("cursor").style.left = `${100 * share}%`;
  }

  clicked(event) {
    const box = element("picture").getBoundingClientRect();
    this.onSeek(this.start + (this.seconds * (event.clientX - box.left)) / box.width);
  }

  draw() {
    const rate = Number(element("keep").value);
    element("kept").textContent = rate.toFixed(1);
    if (!this.answer) return;
    const found = this.answer.rates.find(({ keep_rate }) => Math.abs(keep_rate - rate) < 1e-6);
    const whole = this.answer.rates[0];
    paint(element("spectrogram"), this.answer, found);
    const left = found.tokens.at(-1);
    element("tokens").textContent = found.tokens.join(" → ");
    element("macs").textContent = `${found.macs_g.executed.toPrecision(3)} G (${share(found.macs_g.executed, whole.macs_g.executed)})`;
    element("milliseconds").textContent = `${found.milliseconds.toFixed(1)} ms (${share(found.milliseconds, whole.milliseconds)})`;
    element("best").textContent = scored(found.labels);
    const text = `${left} of ${found.tokens[0]} patches are left`;
    element("spectrogram").setAttribute("aria-label", `Spectrogram; ${text}`);
    element("keep").setAttribute("aria-valuetext", `${rate.toFixed(1)}; ${text}`);
    element("span").textContent = `${clock(this.start)} – ${clock(this.start + this.seconds)}; ${text}.`;
  }
}

const share = (value, whole) => `${Math.round((100 * value) / whole)} %`;

/** The log-Mel as an image, the patches darker that are dropped at this keep rate. */
function paint(canvas, { mel, grid }, { survived, tokens }) {
  const levels = Uint8Array.from(atob(mel.levels), (letter) => letter.charCodeAt(0)); // frame by frame, lowest bin first
  const stages = tokens.length - 1;
  const brightness = Array.from({ length: stages + 1 }, (_, stage) =>
    stage === stages ? 1 : DROPPED[0] + ((DROPPED[1] - DROPPED[0]) * stage) / stages);
  canvas.width = mel.frames;
  canvas.height = mel.bins;
  const context = canvas.getContext("2d");
  const image = context.createImageData(mel.frames, mel.bins);
  for (let frame = 0; frame < mel.frames; frame += 1) {
    const column = Math.min(grid.time - 1, Math.floor(frame / Math.floor(mel.frames / grid.time)));
    for (let bin = 0; bin < mel.bins; bin += 1) {
      const row = Math.min(grid.frequency - 1, Math.floor(bin / Math.floor(mel.bins / grid.frequency)));
      const light = brightness[survived[column * grid.frequency + row]];
      const at = 4 * ((mel.bins - 1 - bin) * mel.frames + frame);
      const colour = heat(levels[frame * mel.bins + bin] / 255);
      const grey = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2];
      for (let i = 0; i < 3; i += 1) image.data[at + i] = light === 1 ? colour[i] : grey * light + SHADE[i] * (1 - light);
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

function heat(level) {
  const place = level * (HEAT.length - 1);
  const below = Math.min(HEAT.length - 2, Math.floor(place));
  return HEAT[below].map((value, i) => value + (place - below) * (HEAT[below + 1][i] - value));
}
