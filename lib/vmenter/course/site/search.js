// @ts-check
// The site's search: over an index that the build makes, in this page alone. It opens by the button or Ctrl+K.

(() => {
  const MOST = 40; // results that are shown
  const AROUND = 90; // characters of an excerpt on either side

  /** @typedef {{ href: string, title: string, where: string, text: string, score: number }} Found */
  /** @typedef {{ pages: string[][], terms: string[][], sections: [number, string, string, string][] }} Index */

  /** @type {Promise<Index> | null} */
  let reading = null;

  /** Load the index when it is asked for the first time. @returns {Promise<Index>} */
  function index() {
    reading ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = "assets/search-index.js";
      script.onload = () => done(vmSite.read("search"));
      script.onerror = () => failed(new Error("the index is not there"));
      document.head.append(script);
    });
    return reading;
  }

  /** A pattern for a word of the question: it begins a word of the text. @param {string} word */
  function pattern(word) {
    const plain = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    return new RegExp(/^[\p{L}\p{N}_]/u.test(word) ? `(?<![\\p{L}\\p{N}])${plain}` : plain, "giu");
  }

  /**
   * What is found, best first: terms of the glossary, then headings, then text.
   * @param {Index} all
   * @param {RegExp[]} words
   * @param {string} question
   * @returns {Found[]}
   */
  function find({ pages, terms, sections }, words, question) {
    /** @param {string} text */
    const count = (text) => words.map((word) => text.match(word)?.length ?? 0);
    /** @param {string} title @param {string} text @param {string} page */
    const score = (title, text, page) => {
      const [inTitle, inText, inPage] = [count(title), count(text), count(page)];
      if (words.some((_, at) => !inTitle[at] && !inText[at] && !inPage[at])) return 0;
      return words.reduce((sum, _, at) => sum + 20 * Math.min(1, inTitle[at]) + Math.min(5, inText[at]), 1);
    };
    /** @type {Found[]} */
    const found = [];
    for (const [anchor, name, text] of terms) {
      const points = score(name, text, "");
      if (!points) continue;
      const named = name.toLowerCase() === question ? 3000 : count(name).every(Boolean) ? 2000 : 1000;
      found.push({ href: `glossary.html#${anchor}`, title: name, where: "Glossary", text, score: named + points });
    }
    for (const [at, anchor, title, text] of sections) {
      const [file, page] = pages[at];
      const points = score(title, text, page);
      const href = anchor ? `${file}#${anchor}` : file;
      if (points) found.push({ href, title: title || page, where: page, text, score: points });
    }
    return found.sort((one, other) => other.score - one.score);
  }

  /**
   * A piece of the text around the first word found in it, with all words marked.
   * @param {string} text
   * @param {RegExp[]} words
   */
  function excerpt(text, words) {
    const first = Math.min(...words.map((word) => text.search(word)).filter((at) => at >= 0), text.length);
    const start = first > AROUND && first < text.length ? text.indexOf(" ", first - AROUND) + 1 : 0;
    const left = text.slice(start, start + 2 * AROUND);
    const cut = start + 2 * AROUND < text.length ? left.slice(0, left.lastIndexOf(" ")) : left;
    const line = document.createElement("p");
    if (start) line.append("… ");
    marked(line, cut, words);
    if (cut.length < left.length) line.append(" …");
    return line;
  }

  /** @param {HTMLElement} place @param {string} text @param {RegExp[]} words */
  function marked(place, text, words) {
    const places = words.flatMap((word) =>
      [...text.matchAll(word)].map((one) => [one.index, one.index + one[0].length]),
    );
    let at = 0;
    for (const [from, to] of places.sort((one, other) => one[0] - other[0])) {
      if (from < at) continue;
      const mark = document.createElement("mark");
      mark.textContent = text.slice(from, to);
      place.append(text.slice(at, from), mark);
      at = to;
    }
    place.append(text.slice(at));
  }

  document.addEventListener("DOMContentLoaded", () => {
    const dialog = /** @type {HTMLDialogElement} */ (document.querySelector("dialog.search"));
    const button = /** @type {HTMLButtonElement} */ (document.querySelector("button.find"));
    const box = /** @type {HTMLInputElement} */ (dialog.querySelector("input"));
    const said = /** @type {HTMLElement} */ (dialog.querySelector(".search-said"));
    const list = /** @type {HTMLElement} */ (dialog.querySelector(".search-found"));

    function open() {
      if (!dialog.open) dialog.showModal();
      box.select();
      index().catch((error) => {
        said.textContent = `Nothing can be searched here: ${error.message}.`;
      });
    }

    async function show() {
      const question = box.value.trim().toLowerCase();
      const words = question.split(/\s+/).filter(Boolean).map(pattern);
      const all = await index();
      if (question !== box.value.trim().toLowerCase()) return; // another one is asked by now
      const found = words.length ? find(all, words, question) : [];
      list.replaceChildren(...found.slice(0, MOST).map((one) => item(one, words)));
      if (!words.length) said.textContent = "";
      else if (!found.length) said.textContent = "Nothing is found.";
      else {
        const shown = found.length > MOST ? `; the first ${MOST} are shown` : "";
        said.textContent = `${found.length} ${found.length === 1 ? "place" : "places"}${shown}`;
      }
    }

    /** @param {Found} one @param {RegExp[]} words */
    function item(one, words) {
      const link = document.createElement("a");
      link.href = one.href;
      const title = document.createElement("strong");
      marked(title, one.title, words);
      const where = document.createElement("span");
      where.textContent = one.where;
      link.append(title, " ", where, excerpt(one.text, words));
      const row = document.createElement("li");
      row.append(link);
      return row;
    }

    /** @param {KeyboardEvent} event */
    function move(event) {
      const links = [...list.querySelectorAll("a")];
      const at = links.indexOf(/** @type {HTMLAnchorElement} */ (document.activeElement));
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape")
        dialog.close(); // a box for searches would take it to empty itself
      else if (event.key === "Enter" && document.activeElement === box) links[0]?.click();
      else if (step && (at >= 0 || step > 0)) {
        if (at + step < 0) box.focus();
        else links[Math.min(at + step, links.length - 1)]?.focus();
      } else return;
      event.preventDefault();
    }

    button.hidden = false;
    button.addEventListener("click", open);
    dialog.querySelector(".search-close")?.addEventListener("click", () => dialog.close());
    dialog.addEventListener("keydown", move);
    dialog.addEventListener("click", (event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      if (target === dialog || target.closest("a")) dialog.close();
    });
    box.addEventListener("input", show);
    document.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey)
        return;
      event.preventDefault();
      open();
    });
  });
})();
