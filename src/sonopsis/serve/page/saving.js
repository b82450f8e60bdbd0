// Downloads: what the page shows, written by the service in the formats of other programs.

import { element, make } from "./dom.js";
import { sendJson } from "./service.js";

// Name of the button, format of the service, what the file's name ends in, and whether it holds events or captions.
const FORMATS = [
  ["SRT", "srt", ".srt", false],
  ["WebVTT", "vtt", ".vtt", false],
  ["Audacity labels", "audacity", ".labels.txt", true],
  ["Raven table", "raven", ".selections.txt", true],
  ["JSON", "json", ".json", false],
];

/** Makes the buttons; `results()` gives `{ captions, events, signal }`: what is saved, and whether another recording has come. */
export function offer(results, onError) {
  const buttons = FORMATS.map(([label, format, suffix, ofEvents]) => {
    const button = make("button", { type: "button" }, label);
    button.addEventListener("click", async () => {
      const { captions, events, signal } = results();
      const recording = ofEvents ? events : captions;
      try {
        const text = await sendJson("v1/convert", [recording], { format });
        save(text, recording.path.replace(/\.[^.]*$/, "") + suffix);
      } catch (error) {
        if (!signal.aborted) onError(error);
      }
    });
    return button;
  });
  element("saving").replaceChildren(make("span", {}, "Download"), ...buttons);
}

function save(text, name) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000); // the browser reads it after the click
}
