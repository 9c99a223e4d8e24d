// Numbers, times and spans as people read them.

const whole = new Intl.NumberFormat("en");
const rate = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));
export const perSecond = (value) => `${rate.format(value)}/s`;
export const share = (value) => (value === null || value === undefined ? "–" : `${Math.round(value * 100)} %`);
export const moment = (text) => (text ? new Date(text).toLocaleString() : "–");

// Returns the progress that a handler reported: a share, or the amount done if there is no total, and its note.
export function progress(said) {
  const part = said.fraction === null ? count(said.done) : share(said.fraction);
  return said.note ? `${part}, ${said.note}` : part;
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${rate.format(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${rate.format(seconds / 3600)} h`;
}

export const since = (text) => (text ? span(Math.max(0, (Date.now() - new Date(text)) / 1000)) : "–");
