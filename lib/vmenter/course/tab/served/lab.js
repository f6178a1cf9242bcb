// In JupyterLab's page, before all else: lead a visitor without the keeper, or with copies of another version, to the
// page that begins; and, once the notebook stands there, say what became of the copies and go to the cell that the
// address names.
const COPIES = ""; // the build writes in the version of the copies
const asked = new URLSearchParams(location.search);
const wanted = asked.get("cell");

if (
  !navigator.serviceWorker?.controller ||
  JSON.parse(localStorage.getItem("vmenter-lab-copies") ?? "{}").version !== COPIES
) {
  const name = /^notebooks\/(\d\d-[\w-]+)\.ipynb$/.exec(asked.get("path"))?.[1];
  location.replace(`../index.html${name ? `?notebook=${name}${wanted ? `&cell=${wanted}` : ""}` : ""}`);
} else {
  if (wanted) seek();
  tell();
}

function seek() {
  // A notebook of an earlier visit may stand there first; its cells have the same names.
  const { content: notebook, context } = globalThis.jupyterapp?.shell?.currentWidget ?? {};
  const there = context?.path === asked.get("path");
  const at = there ? (notebook?.widgets?.findIndex?.((cell) => cell.model.id === wanted) ?? -1) : -1;
  if (at < 0) {
    setTimeout(seek, 200);
    return;
  }
  // A cell of a folded section is hidden until the heading above it is unfolded.
  for (let above = at; above >= 0 && notebook.widgets[above].isHidden; above--)
    if (notebook.widgets[above].headingCollapsed) notebook.widgets[above].toggleCollapsedSignal?.emit(false);
  notebook.activeCellIndex = at;
  notebook.scrollToItem(at, "center");
}

function tell() {
  const said = JSON.parse(sessionStorage.getItem("vmenter-lab-said") ?? "[]");
  if (!said.length) return;
  const { jupyterapp } = globalThis;
  if (!jupyterapp?.commands?.hasCommand("apputils:notify")) {
    setTimeout(tell, 200);
    return;
  }
  sessionStorage.removeItem("vmenter-lab-said");
  for (const message of said)
    jupyterapp.commands.execute("apputils:notify", { message, type: "info", options: { autoClose: false } });
}
