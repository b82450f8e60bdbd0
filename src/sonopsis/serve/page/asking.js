// Questions about the recording, answered by the service.

import { clock, element, make } from "./dom.js";
import { send } from "./service.js";

/** Makes the form work; `recording()` gives the file that is asked about. */
export function offerQuestions(recording, onError) {
  element("ask").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = element("question");
    const question = field.value.trim();
    if (!question) return;
    const button = event.target.querySelector("button");
    button.disabled = true;
    try {
      show(question, await send("v1/ask", recording(), { question }));
      field.value = "";
    } catch (error) {
      onError(error);
    }
    button.disabled = false;
    field.focus();
  });
}

function show(question, answers) {
  const rows = answers.map(({ start, end, text }) => make("dd", {}, `${clock(start)} – ${clock(end)}: ${text}`));
  element("answers").prepend(make("dt", {}, question), ...rows);
}
