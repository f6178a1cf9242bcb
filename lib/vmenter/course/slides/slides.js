// @ts-check
// Move from slide to slide; N shows the speaker's notes under a slide, S in a window of their own, with a clock.
// Without this script the page still scrolls, slide by slide.
const slides = [...document.querySelectorAll(".slide")];
/** @param {Element | Document} place @param {string} which @returns {HTMLElement} */
const part = (place, which) => /** @type {HTMLElement} */ (place.querySelector(which));
const STEPS = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 };
/** @type {Window | null} */
let speaker = null;
let began = 0;

function here() {
  const middle = innerHeight / 2;
  return slides.findIndex((slide) => {
    const box = slide.getBoundingClientRect();
    return box.top <= middle && box.bottom > middle;
  });
}

function go(number) {
  const slide = slides[Math.max(0, Math.min(slides.length - 1, number))];
  slide.scrollIntoView();
  history.replaceState(null, "", `#${slide.id}`);
}

function title(slide) {
  return slide ? part(slide, "h1, h2").textContent : "the end";
}

function tell() {
  if (!speaker || speaker.closed) return;
  const at = Math.max(0, here());
  const page = speaker.document;
  if (page.body.dataset.at !== String(at)) {
    page.body.dataset.at = String(at);
    part(page, "h1").textContent = `${at + 1} / ${slides.length} · ${title(slides[at])}`;
    part(page, "#notes").innerHTML = part(slides[at], ".notes").innerHTML;
    part(page, "#next").textContent = `Next: ${title(slides[at + 1])}`;
  }
  const seconds = Math.floor((Date.now() - began) / 1000);
  part(page, "#clock").textContent = [seconds / 60, seconds % 60]
    .map((part) => String(Math.floor(part)).padStart(2, "0"))
    .join(":");
}

function speak() {
  speaker = open("", "vmenter-notes", "width=760,height=620");
  if (!speaker) return;
  began ||= Date.now();
  speaker.document.title = `Notes: ${document.title}`;
  speaker.document.body.innerHTML =
    '<p id="clock" style="float:right;font-size:2em;margin:0"></p><h1></h1><div id="notes"></div><p id="next"></p>';
  speaker.document.body.style.cssText =
    "font:18px/1.5 system-ui,sans-serif;margin:1.5rem;color:#1b1f24;background:#fff";
  delete speaker.document.body.dataset.at;
  speaker.addEventListener("keydown", key);
  tell();
  setInterval(tell, 500);
}

function key(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest?.("summary, a")) return;
  const step = event.key === " " && event.shiftKey ? -1 : STEPS[event.key];
  if (step) go(here() + step);
  else if (event.key === "Home") go(0);
  else if (event.key === "End") go(slides.length - 1);
  else if (event.key === "n" || event.key === "N") {
    const at = here();
    const shown = document.documentElement.classList.toggle("noted");
    for (const slide of slides) part(slide, ".notes").hidden = !shown;
    go(at);
  } else if (event.key === "s" || event.key === "S") speak();
  else return;
  event.preventDefault();
  tell();
}

addEventListener("keydown", key);
