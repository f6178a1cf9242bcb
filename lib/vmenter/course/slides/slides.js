// Move from slide to slide. Without this script the page still scrolls, slide by slide.
const slides = [...document.querySelectorAll(".slide")];
const STEPS = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 };

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

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("summary, a")) return;
  const step = event.key === " " && event.shiftKey ? -1 : STEPS[event.key];
  if (step) go(here() + step);
  else if (event.key === "Home") go(0);
  else if (event.key === "End") go(slides.length - 1);
  else return;
  event.preventDefault();
});
