// A picture of another image opens it.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-name]");
  if (button) trigger("open", { split: button.dataset.split, name: button.dataset.name });
});
