// Watches what the pages read of the server's answers. A field that an answer does not have is told to the test by
// `readsUnsent`, with the address of the answer and its place in it: a page that reads it shows nothing, and says nothing.
(() => {
  const watched = new WeakMap();
  const ours = (name) => typeof name === "symbol" || ["then", "toJSON"].includes(name);

  function watch(value, place) {
    if (value === null || typeof value !== "object") return value;
    if (!watched.has(value)) {
      watched.set(value, new Proxy(value, {
        get(target, name) {
          const step = Array.isArray(target) ? "[]" : `.${String(name)}`;
          if (!ours(name) && !(name in target)) window.readsUnsent(place + step);
          // What belongs to arrays and objects themselves is no part of the answer.
          return Object.hasOwn(target, name) ? watch(target[name], place + step) : target[name];
        },
      }));
    }
    return watched.get(value);
  }

  // Ids and keys are no part of an address; the description of the API is read by what it may say, not by what it must.
  const address = (text) => new URL(text, location).pathname.replace(/(task|keys|alerts|deliveries)\/[^/]+/, "$1/{}");
  const json = Response.prototype.json;
  Response.prototype.json = async function () {
    const value = await json.call(this);
    return this.ok && !this.url.endsWith("/openapi.json") ? watch(value, address(this.url)) : value;
  };
  const parse = JSON.parse;
  JSON.parse = (text, ...more) => watch(parse(text, ...more), "/dashboard/events");
})();
