// Keeps the part of a page fresh that changes by itself. The server draws it; this
// puts it in place of the old one, node by node, so that focus, selection and what
// is folded open stay as they are.

const region = document.getElementById("fresh");
const note = document.getElementById("live");
let source = null;
let again = 0;

function say(text) {
  if (note && note.textContent !== text) note.textContent = text;
}

function same(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
}

function attributes(from, to) {
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !(from.nodeName === "DETAILS" && name === "open")) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
}

function become(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  attributes(from, to);
  children(from, to);
}

function children(from, to) {
  let old = from.firstChild;
  for (const next of [...to.childNodes]) {
    let match = old;
    while (match && !same(match, next)) match = match.nextSibling;
    if (!match) {
      from.insertBefore(next, old);
      continue;
    }
    while (old !== match) {
      const gone = old;
      old = old.nextSibling;
      gone.remove();
    }
    old = match.nextSibling;
    become(match, next);
  }
  while (old) {
    const gone = old;
    old = old.nextSibling;
    gone.remove();
  }
}

function put(html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  children(region, parsed.body);
}

function now() {
  return new Date().toLocaleTimeString([], { hour12: false });
}

function stop() {
  clearTimeout(again);
  if (source) source.close();
  source = null;
}

function start() {
  stop();
  source = new EventSource(location.pathname + location.search);
  source.addEventListener("fresh", (e) => {
    put(e.data);
    say("live, as of " + now());
  });
  source.addEventListener("same", () => say("live, as of " + now()));
  source.addEventListener("trouble", (e) => say(e.data));
  source.addEventListener("gone", () => {
    stop();
    location.reload();
  });
  source.addEventListener("error", () => {
    say("not live: the connection is lost, and is tried again");
    if (source && source.readyState === EventSource.CLOSED) {
      stop();
      again = setTimeout(start, 10000);
    }
  });
}

if (region && "EventSource" in window) {
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", (e) => e.persisted && start());
  if (!document.hidden) start();
}
