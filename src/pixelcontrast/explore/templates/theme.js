element.addEventListener("click", (event) => {
  if (event.target.closest(".theme")) document.body.classList.toggle("dark");
});
