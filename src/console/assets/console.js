// Updates an open page: the server sends its parts after changes, and each part that differs
// replaces the previous one.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  const state = document.getElementById("live-state");
  const pause = document.getElementById("live-pause");
  if (!main || !window.EventSource) return;

  let paused = false;
  let pending = null;
  const current = new Map();

  const showState = (text, severity) => {
    if (state.textContent !== text) state.textContent = text;
    state.dataset.severity = severity;
  };

  // A part is not replaced while the user points at it, selects text in it, types into it or
  // has a confirmation open.
  const inUse = (part) => {
    if (part.hasAttribute("data-hold") && part.matches(":hover")) return true;
    if (part.querySelector("details.confirm[open]")) return true;
    if (part.contains(document.activeElement) && document.activeElement.matches("input, select")) return true;
    const selection = document.getSelection();
    return !selection.isCollapsed && part.contains(selection.anchorNode);
  };

  // Identifies an element in the old and the new version of a part. Its position does not,
  // since rows are added and removed around it.
  const keyOf = (one) =>
    one.tagName + (one.dataset.key || one.id || one.getAttribute("aria-label") || one.getAttribute("href") || one.textContent);

  const replace = (old, next) => {
    const opened = new Set([...old.querySelectorAll("details[open]")].map(keyOf));
    next.querySelectorAll("details").forEach((one) => { one.open = opened.has(keyOf(one)); });
    const scrolled = [...old.querySelectorAll(".scroll, pre")].map((one) => [one.scrollLeft, one.scrollTop]);
    const focused = old.contains(document.activeElement) ? keyOf(document.activeElement) : null;
    old.replaceWith(next);
    next.querySelectorAll(".scroll, pre").forEach((one, at) => {
      if (scrolled[at]) [one.scrollLeft, one.scrollTop] = scrolled[at];
    });
    if (focused !== null) {
      const all = [...next.querySelectorAll("a, button, input, summary, [tabindex]")];
      const same = all.find((one) => keyOf(one) === focused);
      if (same) same.focus({ preventScroll: true });
    }
  };

  const update = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    for (const part of fresh.querySelectorAll("[data-part]")) {
      const name = part.dataset.part;
      const text = part.outerHTML;
      const old = main.querySelector(`[data-part="${name}"]`);
      if (!old || current.get(name) === text || inUse(old)) continue;
      current.set(name, text);
      replace(old, document.importNode(part, true));
    }
  };

  const source = new EventSource(location.pathname + location.search);
  source.onopen = () => showState("live", "good");
  source.onerror = () => showState("reconnecting", "bad");
  source.onmessage = (event) => {
    if (paused) pending = event.data;
    else update(event.data);
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
    pause.setAttribute("aria-pressed", String(paused));
    showState(paused ? "paused" : "live", paused ? "idle" : "good");
    if (!paused && pending) update(pending);
    pending = null;
  });
  // Browsers limit the connections to a host, so a page that is left must close its own.
  window.addEventListener("pagehide", () => source.close());
})();
