// Before the first paint: the theme that was chosen, else the system's.
(() => {
  "use strict";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try { return localStorage.getItem("painter-theme"); } catch { return null; }
  };
  const show = () => { root.dataset.theme = stored() ?? (system.matches ? "dark" : "light"); };
  const isDark = () => root.dataset.theme === "dark";
  show();
  system.addEventListener("change", show);
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const tell = () => button.setAttribute("aria-pressed", String(isDark()));
    tell();
    system.addEventListener("change", tell);
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try { localStorage.setItem("painter-theme", root.dataset.theme); } catch { /* a private window */ }
      tell();
    });
  });
})();
