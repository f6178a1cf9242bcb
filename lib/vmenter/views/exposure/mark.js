// @ts-check
// The marks of ExposureMap: each kind of cell has a shape of its own, and its letter in it.

import { makeSvg } from "../common.js";

const OUTLINES = {
  broken: "16,1 31,16 16,31 1,16",
  failed: "4,4 28,4 28,28 4,28",
  neutralised: "16,2 31,29 1,29",
};

// One mark: its shape, its letter in it.
export function mark(kind, letter) {
  const shape =
    kind in OUTLINES
      ? makeSvg("polygon", { points: OUTLINES[kind] })
      : makeSvg("circle", { cx: 16, cy: 16, r: kind === "kept" ? 13 : 3 });
  const text =
    kind === "nothing"
      ? []
      : [makeSvg("text", { x: 16, y: kind === "neutralised" ? 26 : 21, "text-anchor": "middle" }, letter)];
  return makeSvg(
    "svg",
    { viewBox: "0 0 32 32", class: `vm-mark vm-is-${kind}`, "aria-hidden": "true" },
    shape,
    ...text,
  );
}
