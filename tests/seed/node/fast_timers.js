// Fake timers: what was to happen every 30 seconds happens every 50 milliseconds.
const { setInterval } = globalThis;

globalThis.setInterval = (work, milliseconds) => setInterval(work, milliseconds / 600);
