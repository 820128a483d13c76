// Shows an image, a layer and a cross from `props.value`, of which each update brings what has changed.
const viewer = element.querySelector(".viewer"), photo = element.querySelector(".photo");
const layer = element.querySelector(".layer"), cross = element.querySelector(".cross"), note = element.querySelector(".note");
const shown = {};
let at = [0.5, 0.5];

function place() {
  cross.style.left = `${100 * at[0]}%`;
  cross.style.top = `${100 * at[1]}%`;
}

function show() {
  const change = props.value || {};
  Object.assign(shown, change);
  if (change.photo !== undefined) photo.src = change.photo;
  if (change.title !== undefined) photo.alt = change.title;
  if (change.layer !== undefined) {
    layer.hidden = !change.layer;
    if (change.layer) layer.src = change.layer; else layer.removeAttribute("src");
  }
  if (change.note !== undefined) {
    note.hidden = !change.note;
    note.textContent = change.note;
  }
  if (change.cross !== undefined) {
    cross.hidden = change.cross === null;
    if (change.cross) at = change.cross;
    place();
  }
  viewer.classList.toggle("empty", !shown.photo);
}

function ask() {
  if (!shown.photo) return;
  cross.hidden = false;
  place();
  trigger("pick", { x: at[0], y: at[1] });
}

viewer.addEventListener("click", (event) => {
  const box = photo.getBoundingClientRect();
  if (!box.width) return;
  at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((v) => Math.min(Math.max(v, 0), 0.99999));
  ask();
});

viewer.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const move = moves[event.key];
  if (move && shown.photo) {
    const step = event.shiftKey ? 1 : 10;
    at = [at[0] + (step * move[0]) / photo.naturalWidth, at[1] + (step * move[1]) / photo.naturalHeight].map((v) => Math.min(Math.max(v, 0), 0.99999));
    cross.hidden = false;
    place();
    event.preventDefault();
  } else if (event.key === "Enter" || event.key === " ") {
    ask();
    event.preventDefault();
  }
});

// A tall image is as high as the window at most; the layer and the cross lie in the same box.
photo.addEventListener("load", () => { viewer.style.maxWidth = `calc(85vh * ${photo.naturalWidth / photo.naturalHeight})`; });

watch("value", show);
show();
