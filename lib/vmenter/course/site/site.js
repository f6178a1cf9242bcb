// @ts-check
// The site's pages: light or dark, copying code, and the views over frames that were made beforehand.
// Nothing is loaded or sent. A view's own module draws it; here is only the model that it talks to.

/** @type {Site} */
const vmSite = {
  views: {},
  packed: {},
  models: {},
  async read(kind) {
    const bytes = Uint8Array.from(atob(vmSite.packed[kind]), (one) => one.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  },
};

(() => {
  const ORDER = ["selection", "events", "verdict", "flow", "buffers"];

  // --- light and dark ------------------------------------------------------------------------------------

  function kept(name) {
    try {
      return localStorage.getItem(`vmenter-${name}`);
    } catch {
      return null;
    } // a browser may forbid it
  }

  function keep(name, text) {
    try {
      localStorage.setItem(`vmenter-${name}`, text);
    } catch {
      /* then it lasts as long as the page */
    }
  }

  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (kept("theme") ?? (scheme.matches ? "dark" : "light")) === "dark";

  function paint() {
    const root = document.documentElement;
    root.dataset.theme = dark() ? "dark" : "light";
    if (document.body) document.body.dataset.jpThemeLight = String(!dark());
    const button = /** @type {HTMLElement | null} */ (document.querySelector(".theme"));
    if (!button) return;
    button.hidden = false;
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Change to ${dark() ? "light" : "dark"} colours`);
  }

  paint();
  scheme.addEventListener("change", paint);

  // --- a view's model ------------------------------------------------------------------------------------

  // What anywidget's model does, without a kernel: `answer(name, value, all)` gives what changes with a value, and
  // `opens(content, all)` what changes with a message.
  /**
   * @param {Record<string, Part>} values
   * @param {(name: string, value: Part, all: Part) => Record<string, Part>} answer
   * @param {(content: Part, all: Part) => Record<string, Part>} [opens]
   * @returns {SiteModel}
   */
  function makeModel(values, answer, opens = () => ({})) {
    const hearers = new Map();
    const asked = new Set();
    const tell = (name) => {
      for (const hear of [...(hearers.get(`change:${name}`) ?? [])]) hear();
    };
    const take = (changes) => {
      Object.assign(values, changes);
      Object.keys(changes).forEach(tell);
    };
    return {
      take,
      get: (name) => values[name],
      send: (content) => take(opens(content, values)),
      set(name, value) {
        values[name] = value;
        asked.add(name);
        tell(name);
      },
      save_changes() {
        const names = [...asked];
        asked.clear();
        for (const name of names) {
          take(name === "asked" ? { answered: values.asked } : answer(name, values[name], values));
        }
      },
      on: (event, hear) => hearers.set(event, [...(hearers.get(event) ?? []), hear]),
      off: (event, hear) =>
        hearers.set(
          event,
          (hearers.get(event) ?? []).filter((one) => one !== hear),
        ),
    };
  }

  // Frames are rows of places in a store: of the names of the fields first, then of their values.
  function unpacked(row, store) {
    if (!row) return undefined;
    const [names, ...values] = row;
    return Object.fromEntries(store[names].map((name, at) => [name, store[values[at]]]));
  }

  const reading = new Map();
  /** @param {string} kind */
  function content(kind) {
    if (!reading.has(kind)) reading.set(kind, vmSite.read(kind));
    return reading.get(kind);
  }

  // A state without a frame changes nothing but what the view says of it.
  function follow(find, refused) {
    let good = null;
    return (state, last) => {
      const frame = find(state);
      if (!frame) return { state: good, frame: { ...last, ...refused } };
      good = state;
      const { mistake, wrong, ...kept } = last;
      return { frame: { ...kept, ...frame } };
    };
  }

  // --- frames, view by view; the keys are those of site/frames.py ------------------------------------------

  function patchFrames({ store, frames, uses }, own) {
    return (state) => {
      const code = state.sample ?? own;
      const on = uses[code]?.filter((name) => state.features.includes(name));
      const patcher = state.engine === "early" && state.nops === "k8" ? "early k8" : state.engine;
      return unpacked(frames[JSON.stringify([code, on, patcher])], store);
    };
  }

  function explorerFrames({ store, frames, around, sides, controls }, book = "") {
    return (state) => {
      const only = String(state.show) === "selection";
      const host = state.preset ? [state.preset] : [[...state.bugs].sort(), [...state.facts].sort()];
      const vcpu = [state.mmio, state.flush_pending, state.resume, state.guest_fb_clear];
      const key = JSON.stringify([book, host, state.cmdline.trim(), state.ept, only ? null : vcpu]);
      const frame = unpacked(frames[key], store);
      const eras = [state.era, ...(state.compare ? [state.compare] : [])];
      if (!frame || eras.some((era) => around[key][era] === undefined)) return undefined;
      const shown = eras.map((era) => /** @type {Part} */ (unpacked(sides[around[key][era]], store)));
      return {
        ...frame,
        show: ORDER.filter((panel) => state.show.includes(panel)),
        controls: state.controls ?? controls,
        era: state.era,
        compare: state.compare ?? null,
        sides: shown,
        said: shown.map((side) => side.said).join(" "),
        text: [
          ...frame.head,
          ...shown.flatMap((side) => sideText(side, state.show)),
          ...(frame.recorded ? ["", ...frame.recorded.text] : []),
        ],
      };
    };
  }

  // Python's side_text, of the panels that are shown.
  function sideText(side, show) {
    return ["", side.heading, ...ORDER.filter((panel) => show.includes(panel)).flatMap((panel) => side[panel].text)];
  }

  function explorerModel(made, state, book) {
    const next = follow(explorerFrames(made, book), made.refused);
    const { drawings } = made;
    return makeModel({ state, drawings, ...next(state, {}) }, (_name, value, all) => next(value, all.frame));
  }

  const MAKERS = {
    async PatchBench({ state, own }) {
      const made = await content("PatchBench");
      const next = follow(patchFrames(made, own), made.refused);
      return makeModel({ state, ...next(state, {}) }, (_name, value, all) => next(value, all.frame));
    },
    async EntryExplorer({ state, book }) {
      return explorerModel(await content("EntryExplorer"), state, book);
    },
    async HostView({ state }) {
      const made = await content("HostView");
      return withExplorer(
        state,
        made,
        (one) => unpacked(made.frames[JSON.stringify([one.sample])], made.store),
        (frame) => frame.explorer,
      );
    },
    async ExposureMap({ state, book = "" }) {
      const made = await content("ExposureMap");
      return withExplorer(
        state,
        made,
        ({ eras, split, narrowed, cell }) =>
          unpacked(made.frames[JSON.stringify([book, eras ?? null, split, narrowed, cell ?? null])], made.store),
        (frame) => frame.detail.explorer,
      );
    },
    async Prediction({ name, questions, tells, answers, show }) {
      const [id, shownId] = [`guess-${name}`, `shown-${name}`];
      const values = {
        name,
        questions,
        tells,
        guesses: JSON.parse(kept(id) ?? "[]"),
        given_up: kept(shownId) !== null,
        said: "",
      };
      const unfolded = (all) => {
        const rows = answers.map((key, index) =>
          all.given_up || all.guesses[index] ? told(key, all.guesses[index]) : {},
        );
        const whole = rows.every((row) => row.told !== undefined);
        if (tells && whole) for (const fold of folds(`details[data-prediction="${name}"]`)) fold.open = true;
        return { rows, shown: whole ? show : {} };
      };
      const model = makeModel({ ...values, ...unfolded(values) }, (what, value, all) => {
        if (what === "given_up") keep(shownId, "shown");
        if (what !== "guesses" || tells) return tells ? unfolded(all) : {};
        keep(id, JSON.stringify(value));
        for (const other of predictions) {
          if (other === model || other.get("name") !== name) continue;
          other.set("guesses", value);
          other.save_changes();
        }
        return {
          said:
            kept(id) === null ? "This browser keeps nothing: it lasts as long as this page." : "Kept in this browser.",
        };
      });
      predictions.push(model);
      return model;
    },
    FirstMinute: async ({ state, frame }) => makeModel({ state, frame }, () => ({})),
    LeakGame: async ({ state, frame }) => makeModel({ state, frame }, () => ({})),
  };
  /** @type {SiteModel[]} */
  const predictions = [];

  /** @param {string} which @returns {NodeListOf<HTMLDetailsElement>} */
  const folds = (which) => document.querySelectorAll(which);

  // What is said to a guess; the same as `answer` and `right` in course/prediction/questions.py.
  function told(key, guess) {
    const [verdict, text] = guess
      ? answered(key, guess)
      : ["", key.kind === "choice" ? key.said[key.told][1] : key.kind === "text" ? "" : key.right];
    return { told: key.told, verdict, text, because: key.because };
  }

  function answered(key, guess) {
    if (key.kind === "text") return ["open", key.wrong];
    if (key.kind === "choice") return key.said[guess] ?? ["open", "That is none of the choices any more."];
    if (key.kind === "number") {
      const value = Number(guess.replaceAll(",", "").replace("%", ""));
      if (!guess.trim() || Number.isNaN(value)) return ["open", "Your guess is no number."];
      const [, , verdict, text] = key.ranges.find(
        ([low, high]) => (low ?? -Infinity) <= value && value <= (high ?? Infinity),
      );
      return [verdict, text];
    }
    const chosen = new Set(guess.split("; "));
    const parts = Object.entries(key.parts);
    const differ = parts.filter(([one, [holds]]) => chosen.has(one) !== holds).map(([, [, text]]) => text);
    if (!differ.length) return ["right", key.right];
    const some = parts.some(([one, [holds]]) => holds && chosen.has(one));
    return [differ.length === 1 && some ? "near" : "wrong", [...differ, key.wrong].filter(Boolean).join(" ")];
  }

  // A view that opens an explorer in itself: that one has a model of its own, as it has in Python. It may follow a frame.
  async function withExplorer(state, { about, refused }, find, followed) {
    const made = await content("EntryExplorer");
    const next = follow(find, refused);
    const known = explorerFrames(made);
    const model = makeModel({ state, inner: null, opened: {}, ...next(state, {}) }, answer, ({ open }, all) =>
      open ? opened(open, all) : SHUT,
    );

    function answer(_name, value, all) {
      const changes = next(value, all.frame);
      if (!all.inner || !followed || changes.frame.mistake) return changes;
      const asked = followed(changes.frame);
      return { ...changes, ...(asked && known(asked) ? opened(asked, all) : SHUT) };
    }

    function opened(asked, all) {
      if (!known(asked)) return { frame: { ...all.frame, ...refused } };
      const told = (inner) => ({ ...about, line: about.line + inner.get("frame").said });
      if (all.inner) {
        const inner = vmSite.models[all.inner];
        inner.set("state", asked);
        inner.save_changes();
        return { opened: told(inner) };
      }
      const inner = explorerModel(made, asked, "");
      const name = `inner-${++count}`;
      vmSite.models[name] = inner;
      inner.on("change:frame", () => model.take({ opened: told(inner) }));
      return { inner: name, opened: told(inner) };
    }

    return model;
  }

  const SHUT = { inner: null, opened: {} };
  let count = 0;

  // What anywidget's host does: draw a view that is open inside another.
  const host = {
    async getWidget(name) {
      return {
        render({ el, signal }) {
          el.dataset.view = "EntryExplorer";
          const clean = vmSite.views.EntryExplorer.render({ model: vmSite.models[name], el, host });
          signal.addEventListener("abort", clean);
        },
      };
    },
  };

  // --- what needs a kernel is switched off -----------------------------------------------------------------

  const WITHOUT =
    ".vm-names input, .vm-ept input, .vm-editor button, .vm-host textarea, .vm-host .vm-which .vm-button, .vm-host .vm-more .vm-button, .vm-map .vm-cut select";

  function switchOff(room) {
    for (const control of room.querySelectorAll(WITHOUT)) {
      control.disabled = true;
      control.title = "Needs a kernel";
    }
    for (const area of room.querySelectorAll(".vm-editor textarea")) area.readOnly = true;
  }

  function offerLines(room, model, lines, number) {
    const field = room.querySelector(".vm-fields input[type=text]");
    if (!field || field.list) return;
    const offered = document.createElement("datalist");
    offered.id = `lines-${number}`;
    const show = (model.get("state").show ?? []).join();
    offered.append(
      ...lines[show === "selection" ? show : "all"]
        .filter(Boolean)
        .map((line) => Object.assign(document.createElement("option"), { value: line })),
    );
    room.append(offered);
    field.setAttribute("list", offered.id);
  }

  // --- the page --------------------------------------------------------------------------------------------

  async function mount(room, number) {
    const { view } = room.dataset;
    const start = JSON.parse(room.querySelector("script").textContent);
    const model = await MAKERS[view](start);
    vmSite.models[room.id] = model;
    const el = document.createElement("div");
    vmSite.views[view].render({ model, el, host });
    room.replaceChildren(el);
    switchOff(room);
    const { lines } = vmSite.packed.EntryExplorer ? await content("EntryExplorer") : {};
    offerLines(room, model, lines, number);
    new MutationObserver(() => {
      switchOff(room);
      offerLines(room, model, lines, number);
    }).observe(room, { childList: true, subtree: true });
    room.dataset.ready = "";
  }

  /** @param {Part} code */
  function copyButton(code) {
    const button = Object.assign(document.createElement("button"), {
      type: "button",
      className: "copy",
      textContent: "Copy",
    });
    button.setAttribute("aria-label", "Copy this code");
    button.addEventListener("click", async () => {
      const text = code.querySelector("pre").textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        // a browser may forbid it: then the code is marked, to be copied by hand
        getSelection()?.selectAllChildren(code.querySelector("pre"));
        button.textContent = "Marked";
      }
      setTimeout(() => {
        button.textContent = "Copy";
      }, 1500);
    });
    code.append(button);
  }

  document.addEventListener("DOMContentLoaded", () => {
    paint();
    document.querySelector(".theme")?.addEventListener("click", () => {
      keep("theme", dark() ? "light" : "dark");
      paint();
    });
    document.querySelectorAll(".code").forEach(copyButton);
    const narrow = matchMedia("(max-width: 1100px)");
    const fold = () => {
      for (const one of folds(".contents details")) one.open = !narrow.matches;
    };
    fold();
    narrow.addEventListener("change", fold);
    document.querySelectorAll(".live").forEach((room, number) => {
      mount(room, number).catch((error) => {
        room.querySelector("pre")?.before(`This view does not run in this browser (${error.message}). In words:`);
        console.error(error);
      });
    });
  });
})();
