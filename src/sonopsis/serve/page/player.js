// Waveform and playback (wavesurfer.js), with controls that a keyboard and a screen reader can use.

import Timeline from "./vendor/wavesurfer/timeline.esm.js";
import WaveSurfer from "./vendor/wavesurfer/wavesurfer.esm.js";
import { clock, element } from "./dom.js";

const RATE = 16000; // Hz, what the models hear; decoded samples are cut from for the spectrogram
const LONGEST = 3600; // seconds of a recording that is decoded in the browser as a whole

/** The player of the page; `onTime(seconds)` is called when the position changes. */
export class Player {
  constructor(onTime) {
    this.onTime = onTime;
    this.duration = 0; // of what can be played, in seconds
    this.length = 0; // of the recording
    this.position = 0;
    this.url = null;
    this.sound = element("sound");
    this.wave = WaveSurfer.create({
      container: "#waveform",
      media: this.sound,
      height: 96,
      sampleRate: RATE,
      normalize: true,
      dragToSeek: true,
      cursorWidth: 2,
      plugins: [Timeline.create({ formatTimeCallback: (seconds) => clock(seconds, 0) })],
      ...colours(),
    });
    this.wave.on("timeupdate", (seconds) => this.show(seconds));
    for (const event of ["play", "pause", "ended"]) this.sound.addEventListener(event, () => this.showState());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.wave.setOptions(colours()));
    element("play").addEventListener("click", () => this.toggle());
    element("position").addEventListener("input", (event) => this.seek(Number(event.target.value)));
  }

  /** Load a recording after `close()`; false where the browser cannot play its format. Rejects where `signal` gives it up. */
  async open(file, signal) {
    this.url = URL.createObjectURL(file);
    const length = await playable(this.url);
    signal.throwIfAborted();
    if (length) {
      const flat = length > LONGEST ? [new Float32Array(2)] : undefined;
      const loaded = await this.wave.load(this.url, flat, flat && length).then(() => true, () => false);
      signal.throwIfAborted();
      if (loaded) this.duration = this.wave.getDecodedData().duration;
    }
    this.length = this.duration;
    for (const id of ["play", "position"]) element(id).disabled = !this.duration;
    element("waveform").hidden = !this.duration;
    element("position").max = this.duration;
    this.show(0);
    return this.duration > 0;
  }

  /** Forget the recording. */
  close() {
    this.sound.pause();
    this.sound.removeAttribute("src");
    this.sound.load();
    if (this.url) URL.revokeObjectURL(this.url);
    this.wave.empty();
    this.duration = 0;
    this.length = 0;
    for (const id of ["play", "position"]) element(id).disabled = true;
    element("waveform").hidden = false;
    this.show(0);
    this.showState();
  }

  /** The recording lasts for `seconds`, which the player may not know. */
  lasts(seconds) {
    this.length ||= seconds;
    this.refresh();
  }

  /** The samples as an AudioBuffer, or null where they are not in memory. */
  get decoded() {
    return this.duration > 0 && this.duration <= LONGEST ? this.wave.getDecodedData() : null;
  }

  /** Go to a second of the recording. */
  seek(seconds) {
    if (this.duration) this.wave.setTime(Math.min(seconds, this.duration));
    this.show(seconds);
  }

  /** Hear the recording from a second on, or from where it is. */
  play(seconds = this.position) {
    this.seek(seconds);
    if (this.duration) this.sound.play().catch(() => {}); // it is rejected where another recording is opened at once
  }

  /** Be silent. */
  pause() {
    this.sound.pause();
  }

  /** Tell the position again. */
  refresh() {
    this.show(this.position);
  }

  /** Play or pause. */
  toggle() {
    if (this.sound.paused) this.play();
    else this.pause();
  }

  show(seconds) {
    this.position = seconds;
    const position = element("position");
    position.value = seconds;
    position.setAttribute("aria-valuetext", `${clock(seconds)} of ${clock(this.length)}`);
    element("clock").textContent = `${clock(seconds)} / ${clock(this.length)}`;
    this.onTime(seconds);
  }

  showState() {
    element("play").textContent = this.sound.paused ? "Play" : "Pause";
  }
}

/** Seconds of what the browser can play, 0 for a format that it does not know. */
function playable(url) {
  return new Promise((resolve) => {
    const probe = new Audio();
    probe.preload = "metadata";
    // What a browser has recorded names no length, and its duration is infinite until its end has been looked for.
    probe.ondurationchange = () => {
      if (Number.isFinite(probe.duration)) resolve(probe.duration);
      else probe.currentTime = Number.MAX_SAFE_INTEGER;
    };
    probe.onerror = () => resolve(0);
    probe.src = url;
  });
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const named = (name) => style.getPropertyValue(name).trim();
  return { waveColor: named("--wave"), progressColor: named("--accent"), cursorColor: named("--ink") };
}
