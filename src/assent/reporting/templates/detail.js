// One pair: its numbers, its labels, and both sides with the words in which they differ.
(() => {
  const SIDES = { chosen: "Stored as chosen", rejected: "Stored as rejected" };
  const MOST = 2e7; // cells of the comparison; longer texts are shown without one
  const segmenter = "Segmenter" in Intl ? new Intl.Segmenter(undefined, { granularity: "word" }) : null;
  const tokens = (text) => (segmenter && text.length < 50000 ? Array.from(segmenter.segment(text), (s) => s.segment) : text.match(/\s+|[^\s]+/gu) || []);

  // Marks the words of two texts that are in no longest common subsequence of theirs; null where they are too long.
  const differences = (a, b) => {
    let head = 0, tail = 0;
    while (head < a.length && head < b.length && a[head] === b[head]) head++;
    while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
    const n = a.length - head - tail, m = b.length - head - tail, width = m + 1;
    if (n * m > MOST) return null;
    const ids = new Map();
    const id = (word) => ids.get(word) ?? (ids.set(word, ids.size), ids.size - 1);
    const x = Int32Array.from({ length: n }, (_, i) => id(a[head + i])), y = Int32Array.from({ length: m }, (_, j) => id(b[head + j]));
    const best = new Uint16Array((n + 1) * width);
    for (let i = n - 1; i >= 0; i--) {
      for (let j = m - 1; j >= 0; j--) {
        best[i * width + j] = x[i] === y[j] ? best[(i + 1) * width + j + 1] + 1 : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
      }
    }
    const own = [new Uint8Array(a.length), new Uint8Array(b.length)];
    let i = 0, j = 0;
    while (i < n || j < m) {
      if (i < n && j < m && x[i] === y[j]) { i++; j++; }
      else if (j === m || (i < n && best[(i + 1) * width + j] >= best[i * width + j + 1])) own[0][head + i++] = 1;
      else own[1][head + j++] = 1;
    }
    return own;
  };
  const marked = (words, own, element) => {
    const out = [];
    for (let i = 0; i < words.length;) {
      let end = i;
      const differs = own[i];
      // Space between two differing words differs too: one mark reads better than many.
      while (end < words.length && (own[end] === differs || (differs && !words[end].trim() && own[end + 1]))) end++;
      const text = words.slice(i, end).join("");
      out.push(differs && text.trim() ? element("mark", {}, text) : text);
      i = end;
    }
    return out;
  };

  // A browser lays out one very long line in quadratic time: long texts come as blocks, cut behind a line or a word.
  const BLOCK = 3000;
  const blocks = (pieces, element) => {
    if (pieces.reduce((sum, piece) => sum + (piece.textContent ?? piece).length, 0) <= 4 * BLOCK) return pieces;
    const out = [];
    let own = [], room = BLOCK;
    const close = () => { if (own.length) out.push(element("div", { className: "block" }, ...own)); own = []; room = BLOCK; };
    for (const piece of pieces) {
      let rest = piece;
      while (typeof rest === "string" && rest.length > room) {
        const line = rest.lastIndexOf("\n", room - 1), word = rest.lastIndexOf(" ", room - 1);
        let end = (line > room / 2 ? line : word > 0 ? word : room - 1) + 1;
        if (/[\ud800-\udbff]/.test(rest[end - 1])) end++;
        own.push(rest.slice(0, end));
        rest = rest.slice(end);
        close();
      }
      own.push(rest);
      room -= (rest.textContent ?? rest).length;
      if (room <= 0) close();
    }
    close();
    return out;
  };

  let current = 0;
  const show = (run, i, tools) => {
    const { percent, number, count, element } = tools, detail = document.getElementById("detail");
    const mine = ++current;
    if (!run) { detail.replaceChildren(element("p", { className: "quiet" }, "No pair passes these filters.")); return; }
    const p = run.p[i], mark = run.marks.get(run.pair[i]);
    // Facts that this run cannot have (no reference, no margin of its objective) are left out.
    const fact = (name, values, digits, unit) => (values.some((v) => !Number.isNaN(v))
      ? [element("div", {}, element("dt", {}, name), element("dd", {}, `${values.map((v) => number(v, digits)).join(" and ")}${unit}`))] : []);
    const facts = element("dl", { className: "small-facts" },
      element("div", {}, element("dt", {}, "P(stored order is right)"), element("dd", {}, percent(p))),
      ...fact("margin", [run.margin[i]], 2, " nats"), ...fact("log-odds of the loss", [run.logit[i]], 2, " nats"),
      ...fact("tokens", [run.length_chosen[i], run.length_rejected[i]], 0, ""),
      ...fact("moved from the reference", [run.moved_chosen[i], run.moved_rejected[i]], 1, " nats"));
    const buttons = element("div", { className: "marks", role: "group", "aria-label": "Decide" },
      ...[["right", "Right", "the stored order is right"], ["flip", "Flip", "the other side is better"], ["drop", "Drop", "leave the pair out"]].map(([kind, word, why]) => {
        const button = element("button", { type: "button", title: why, disabled: Boolean(run.facts.undecidable) }, word);
        button.setAttribute("aria-pressed", String(mark === kind));
        button.addEventListener("click", () => { tools.mark(kind); document.querySelector(`#detail [aria-pressed][title="${why}"]`)?.focus(); });
        return button;
      }));
    const body = element("div", { className: "texts" });
    detail.replaceChildren(element("header", {}, element("h3", {}, `Pair ${run.pair[i]}`), buttons), facts, labels(run, i, tools), body);
    const texts = run.texts[i];
    if (texts) fill(body, texts, p, tools);
    else if (tools.live.pair) {
      body.append(element("p", { className: "quiet" }, "Reading the text …"));
      fetch(address(run, i, tools)).then((r) => (r.ok ? r.json() : Promise.reject(new Error(String(r.status)))))
        .then((found) => { if (mine === current) fill(body, found, p, tools); })
        .catch((error) => { if (mine === current) body.replaceChildren(element("p", { className: "cut" }, `The text cannot be read (${error.message}).`)); });
    } else {
      const why = run.facts.missing ? `No texts: ${run.facts.missing}.`
        : `This pair's text is not on the page, which holds ${count(run.facts.texts)} of ${count(run.facts.total)}: the most suspicious and some at random. "assent report --serve RUN" shows all.`;
      body.append(element("p", { className: "cut" }, why));
    }
    if (texts && tools.live.pair && cut(texts)) whole(body, run, i, p, tools);
  };
  const address = (run, i, { live }) => live.pair.replace("{run}", run.facts.index).replace("{pair}", run.pair[i]);
  const cut = (texts) => Object.keys(texts.length).some((side) => [...texts[side]].length < texts.length[side]);
  const whole = (body, run, i, p, tools) => {
    const button = tools.element("button", { type: "button" }, "Show the whole text");
    button.addEventListener("click", () => fetch(address(run, i, tools)).then((r) => r.json()).then((found) => fill(body, found, p, tools)));
    body.append(button);
  };
  const labels = (run, i, { percent, count, element, labels: own, ofLabel }) => {
    const lines = own(i).map((j) => {
      const says = run.label_p[j] === 0.5 ? "calls it a tie" : run.label_p[j] > 0.5 ? "prefers the chosen side" : "prefers the rejected side";
      const sure = run.label_p[j] > 0 && run.label_p[j] < 1 && run.label_p[j] !== 0.5 ? ` (${percent(run.label_p[j])})` : "";
      const rows = Array.from(run.row.subarray(run.line[j], run.line[j + 1]));
      const right = run.label_p[j] === 0.5 ? "" : `, ${percent(ofLabel(i, j))} likely right`;
      return element("li", {}, element("bdi", {}, run.names[run.annotator[j]]), ` ${says}${sure}${run.gold[j] ? ", known to be true" : right}`,
        element("span", { className: "quiet" }, !rows.length ? "" : ` row${rows.length > 1 ? "s" : ""} ${rows.slice(0, 8).join(", ")}${rows.length > 8 ? ` and ${count(rows.length - 8)} more` : ""}`));
    });
    return element("ul", { className: "labels" }, ...lines);
  };
  const fill = (body, texts, p, { element, count }) => {
    const text = (side, children) => {
      const shown = [...texts[side]].length, parts = [element("div", { className: "text", dir: "auto", lang: "" }, ...blocks(children, element))];
      if (!texts.length[side]) parts[0].append(element("span", { className: "quiet" }, "(empty)"));
      if (shown < texts.length[side]) parts.push(element("p", { className: "cut" }, `Cut here: ${count(texts.length[side] - shown)} of ${count(texts.length[side])} characters are not shown.`));
      return parts;
    };
    const prompt = (side, title) => element("section", { className: "prompt", "aria-label": title }, element("h4", {}, title), ...text(side, [texts[side]]));
    const words = [tokens(texts.chosen), tokens(texts.rejected)], own = differences(...words);
    const sides = Object.keys(SIDES).map((side, k) => {
      const estimate = Math.abs(p - 0.5) > 0.001 && (p > 0.5) === (k === 0);
      const title = element("span", {}, SIDES[side], ...(estimate ? [element("em", {}, " · the estimate prefers this")] : []));
      return element("section", { className: `side${estimate ? " estimate" : ""}`, "aria-label": SIDES[side] },
        element("h4", {}, title, element("span", {}, `${count(texts.length[side])} characters`)),
        ...text(side, own ? marked(words[k], own[k], element) : [texts[side]]));
    });
    const note = own ? [] : [element("p", { className: "cut" }, "These texts are too long to mark the words in which they differ.")];
    const prompts = "rejected_prompt" in texts ? [prompt("prompt", "Prompt of the chosen side"), prompt("rejected_prompt", "Prompt of the rejected side")] : [prompt("prompt", "Prompt")];
    body.replaceChildren(...prompts, element("div", { className: "sides" }, ...sides), ...note);
  };
  window.assentDetail = { show };
})();
