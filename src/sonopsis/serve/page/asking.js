// Questions about the recording, answered by the service.

import { clock, element, make } from "./dom.js";
import { send } from "./service.js";

/** Makes the form work; `recording()` gives `{ file, signal }`: what is asked about, and whether another one has come. */
export function offerQuestions(recording, onError) {
  element("ask").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = element("question");
    const question = field.value.trim();
    if (!question) return;
    const button = event.target.querySelector("button");
    const { file, signal } = recording();
    button.disabled = true;
    element("error").textContent = "";
    try {
      const answers = await send("v1/ask", file, { question }, signal);
      signal.throwIfAborted();
      show(question, answers);
      field.value = "";
    } catch (error) {
      if (!signal.aborted) onError(error);
    }
    button.disabled = false;
    if (!signal.aborted) field.focus();
  });
}

/** Take away what was answered. */
export function forgetAnswers() {
  element("answers").replaceChildren();
}

function show(question, answers) {
  const rows = answers.map(({ start, end, text }) => make("dd", {}, `${clock(start)} – ${clock(end)}: ${text}`));
  element("answers").prepend(make("dt", {}, question), ...rows);
}
