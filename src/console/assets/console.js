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

  // What gets the focus back: the same place in the new part.
  const placeOf = (element, part) => {
    const all = [...part.querySelectorAll("a, button, input, summary, [tabindex]")];
    return all.indexOf(element);
  };

  const keep = (old, next) => {
    const opened = [...old.querySelectorAll("details")].map((one) => one.open);
    next.querySelectorAll("details").forEach((one, at) => { one.open = Boolean(opened[at]); });
    const scrolled = [...old.querySelectorAll(".scroll, pre")].map((one) => [one.scrollLeft, one.scrollTop]);
    const place = old.contains(document.activeElement) ? placeOf(document.activeElement, old) : -1;
    old.replaceWith(next);
    next.querySelectorAll(".scroll, pre").forEach((one, at) => {
      if (scrolled[at]) [one.scrollLeft, one.scrollTop] = scrolled[at];
    });
    if (place >= 0) {
      const all = next.querySelectorAll("a, button, input, summary, [tabindex]");
      if (all[place]) all[place].focus({ preventScroll: true });
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
