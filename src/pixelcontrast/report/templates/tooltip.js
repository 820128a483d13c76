// One tooltip for the page. Names come from files, so they are only ever set as text.
const tip = (() => {
  const box = document.getElementById("tip");
  const element = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const show = (content, x, y) => {
    box.replaceChildren(...content);
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    const left = x + 16 + width > innerWidth ? Math.max(x - width - 16, 4) : x + 16;
    const top = Math.min(Math.max(y - height / 2, 4), innerHeight - height - 4);
    box.style.transform = "none";
    box.style.left = `${left}px`;
    box.style.top = `${top}px`;
  };
  const hide = () => { box.hidden = true; };
  addEventListener("scroll", hide, { passive: true });
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  return { element, show, hide };
})();
// Where in an SVG's own units a pointer is, and where on the screen such a place is.
const inside = (svg, event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
const onScreen = (svg, x, y) => new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
const made = (tag) => document.createElementNS("http://www.w3.org/2000/svg", tag);
