// Numbers, times and spans as people read them.

const whole = new Intl.NumberFormat("en");
const rate = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clocks = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const clocksWithSeconds = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const clocksExact = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
const days = new Intl.DateTimeFormat([], { month: "short", day: "numeric" });
const moments = new Intl.DateTimeFormat([], { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));
export const perSecond = (value) => `${rate.format(value)}/s`;
export const share = (value) => (value === null || value === undefined ? "–" : `${Math.round(value * 100)} %`);
export const clock = (time, seconds = false) => (seconds ? clocksWithSeconds : clocks).format(new Date(time));
export const exact = (time) => clocksExact.format(new Date(time));
export const day = (time) => days.format(new Date(time));
export const moment = (time) => (time ? moments.format(new Date(time)) : "–");
export const several = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

export const inAttempts = (number) => (number === 0 ? "it has not started" : number === 1 ? "in one attempt" : `in ${count(number)} attempts`);

export const bytes = (number) => (number < 1024 ? `${count(number)} bytes` : number < 1_048_576 ? `${rate.format(number / 1024)} KB` : number < 1_073_741_824 ? `${rate.format(number / 1_048_576)} MB` : `${rate.format(number / 1_073_741_824)} GB`);

// Returns the time, with the day only if it is not today.
export const lately = (time) => (time ? `${new Date(time).toDateString() === new Date().toDateString() ? "" : `${day(time)}, `}${clock(time, true)}` : "–");

// Returns the progress that a handler reported: a share, or the amount done if there is no total, and its note.
export function progress(said) {
  const part = said.fraction === null ? count(said.done) : share(said.fraction);
  return said.note ? `${part}, ${said.note}` : part;
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 1) return `${seconds < 0.01 ? rate.format(seconds * 1000) : Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds < 10 ? rate.format(seconds) : Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${rate.format(seconds / 3600)} h`;
  return `${rate.format(seconds / 86_400)} days`;
}

export const since = (time) => (time ? span(Math.max(0, (Date.now() - new Date(time)) / 1000)) : "–");
