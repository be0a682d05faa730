// Keeps an open page up to date: the server sends its parts again when they have changed,
// and those that differ are put in place of the old ones.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  const state = document.getElementById("live-state");
  const pause = document.getElementById("live-pause");
  if (!main || !window.EventSource) return;

  let paused = false;
  let waiting = null;
  const shown = new Map();

  const say = (text, tone) => {
    if (state.textContent !== text) state.textContent = text;
    state.dataset.tone = tone;
  };

  // A part that somebody reads by pointer or marks with it is left alone until they are done.
  const inUse = (part) => {
    if (part.hasAttribute("data-hold") && part.matches(":hover")) return true;
    // Neither is a question that is being answered, nor what is being typed.
    if (part.querySelector("details.confirm[open]")) return true;
    if (part.contains(document.activeElement) && document.activeElement.matches("input, select")) return true;
    const selection = document.getSelection();
    return !selection.isCollapsed && part.contains(selection.anchorNode);
  };

  // What something is called, so as to know it again in the new part: rows come and go
  // around it, so its place tells nothing.
  const nameOf = (one) =>
    one.tagName + (one.dataset.key || one.id || one.getAttribute("aria-label") || one.getAttribute("href") || one.textContent);

  const keep = (old, next) => {
    const opened = new Set([...old.querySelectorAll("details[open]")].map(nameOf));
    next.querySelectorAll("details").forEach((one) => { one.open = opened.has(nameOf(one)); });
    const scrolled = [...old.querySelectorAll(".scroll, pre")].map((one) => [one.scrollLeft, one.scrollTop]);
    const focused = old.contains(document.activeElement) ? nameOf(document.activeElement) : null;
    old.replaceWith(next);
    next.querySelectorAll(".scroll, pre").forEach((one, at) => {
      if (scrolled[at]) [one.scrollLeft, one.scrollTop] = scrolled[at];
    });
    if (focused !== null) {
      const all = [...next.querySelectorAll("a, button, input, summary, [tabindex]")];
      const same = all.find((one) => nameOf(one) === focused);
      if (same) same.focus({ preventScroll: true });
    }
  };

  const show = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    for (const part of fresh.querySelectorAll("[data-part]")) {
      const name = part.dataset.part;
      const text = part.outerHTML;
      const old = main.querySelector(`[data-part="${name}"]`);
      if (!old || shown.get(name) === text || inUse(old)) continue;
      shown.set(name, text);
      keep(old, document.importNode(part, true));
    }
  };

  const source = new EventSource(location.pathname + location.search);
  source.onopen = () => say("live", "good");
  source.onerror = () => say("reconnecting", "bad");
  source.onmessage = (event) => {
    if (paused) waiting = event.data;
    else show(event.data);
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    pause.setAttribute("aria-pressed", String(paused));
    say(paused ? "paused" : "live", paused ? "idle" : "good");
    if (!paused && waiting) show(waiting);
    waiting = null;
  });
  // Browsers keep few connections to one host; a page that is left must not hold one.
  window.addEventListener("pagehide", () => source.close());
})();
