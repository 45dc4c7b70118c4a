"use strict";
(() => {
  const root = document.documentElement, button = document.getElementById("theme");
  const themes = ["system", "light", "dark"];
  let theme = 0;
  button.hidden = false;
  const turn = (to) => {
    theme = to;
    if (theme) root.dataset.theme = themes[theme]; else delete root.dataset.theme;
    button.querySelector("span").textContent = themes[theme];
  };
  button.addEventListener("click", () => turn((theme + 1) % 3));
  if (location.hash === "#dark") turn(2);

  const pairs = [...document.querySelectorAll("article.pair")];
  const selects = [...document.querySelectorAll("select[data-filter]")];
  const shown = document.getElementById("shown");
  const filter = () => {
    let seen = 0;
    for (const pair of pairs) {
      const keep = selects.every((s) => !s.value || JSON.parse(pair.dataset[s.dataset.filter]).includes(s.value));
      pair.hidden = !keep;
      seen += keep;
    }
    if (shown) shown.textContent = `${seen} of ${pairs.length} shown`;
  };
  for (const select of selects) select.addEventListener("change", filter);

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("select, input, textarea")) return;
    if (event.key !== "j" && event.key !== "k") return;
    const open = pairs.filter((pair) => !pair.hidden);
    const at = open.indexOf(document.activeElement.closest("article.pair"));
    const next = open[event.key === "j" ? at + 1 : Math.max(0, at - 1)];
    if (next) { next.focus({ preventScroll: true }); next.scrollIntoView({ block: "start" }); }
  });
  // A page on paper has no folds to open.
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
})();
