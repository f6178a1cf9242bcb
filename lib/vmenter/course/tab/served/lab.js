// In JupyterLab's page, before all else: lead a visitor without the keeper to the page that begins, and, once the
// notebook stands there, go to the cell that the address names.
const asked = new URLSearchParams(location.search);
const wanted = asked.get("cell");

if (!navigator.serviceWorker?.controller) {
  const name = /^notebooks\/(\d\d-[\w-]+)\.ipynb$/.exec(asked.get("path"))?.[1];
  location.replace(`../index.html${name ? `?notebook=${name}${wanted ? `&cell=${wanted}` : ""}` : ""}`);
} else if (wanted) seek();

function seek() {
  const notebook = globalThis.jupyterapp?.shell?.currentWidget?.content;
  const at = notebook?.widgets?.findIndex?.((cell) => cell.model.id === wanted) ?? -1;
  if (at < 0) {
    setTimeout(seek, 200);
    return;
  }
  // A cell of a folded section is hidden until the heading above it is unfolded.
  for (let above = at; above >= 0 && notebook.widgets[at].isHidden; above--)
    if (notebook.widgets[above].headingCollapsed) notebook.widgets[above].toggleCollapsedSignal?.emit(false);
  notebook.activeCellIndex = at;
  notebook.scrollToItem(at, "center");
}
