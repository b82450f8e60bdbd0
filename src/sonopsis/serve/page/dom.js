// Small things that every part of the page needs: elements, and numbers written for readers.

/** The element with an id. */
export const element = (id) => document.getElementById(id);

/** A new element with properties and children. */
export function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Seconds as `1:02:03.5`. */
export function clock(seconds, digits = 1) {
  const units = 10 ** digits;
  const whole = Math.round(seconds * units);
  const hours = Math.floor(whole / (3600 * units));
  const minutes = Math.floor(whole / (60 * units)) % 60;
  const rest = ((whole % (60 * units)) / units).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Labels with scores as `Dog 0.93, Rain 0.40`. */
export const scored = (labels) => labels.map(({ label, score }) => `${label} ${score.toFixed(2)}`).join(", ");
