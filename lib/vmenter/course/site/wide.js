// @ts-check
// Code, tables and outputs that are wider than the page scroll in boxes of their own: which way there is more is shown.

(() => {
  const BOXES = "pre, .wide-table, .output, .vm-scroll";

  /** @param {HTMLElement} box */
  function look(box) {
    const hidden = box.scrollWidth - box.clientWidth;
    const scrolls = hidden > 1 && getComputedStyle(box).overflowX !== "visible";
    const more = scrolls
      ? [box.scrollLeft > 1 ? "left" : "", box.scrollLeft < hidden - 1 ? "right" : ""].filter(Boolean).join(" ")
      : "";
    if ((box.dataset.more ?? "") !== more) {
      if (more) box.dataset.more = more;
      else delete box.dataset.more;
    }
    if (scrolls && !box.hasAttribute("tabindex")) {
      box.tabIndex = 0; // what can be scrolled must be in reach of the keyboard
      if (!box.hasAttribute("role")) box.setAttribute("role", "region");
      if (!box.hasAttribute("aria-label")) box.setAttribute("aria-label", "Wide: it scrolls sideways");
    }
  }

  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) look(/** @type {HTMLElement} */ (target));
  });

  /** @param {ParentNode} root */
  function watch(root) {
    for (const box of root.querySelectorAll(BOXES)) {
      sizes.observe(box);
      look(/** @type {HTMLElement} */ (box));
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    watch(document);
    document.addEventListener(
      "scroll",
      ({ target }) => {
        if (target instanceof HTMLElement && target.matches(BOXES)) look(target);
      },
      { capture: true, passive: true },
    );
    // Views come when their frames are unpacked, and folds are opened.
    document.addEventListener("toggle", ({ target }) => watch(/** @type {Element} */ (target)), { capture: true });
    const rooms = new MutationObserver((changes) => {
      for (const change of changes) {
        const room = /** @type {HTMLElement} */ (change.target);
        watch(room);
        const box = room.closest(BOXES); // what came may be wider than what it stands in
        if (box) look(/** @type {HTMLElement} */ (box));
      }
    });
    for (const room of document.querySelectorAll(".live")) rooms.observe(room, { childList: true });
  });
})();
