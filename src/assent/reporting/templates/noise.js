// Every pair of a run: a list that draws only the rows in sight, filters, marks, and the file of decisions.
(() => {
  const browser = document.getElementById("browser");
  if (!browser) return;
  const $ = (id) => document.getElementById(id);
  const ROW = 34, PRINTED = 40;
  const KINDS = { u8: Uint8Array, u16: Uint16Array, i32: Int32Array, i16: Int16Array, f64: Float64Array };
  const json = (id) => { const e = $(id); return e ? JSON.parse(e.textContent) : null; };
  const live = json("live") || {};

  // ---- reading ---------------------------------------------------------------------------------------
  const inflate = async (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  };
  const column = (buffer, { at, size, type, scale, delta }) => {
    const stored = new KINDS[type](buffer, at, size);
    if (type === "i16") return Float32Array.from(stored, (v) => (v === -32768 ? NaN : v * scale));
    if (!delta) return stored;
    const whole = new Float64Array(size);
    for (let i = 0, sum = 0; i < size; i++) whole[i] = sum += stored[i];
    return whole;
  };
  const starts = (counts) => {
    const out = new Uint32Array(counts.length + 1);
    for (let i = 0; i < counts.length; i++) out[i + 1] = out[i] + counts[i];
    return out;
  };
  const open = async (index) => {
    const { columns, data, ...facts } = json(`numbers-${index}`);
    const buffer = await inflate(data);
    const run = { index, facts, marks: new Map(), names: [], texts: {} };
    for (const c of columns) run[c.name] = column(buffer, c);
    run.count = run.pair.length;
    if (run.label_count) { run.label = starts(run.label_count); run.line = starts(run.row_count); }
    for (const [pair, mark] of recall(key(run)) || []) if (WORDS[mark]) run.marks.set(pair, mark);
    return run;
  };
  const texts = async (run) => Object.assign(run, JSON.parse(new TextDecoder().decode(await inflate(json(`words-${run.index}`).data))));
  // What is kept for a reload. A browser may refuse storage: marks then live as long as the page.
  const key = (run) => `assent:${run.facts.run}:${run.facts.sha256}`;
  const keep = (name, value) => { try { sessionStorage.setItem(name, JSON.stringify(value)); } catch { /* refused */ } };
  const recall = (name) => { try { return JSON.parse(sessionStorage.getItem(name)); } catch { return null; } };

  // ---- numbers and elements ---------------------------------------------------------------------------
  const WORDS = { right: "right", flip: "flip", drop: "drop" };
  const percent = (p) => (Number.isNaN(p) ? "–" : p > 0 && p < 0.0005 ? "< 0.1 %" : p < 1 && p > 0.9995 ? "> 99.9 %" : `${(100 * p).toFixed(1)} %`);
  const number = (v, digits = 2) => (Number.isNaN(v) ? "–" : (Math.abs(v) < 0.5 * 10 ** -digits ? 0 : v).toFixed(digits).replace("-", "−"));
  const short = (name) => ([...name].length > 40 ? `${[...name].slice(0, 39).join("")}…` : name);
  const count = (n) => n.toLocaleString("en");
  const element = (tag, properties = {}, ...children) => {
    const e = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in e && name !== "role") e[name] = value; else e.setAttribute(name, value);
    }
    e.append(...children);
    return e;
  };

  let run, view = new Uint32Array(0), at = 0, only = -1;

  // P of a pair, or of the label of the one annotator that is shown.
  const labels = (i) => (run.label ? Array.from({ length: run.label[i + 1] - run.label[i] }, (_, k) => run.label[i] + k) : []);
  const ofLabel = (i, j) => (run.label_p[j] === 0.5 ? NaN : run.label_p[j] > 0.5 ? run.p[i] : 1 - run.p[i]);
  const shownP = (i) => {
    if (only < 0) return run.p[i];
    const j = labels(i).find((k) => run.annotator[k] === only);
    return j === undefined ? NaN : ofLabel(i, j);
  };
  const disagree = (i) => {
    const p = labels(i).map((j) => run.label_p[j]);
    return Math.min(...p) < 0.5 && Math.max(...p) > 0.5;
  };

  // ---- the view: which pairs, in which order ----------------------------------------------------------
  const KEYS = {
    p: shownP, margin: (i) => run.margin[i], moved: (i) => run.moved_chosen[i], pair: (i) => run.pair[i],
    gap: (i) => run.length_chosen[i] - run.length_rejected[i],
  };
  const SHOW = {
    low: (i) => shownP(i) < 0.5, middle: (i) => shownP(i) >= 0.5 && shownP(i) <= 0.9, high: (i) => shownP(i) > 0.9,
    split: disagree, text: (i) => i in run.texts, marked: (i) => run.marks.has(run.pair[i]),
  };
  const found = (words) => {
    if (!words) return () => true;
    if (/^#?\d+$/.test(words)) return (i) => run.pair[i] === Number(words.replace("#", ""));
    const wanted = words.toLocaleLowerCase();
    return (i) => i in run.texts && ["prompt", "chosen", "rejected"].some((side) => run.texts[i][side].toLocaleLowerCase().includes(wanted));
  };
  const CONTROLS = ["order", "show", "annotator", "find"];
  const select = (still, pair) => {
    if (!run) return;
    only = $("annotator").value === "" ? -1 : Number($("annotator").value);
    const show = SHOW[$("show").value] || (() => true), match = found($("find").value.trim());
    const theirs = only < 0 ? () => true : (i) => labels(i).some((j) => run.annotator[j] === only);
    const order = $("order").value, sign = order[0] === "-" ? -1 : 1, by = KEYS[order.replace("-", "")];
    const chosen = [], keys = new Float64Array(run.count);
    for (let i = 0; i < run.count; i++) {
      if (!theirs(i) || !show(i) || !match(i)) continue;
      const value = by(i);
      keys[i] = Number.isNaN(value) ? Infinity : sign * value;
      chosen.push(i);
    }
    const before = still ? view[at] : run.pair.indexOf(pair);
    view = Uint32Array.from(chosen).sort((a, b) => keys[a] - keys[b] || a - b);
    at = Math.max(0, view.indexOf(before));
    const all = run.facts.total > run.count ? `${count(run.count)} most suspicious of ${count(run.facts.total)}` : count(run.count);
    $("shown").textContent = `${count(view.length)} of ${all} pairs`;
    $("rows").style.height = `${view.length * ROW}px`;
    move(at, still);
  };

  // ---- the list ---------------------------------------------------------------------------------------
  const list = $("list"), rows = $("rows");
  const row = (place) => {
    const i = view[place], p = shownP(i), mark = run.marks.get(run.pair[i]);
    const who = labels(i).map((j) => run.names[run.annotator[j]]).join(", ");
    const bar = element("span", { className: "meter" });
    bar.style.setProperty("--p", Number.isNaN(p) ? 0 : p);
    const e = element("div", { className: `row${p < 0.5 ? " low" : ""}`, id: `pair-${i}`, role: "option" },
      element("span", { className: `mark ${mark || ""}` }, mark ? { right: "✓", flip: "⇄", drop: "✕" }[mark] : ""),
      element("span", {}, String(run.pair[i])), element("span", { className: "p" }, bar, percent(p)),
      element("span", { className: "num" }, number(run.margin[i])), element("bdi", {}, who));
    e.style.transform = `translateY(${place * ROW}px)`;
    e.setAttribute("aria-selected", String(place === at));
    e.setAttribute("aria-setsize", String(view.length));
    e.setAttribute("aria-posinset", String(place + 1));
    e.setAttribute("aria-label", `pair ${run.pair[i]}, probability right ${percent(p)}, margin ${number(run.margin[i])}${who && `, ${who}`}${mark ? `, marked ${mark}` : ""}`);
    e.addEventListener("click", () => move(place));
    return e;
  };
  const draw = (from, to) => {
    const first = from ?? Math.max(0, Math.floor(list.scrollTop / ROW) - 6);
    const last = Math.min(view.length, to ?? first + Math.ceil(list.clientHeight / ROW) + 12);
    rows.replaceChildren(...Array.from({ length: Math.max(0, last - first) }, (_, k) => row(first + k)));
    if (view.length) list.setAttribute("aria-activedescendant", `pair-${view[at]}`);
    else list.removeAttribute("aria-activedescendant");
  };
  const move = (place, still) => {
    at = Math.max(0, Math.min(view.length - 1, place));
    const top = at * ROW;
    if (!still && (top < list.scrollTop || top + ROW > list.scrollTop + list.clientHeight)) {
      list.scrollTop = top < list.scrollTop ? top : top + ROW - list.clientHeight;
    }
    draw();
    keep(`${key(run)}:view`, { pair: run.pair[view[at]], ...Object.fromEntries(CONTROLS.map((id) => [id, $(id).value])) });
    window.assentDetail.show(view.length ? run : null, view[at], { percent, number, count, element, labels, ofLabel, mark, live });
  };
  let waiting = false;
  list.addEventListener("scroll", () => {
    if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
    waiting = true;
  });

  // ---- marks and decisions ----------------------------------------------------------------------------
  const mark = (kind) => {
    if (!view.length || run.facts.undecidable) return;
    const pair = run.pair[view[at]];
    if (!kind || run.marks.get(pair) === kind) run.marks.delete(pair); else run.marks.set(pair, kind);
    keep(key(run), [...run.marks]);
    counted();
    move(at, true);
  };
  const counted = () => {
    const n = run.marks.size;
    $("download").textContent = `Download decisions${n ? ` (${count(n)})` : ""}`;
    $("download").disabled = $("forget").disabled = !n;
  };
  // A mark speaks of the stored order; a row whose own label names the other order is turned for "right", not for "flip".
  const decisions = () => {
    const lines = [], pairs = new Map(Array.from(run.pair, (pair, i) => [pair, i]));
    let open = 0;
    for (const [pair, kind] of run.marks) {
      const i = pairs.get(pair);
      if (i === undefined) continue;
      for (const j of labels(i)) {
        const p = run.label_p[j], single = run.line[j + 1] - run.line[j] === 1;
        for (let l = run.line[j]; l < run.line[j + 1]; l++) {
          if (kind === "drop") lines.push({ row: run.row[l], decision: kind });
          else if (p === 0.5 || !(single || p === 0 || p === 1)) open++;
          else lines.push({ row: run.row[l], decision: (p > 0.5) === (kind === "right") ? "right" : "flip" });
        }
      }
    }
    return [lines.sort((a, b) => a.row - b.row), open];
  };
  $("download").addEventListener("click", () => {
    const [lines, open] = decisions();
    const body = [{ schema: 1, sha256: run.facts.sha256 }, ...lines].map((line) => `${JSON.stringify(line)}\n`).join("");
    const link = element("a", { href: URL.createObjectURL(new Blob([body], { type: "application/jsonl" })), download: "decisions.jsonl" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    $("decided").textContent = `${count(lines.length)} rows decided.` +
      (open ? ` ${count(open)} rows are left as they are: ties, or labels of one annotator that contradict each other; drop such a pair instead.` : "");
  });
  $("forget").addEventListener("click", () => {
    run.marks.clear();
    keep(key(run), []);
    counted();
    select(true);
  });

  // ---- keys, controls, paper --------------------------------------------------------------------------
  const page = () => Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
  const MOVES = {
    ArrowDown: () => at + 1, ArrowUp: () => at - 1, j: () => at + 1, k: () => at - 1, Home: () => 0, End: () => view.length - 1,
    PageDown: () => at + page(), PageUp: () => at - page(),
  };
  const MARKS = { r: "right", f: "flip", d: "drop", u: "" };
  browser.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("select, input, textarea")) return;
    const inList = event.target === list || "jk".includes(event.key);
    if (event.key in MOVES && inList) move(MOVES[event.key]());
    else if (event.key in MARKS) mark(MARKS[event.key]);
    else return;
    event.preventDefault();
  });
  for (const id of CONTROLS.slice(0, 3)) $(id).addEventListener("change", () => select());
  let typing;
  $("find").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => select(), 120); });
  addEventListener("beforeprint", () => { rows.style.height = "auto"; draw(0, Math.min(view.length, PRINTED)); });
  addEventListener("afterprint", () => { rows.style.height = `${view.length * ROW}px`; draw(); });
  addEventListener("resize", () => run && draw());

  let asked = 0;
  const use = async (index) => {
    const mine = ++asked;
    if (!("DecompressionStream" in window)) throw new Error("this browser cannot unpack them; a newer one can");
    const opened = await open(index);
    await texts(opened);
    if (mine !== asked) return;
    run = opened;
    $("rests").textContent = run.facts.rests;
    const counts = new Map();
    for (const k of run.annotator || []) counts.set(k, (counts.get(k) || 0) + 1);
    const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 300);
    $("annotator").replaceChildren(element("option", { value: "" }, "all"),
      ...most.map(([k, n]) => element("option", { value: String(k) }, `${short(run.names[k])} (${count(n)})`)));
    $("by-annotator").hidden = most.length < 2;
    $("decide-how").textContent = run.facts.undecidable ? `Marks cannot be carried out: ${run.facts.undecidable}.` :
      "Marks stay in this tab. The file of decisions is carried out by: assent audit DATA --apply decisions.jsonl --out FOLDER";
    browser.hidden = false;
    $("pairs-state").hidden = true;
    counted();
    const was = recall(`${key(run)}:view`) || {};
    for (const id of CONTROLS) {
      $(id).value = was[id] || "";
      if ($(id).selectedIndex === -1 || (id === "order" && !was[id])) $(id).selectedIndex = 0;
    }
    select(false, was.pair);
    browser.dataset.ready = "";
  };
  const fail = (error) => { $("pairs-state").hidden = false; $("pairs-state").textContent = `The pairs cannot be shown: ${error.message}.`; };
  if ($("which")) $("which").addEventListener("change", () => use(Number($("which").value)).catch(fail));
  use(0).catch(fail);
})();
