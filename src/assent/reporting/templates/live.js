"use strict";
(() => {
  const frames = document.getElementById("frames"), state = document.getElementById("state");
  const every = 2000;
  let shown = null, version = null, loading = false;

  const say = (kind, text) => {
    if (state.textContent !== text) state.textContent = text;
    state.dataset.kind = kind;
  };
  // What a reader has set on the page: folds, fields, theme and the place. Fields keep their order between two pages;
  // the browser of pairs keeps its own.
  const fields = (doc) => [...doc.querySelectorAll("select, input, textarea, details")]
    .filter((field) => !field.closest("#browser"))
    .map((field, i) => [field.id || `${field.tagName}${i}`, field, field.matches("details") ? "open" : field.matches("[type=checkbox], [type=radio]") ? "checked" : "value"]);
  const kept = ({ contentDocument: doc, contentWindow: view }) => ({
    x: view.scrollX, y: view.scrollY, focus: doc.activeElement?.id, theme: doc.documentElement.dataset.theme,
    fields: new Map(fields(doc).map(([name, field, what]) => [name, field[what]])),
  });
  const restore = ({ contentDocument: doc, contentWindow: view }, was) => {
    for (let i = 0; i < 3 && was.theme !== doc.documentElement.dataset.theme; i++) doc.getElementById("theme")?.click();
    for (const [name, field, what] of fields(doc)) {
      const value = was.fields.get(name);
      if (value === undefined || field[what] === value) continue;
      field[what] = value;
      if (what !== "open") for (const event of ["input", "change"]) field.dispatchEvent(new Event(event, { bubbles: true }));
    }
    if (was.focus) doc.getElementById(was.focus)?.focus({ preventScroll: true });
    view.scrollTo({ left: was.x, top: was.y, behavior: "instant" });
  };

  const ready = async ({ contentDocument: doc }) => {
    for (let i = 0; i < 100 && doc.querySelector("#browser:not([data-ready])"); i++) await new Promise((done) => setTimeout(done, 50));
  };

  const load = () => {
    loading = true;
    const coming = document.createElement("iframe");
    coming.title = frames.dataset.title;
    coming.className = "coming";
    coming.addEventListener("load", async () => {
      const mark = coming.contentDocument?.querySelector("meta[name=version]");
      if (mark) await ready(coming);
      loading = false;
      if (!mark) { coming.remove(); return; }
      version = mark.content;
      if (shown) restore(coming, kept(shown));
      coming.classList.remove("coming");
      shown?.remove();
      shown = coming;
    });
    coming.src = "page";
    frames.append(coming);
  };

  const ask = async () => {
    try {
      const answer = await fetch("version", { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      const found = await answer.json();
      if (found.version !== version && !loading) load();
      // The bar is as light or dark as the page under it.
      document.documentElement.style.colorScheme = shown?.contentDocument.documentElement.dataset.theme || "";
      if (found.waiting) say("wait", "waiting");
      else if (found.note) say("wait", found.note);
      else say("live", `live: looked at ${new Date().toLocaleTimeString()}`);
    } catch {
      say("lost", "the server has stopped; this is the last page that it gave");
    }
  };
  const turn = async () => {
    if (!document.hidden || !shown) await ask();
    setTimeout(turn, every);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  turn();
})();
