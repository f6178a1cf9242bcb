// @ts-check
// A term's definition beside the text: under the mouse, at the focus, and by a touch. Escape takes it away.

(() => {
  const SOON = 150; // ms until the mouse is taken to mean it
  const LATE = 250; // ms in which the mouse may cross over to the definition
  const GAP = 6; // px between a term and its definition

  /** @type {HTMLElement | null} */
  let term = null;
  /** @type {HTMLElement | null} */
  let tip = null;
  let timer = 0;
  let mouse = "";
  let dismissed = ""; // where the mouse was at Escape: what comes under it without a move of its own shows nothing
  let wasShown = false; // when a finger came down: was its term's definition there?

  /** @param {() => void} act @param {number} after */
  function later(act, after) {
    clearTimeout(timer);
    timer = window.setTimeout(act, after);
  }

  /** @param {HTMLElement} one */
  function show(one) {
    clearTimeout(timer);
    if (term === one) return;
    hide();
    const found = document.getElementById(one.getAttribute("aria-describedby") ?? "");
    if (!found) return;
    [term, tip] = [one, found];
    found.hidden = false;
    const line = [...one.getClientRects()][0];
    const below = line.bottom + GAP + found.offsetHeight <= innerHeight;
    const top = below ? line.bottom + GAP : Math.max(0, line.top - GAP - found.offsetHeight);
    const most = document.documentElement.clientWidth - found.offsetWidth - GAP;
    found.style.left = `${Math.max(GAP, Math.min(line.left, most)) + scrollX}px`;
    found.style.top = `${top + scrollY}px`;
  }

  function hide() {
    clearTimeout(timer);
    if (tip) tip.hidden = true;
    [term, tip] = [null, null];
  }

  /** @param {Event} event @returns {HTMLElement | null} */
  const termAt = (event) => (event.target instanceof Element ? event.target.closest("a.term") : null);
  /** @param {PointerEvent} event */
  const place = (event) => `${event.screenX} ${event.screenY}`;
  /** @param {EventTarget | null} target */
  const inside = (target) => target instanceof Node && Boolean(tip?.contains(target) || term?.contains(target));

  document.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse") return;
    const one = termAt(event);
    if (place(event) === dismissed) return;
    dismissed = "";
    if (one) later(() => show(one), SOON);
    else if (inside(event.target) || !tip || document.activeElement === term) clearTimeout(timer);
    else later(hide, LATE);
  });
  document.addEventListener("pointermove", (event) => {
    mouse = place(event);
  });
  document.addEventListener("focusin", (event) => {
    const one = termAt(event);
    if (one) show(one);
    else hide();
  });
  document.addEventListener("focusout", (event) => {
    if (termAt(event) === term && !tip?.matches(":hover")) hide();
  });
  document.addEventListener("pointerdown", (event) => {
    const one = termAt(event);
    wasShown = one !== null && one === term;
    if (!one && !inside(event.target)) hide();
  });
  document.addEventListener("click", (event) => {
    const one = termAt(event);
    // The first touch shows it; the second follows the link, as a click or Enter does at once.
    if (!one || !(event instanceof PointerEvent) || event.pointerType === "mouse" || event.detail === 0 || wasShown)
      return;
    event.preventDefault();
    show(one);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !tip) return;
    dismissed = mouse;
    hide();
  });
})();
