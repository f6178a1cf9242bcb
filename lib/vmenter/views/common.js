// What the views share. Read in front of a view's own module; nothing is imported.

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// The same for SVG.
function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Make `parent` show `items`: elements are reused in place, so focus stays and nothing flickers.
function list(parent, items, create, update) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach((item, index) => {
    const element = parent.children[index] ?? parent.appendChild(create(index));
    update(element, item, index);
  });
}

// JupyterLab's command mode would take arrows, and letters typed at a select, for commands of its own.
function keepKeys(event) {
  if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
}

// An id of its own for each widget: each one loads its module anew, so no counter would do.
function unique(prefix) {
  return `${prefix}-${Math.random().toString(36).slice(2)}`;
}

// The model of a view that another view opens inside itself: the outer one's, its names under a prefix
// ("explorer_frame"). While nothing is open the frame is empty, and there is nothing the inner view could draw.
function within(model, prefix) {
  const own = (name) => `${prefix}_${name}`;
  const event = (name) => name.replace("change:", `change:${prefix}_`);
  const heard = new Map();
  return {
    get: (name) => model.get(own(name)),
    set: (name, value) => model.set(own(name), value),
    save_changes: () => model.save_changes(),
    on: (name, hear) => {
      heard.set(hear, () => { if (Object.keys(model.get(own("frame"))).length) hear(); });
      model.on(event(name), heard.get(hear));
    },
    off: (name, hear) => model.off?.(event(name), heard.get(hear)),
  };
}
