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

/** Makes the buttons; `results()` gives `{ captions, events }`, recordings as the service described them. */
export function offer(results, onError) {
  const buttons = FORMATS.map(([label, format, suffix, ofEvents]) => {
    const button = make("button", { type: "button" }, label);
    button.addEventListener("click", async () => {
      const { captions, events } = results();
      const recording = ofEvents ? events : captions;
      try {
        const text = await sendJson("v1/convert", [recording], { format });
        save(text, recording.path.replace(/\.[^.]*$/, "") + suffix);
      } catch (error) {
        onError(error);
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
