"""What is measured of a view's looks."""

# The smallest contrast between a text and what is behind it, and that text. Colours are painted to be read.
CONTRAST = """root => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color, under) => {
    canvas.clearRect(0, 0, 1, 1);
    if (under) { canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1); }
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (rgba(color)[3] === 255) return color;
    }
    return "white";
  };
  // In a drawing: what its shape is filled with, over what is behind the drawing.
  const filled = (element, ground) => {
    const shape = element.closest("g")?.querySelector(".shape");
    if (!shape) return ground;
    const { fill, fillOpacity } = getComputedStyle(shape);
    if (fill === "none") return ground;
    const [top, under] = [rgba(fill), rgba(ground)];
    const part = Number(fillOpacity) * top[3] / 255;
    return `rgb(${top.slice(0, 3).map((v, i) => Math.round(v * part + under[i] * (1 - part))).join(" ")})`;
  };
  let worst = [99, ""];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest("style, option, title, desc")) continue;
    const style = getComputedStyle(element), drawn = element instanceof SVGElement;
    const ground = drawn ? filled(element, behind(element)) : behind(element);
    const front = drawn ? style.fill : style.color;
    const [a, b] = [light(rgba(front, ground)), light(rgba(ground))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, text];
  }
  return worst;
}"""

# The size of the smallest text in sight, as it is shown: in pixels of the page.
SMALLEST = """root => Math.min(...[...root.querySelectorAll("*")].filter(one =>
  one.checkVisibility() && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
  .map(one => parseFloat(getComputedStyle(one).fontSize) * (one.ownerSVGElement ? one.getScreenCTM().a : 1)))"""
