// Maps of embeddings: all show the same pixels, so what is pointed at in one is ringed in all.
(() => {
  const holder = document.getElementById("map-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const crops = document.getElementById("crops");
  const figures = [...document.querySelectorAll("figure.map")];
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let method = "tsne";
  let colour = "label";
  let places = data.maps.map((map) => map.tsne);
  const picked = new Set();

  const kindsOf = (map) => {
    if (colour === "label") return data.label.map((label) => [`c${label}`, label]);
    if (colour === "prediction") return map.prediction.map((label) => [`c${label}`, label]);
    return map.prediction.map((label, i) => [label === data.label[i] ? "right" : "wrong", data.label[i]]);
  };
  const draw = () => figures.forEach((figure, number) => {
    const paths = new Map();
    kindsOf(data.maps[number]).forEach(([kind, label], i) => {
      const dim = picked.size && !picked.has(label) ? " dim" : "";
      const key = `points ${kind}${dim}`;
      const [x, y] = places[number][i];
      paths.set(key, `${paths.get(key) ?? ""}M${x} ${y}h0`);
    });
    const last = ([key]) => (key.includes("dim") ? 0 : key.includes("wrong") ? 2 : 1);
    figure.querySelector(".cloud").replaceChildren(...[...paths].sort((a, b) => last(a) - last(b)).map(([key, d]) => {
      const path = made("path");
      path.setAttribute("class", key);
      path.setAttribute("d", d);
      return path;
    }));
  });
  const moveTo = (wanted) => {
    const [from, to] = [places, data.maps.map((map) => map[wanted])];
    method = wanted;
    document.querySelectorAll(".map .axes").forEach((note) => { note.hidden = wanted !== "pca"; });
    const begun = performance.now();
    const frame = (now) => {
      const done = still ? 1 : Math.min((now - begun) / 450, 1);
      const eased = 1 - (1 - done) ** 3;
      places = to.map((map, number) => map.map(([x, y], i) => {
        const [fromX, fromY] = from[number][i];
        return [Math.round(fromX + eased * (x - fromX)), Math.round(fromY + eased * (y - fromY))];
      }));
      draw();
      if (done < 1 && method === wanted) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  };
  const choose = (group, apply) => {
    const buttons = [...document.querySelectorAll(`[data-${group}] button`)];
    for (const button of buttons) {
      button.addEventListener("click", () => {
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
        apply(button.dataset.value);
      });
    }
  };
  choose("method", moveTo);
  choose("colour", (wanted) => { colour = wanted; draw(); });
  for (const button of document.querySelectorAll(".pick button")) {
    button.addEventListener("click", () => {
      const label = Number(button.dataset.class);
      const on = !picked.has(label);
      if (on) picked.add(label); else picked.delete(label);
      button.setAttribute("aria-pressed", String(on));
      draw();
    });
  }

  const describe = (i, number) => {
    const map = data.maps[number];
    const { side, columns } = data.crops;
    const canvas = tip.element("canvas");
    canvas.width = canvas.height = 2 * side;
    const ink = canvas.getContext("2d");
    ink.drawImage(crops, i % columns * side, Math.floor(i / columns) * side, side, side, 0, 0, 2 * side, 2 * side);
    ink.lineWidth = 4;
    ink.strokeStyle = "#000";
    ink.strokeRect(side - 7, side - 7, 14, 14);
    ink.lineWidth = 2;
    ink.strokeStyle = "#fff";
    ink.strokeRect(side - 7, side - 7, 14, 14);
    const look = tip.element("div", undefined, "look");
    const text = tip.element("div");
    const title = tip.element("b");
    title.append(tip.element("i", undefined, `mark c${data.label[i]}`), ` ${data.classes[data.label[i]]}`);
    const right = map.prediction[i] === data.label[i];
    text.append(
      title,
      tip.element("div", `predicted ${data.classes[map.prediction[i]]}, ${map.probability[i]} %`, right ? "good" : "bad"),
      tip.element("div", data.names[data.image[i]]),
      tip.element("div", `row ${data.row[i]}, column ${data.column[i]}`, "unit"),
    );
    look.append(canvas, text);
    return [look];
  };
  const ring = (i) => figures.forEach((figure, number) => {
    const circle = figure.querySelector(".ring");
    if (i === null) { circle.setAttribute("hidden", ""); return; }
    circle.removeAttribute("hidden");
    circle.setAttribute("cx", places[number][i][0]);
    circle.setAttribute("cy", places[number][i][1]);
  });
  figures.forEach((figure, number) => {
    const svg = figure.querySelector("svg");
    let at = 0;
    const show = (i) => {
      at = i;
      ring(i);
      const corner = onScreen(svg, ...places[number][i]);
      tip.show(describe(i, number), corner.x, corner.y);
    };
    const hide = () => { ring(null); tip.hide(); };
    const open = (i) => !picked.size || picked.has(kindsOf(data.maps[number])[i][1]);
    const nearest = (x, y, allowed) => {
      let best = null;
      let least = Infinity;
      places[number].forEach(([px, py], i) => {
        const far = (px - x) ** 2 + (py - y) ** 2;
        if (far < least && allowed(px, py, i)) { best = i; least = far; }
      });
      return [best, Math.sqrt(least)];
    };
    svg.addEventListener("pointermove", (event) => {
      const { x, y } = inside(svg, event);
      const [i, far] = nearest(x, y, (_x, _y, j) => open(j));
      if (i !== null && far < 40) show(i); else hide();
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!way) return;
      event.preventDefault();
      const [x, y] = places[number][at];
      const ahead = (px, py, i) => {
        const [dx, dy] = [px - x, py - y];
        const along = dx * way[0] + dy * way[1];
        return i !== at && along > 0 && along >= Math.abs(dx * way[1] - dy * way[0]) && open(i);
      };
      show(nearest(x, y, ahead)[0] ?? at);
    });
  });
})();
