// Charts over steps: a cursor with the values of all lines, by pointer or by the arrow keys.
for (const figure of document.querySelectorAll("figure.chart")) {
  const holder = figure.querySelector('script[type="application/json"]');
  const svg = figure.querySelector("svg");
  const cursor = svg.querySelector(".cursor");
  if (!holder || !cursor) continue;
  const { unit, x, y, lines } = JSON.parse(holder.textContent);
  const place = ([low, high, start, end], value) => start + (value - low) / (high - low) * (end - start);
  const steps = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  const nearest = (values, wanted) => values.reduce((best, value, i) => Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? i : best, 0);
  let at = steps.length - 1;
  const show = (index, pointer) => {
    at = index;
    const step = steps[at];
    const across = place(x, step);
    cursor.removeAttribute("hidden");
    const rule = cursor.querySelector("line");
    rule.setAttribute("x1", across);
    rule.setAttribute("x2", across);
    cursor.querySelectorAll("circle").forEach((dot) => dot.remove());
    const rows = lines.map((line) => {
      const i = nearest(line.x, step);
      const dot = made("circle");
      dot.setAttribute("class", line.kind);
      dot.setAttribute("cx", place(x, line.x[i]));
      dot.setAttribute("cy", place(y, line.y[i]));
      dot.setAttribute("r", 3.4);
      cursor.append(dot);
      const row = tip.element("div", undefined, "row");
      const name = tip.element("span");
      name.append(tip.element("i", undefined, `mark ${line.kind}`), line.name);
      row.append(name, tip.element("span", String(line.y[i])));
      return row;
    });
    const corner = onScreen(svg, across, (y[2] + y[3]) / 2);
    tip.show([tip.element("b", `step ${step}${unit ? `, ${unit}` : ""}`), ...rows], pointer ? pointer.clientX : corner.x, pointer ? pointer.clientY : corner.y);
  };
  const hide = () => { cursor.setAttribute("hidden", ""); tip.hide(); };
  svg.addEventListener("pointermove", (event) => {
    const value = x[0] + (inside(svg, event).x - x[2]) / (x[3] - x[2]) * (x[1] - x[0]);
    show(nearest(steps, value), event);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    show(Math.min(Math.max(at + move, 0), steps.length - 1));
  });
}
// Image by image: the nearest dot's name and scores.
for (const figure of document.querySelectorAll("figure.duel")) {
  const svg = figure.querySelector("svg");
  const data = JSON.parse(figure.querySelector("script").textContent);
  const dots = [...svg.querySelectorAll(".image-dot")];
  let at = 0;
  const show = (index) => {
    dots[at].classList.remove("chosen");
    at = index;
    dots[at].classList.add("chosen");
    const corner = onScreen(svg, data.x[at], data.y[at]);
    const text = (arm, value) => tip.element("div", `${arm} ${value} %`);
    tip.show([tip.element("b", data.names[at]), text(data.arms[0], data.before[at]), text(data.arms[1], data.after[at])], corner.x, corner.y);
  };
  const hide = () => { dots[at].classList.remove("chosen"); tip.hide(); };
  svg.addEventListener("pointermove", (event) => {
    const { x, y } = inside(svg, event);
    const far = (i) => (data.x[i] - x) ** 2 + (data.y[i] - y) ** 2;
    show(dots.reduce((best, _, i) => far(i) < far(best) ? i : best, 0));
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    show((at + move + dots.length) % dots.length);
  });
}
