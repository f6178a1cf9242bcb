// The page's side of bare.py: models over the widget protocol, and a place for each cell's view.
// A model is what anywidget hands to a view: set tells at once who listens, save_changes sends what was set.

globalThis.bare = (() => {
  const models = {};
  const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

  class Model {
    constructor(id, values) {
      Object.assign(this, { id, values, heard: {}, changed: {} });
    }

    get(name) {
      return this.values[name];
    }

    set(name, value) {
      this.changed[name] = value;
      this.take({ [name]: value });
    }

    take(values) {
      // first all values, then a word about each that is new
      const fresh = Object.keys(values).filter((name) => !same(this.values[name], values[name]));
      Object.assign(this.values, values);
      for (const name of fresh) for (const hear of [...(this.heard[`change:${name}`] ?? [])]) hear();
    }

    on(event, hear) {
      this.heard[event] = [...(this.heard[event] ?? []), hear];
    }

    off(event, hear) {
      this.heard[event] = (this.heard[event] ?? []).filter((one) => one !== hear);
    }

    async send(content) {
      take(await toPython(this.id, JSON.stringify(content), "custom"));
    }

    async save_changes() {
      const changed = JSON.stringify(this.changed);
      this.changed = {};
      if (changed !== "{}") take(await toPython(this.id, changed, "update"));
    }
  }

  function take(told) {
    for (const [id, kind, values] of JSON.parse(told)) {
      if (kind === "open") models[id] = new Model(id, values);
      else models[id].take(values);
    }
  }

  // What anywidget's host does: draw a widget inside another, until the signal is given.
  const host = {
    async getWidget(reference) {
      const model = models[reference.replace("anywidget:", "")];
      return {
        async render({ el, signal }) {
          const clean = await show(model, el);
          signal.addEventListener("abort", () => clean?.());
        },
      };
    },
  };

  async function show(model, el) {
    const id = model.get("_anywidget_id");
    if (!document.getElementById(id)) {
      // one for all views of a kind, as anywidget does it
      const style = document.createElement("style");
      Object.assign(style, { id, textContent: model.get("_css") });
      document.head.append(style);
    }
    el.dataset.style = id;
    const module = URL.createObjectURL(new Blob([model.get("_esm")], { type: "text/javascript" }));
    const { default: view } = await import(module);
    return view.render({ model, el, host });
  }

  // What a cell shows: a widget, or HTML, or a picture; and what it prints.
  async function cell(told, id, markup, said) {
    take(told);
    const room = document.createElement("section");
    document.querySelector("main").append(room);
    if (id) await show(models[id], room);
    else {
      room.className = "jp-RenderedHTMLCommon"; // as JupyterLab has it
      room.innerHTML = markup;
    }
    if (said) {
      const words = document.createElement("pre");
      words.textContent = said;
      room.append(words);
    }
  }

  // Give the page JupyterLab's light or dark theme, as the menu does.
  function theme(name) {
    for (const one of ["light", "dark"]) document.getElementById(one).media = one === name ? "all" : "not all";
    document.body.dataset.jpThemeLight = String(name === "light");
  }

  return { cell, theme };
})();
