// @ts-check
// A title over preformatted text, both from the model.
/** @param {View} view */
function render({ model, el }) {
  const section = document.createElement("section");
  const title = document.createElement("strong");
  const text = document.createElement("pre");
  text.style.whiteSpace = "pre-wrap";
  text.style.wordBreak = "normal"; // JupyterLab breaks words in what it takes for an output
  text.style.overflowWrap = "anywhere";
  section.append(title, text);
  const show = () => {
    title.textContent = model.get("title");
    text.textContent = model.get("text");
    section.setAttribute("aria-label", model.get("title"));
  };
  model.on("change:text", show);
  show();
  el.append(section);
}
export default { render };
