"use strict";
// The system decides between light and dark until the reader does.
(() => {
  const root = document.documentElement;
  const stored = (() => { try { return localStorage.getItem("pixelcontrast-theme"); } catch { return null; } })();
  if (stored === "light" || stored === "dark") root.dataset.theme = stored;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("pixelcontrast-theme", root.dataset.theme); } catch { /* a file may have no storage */ }
  });
})();
