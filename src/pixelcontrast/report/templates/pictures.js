// Tabs over the groups of images, and pictures enlarged; arrows go through the pictures of one image in place.
(() => {
  const tabs = [...document.querySelectorAll("[data-tabs] button")];
  const groups = [...document.querySelectorAll(".examples")];
  const open = (wanted) => {
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.dataset.tab === wanted));
    for (const group of groups) group.hidden = group.dataset.panel !== wanted;
  };
  for (const group of groups) group.classList.add("tabbed");
  for (const tab of tabs) tab.addEventListener("click", () => open(tab.dataset.tab));
  if (tabs.length) open("1");
  addEventListener("beforeprint", () => { for (const group of groups) group.hidden = false; });
  addEventListener("afterprint", () => { const on = tabs.find((tab) => tab.getAttribute("aria-pressed") === "true"); if (on) open(on.dataset.tab); });

  const dialog = document.getElementById("zoomed");
  if (!dialog) return;
  let pictures = [];
  let at = 0;
  const show = (index) => {
    at = (index + pictures.length) % pictures.length;
    dialog.querySelector("img").src = pictures[at].src;
    dialog.querySelector("img").alt = pictures[at].alt;
    dialog.querySelector("p").textContent = `${pictures[at].alt} · ← → change the picture`;
  };
  for (const button of document.querySelectorAll(".zoom")) {
    button.addEventListener("click", () => {
      pictures = [...button.closest(".panels").querySelectorAll("img")];
      show(pictures.indexOf(button.querySelector("img")));
      dialog.showModal();
    });
  }
  dialog.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (move) { event.preventDefault(); show(at + move); }
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
})();
