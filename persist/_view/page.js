"use strict";
(() => {
  const all = JSON.parse(document.getElementById("data").textContent);
  const app = document.getElementById("app");
  const HEIGHT = 22;  // pixels of a line of a list; style of .row
  const SVG = "http://www.w3.org/2000/svg";

  const TRUST = { d: "declared", k: "known to a pack", r: "opaque" };
  const STATS = ["min", "max", "mean", "std", "norm", "zeros", "nan", "inf", "flags"];

  // Every text of a file reaches the page through here: as text, never as markup.
  function make(tag, classes, ...inside) {
    const node = document.createElement(tag);
    if (classes) node.className = classes;
    for (const one of inside) node.append(one instanceof Node ? one : document.createTextNode(String(one)));
    return node;
  }
  function drawn(tag, facts, text) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(facts)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }
  function bytes(text) {
    const held = atob(text), out = new Uint8Array(held.length);
    for (let i = 0; i < held.length; i++) out[i] = held.charCodeAt(i);
    return out;
  }
  function table(rows, heads) {
    const out = make("table");
    if (heads) out.append(make("tr", "", ...heads.map((head) => make("th", "", head))));
    for (const row of rows) out.append(make("tr", "", ...row.map((cell, at) => at || heads ? make("td", "", cell) : make("th", "", cell))));
    return out;
  }

  // A list of any length, of which only the lines on the screen are in the page.
  function list(count, line) {
    const box = make("div", "list"), pad = make("div", "pad");
    let shown = count, at = [-1, -1];
    box.tabIndex = 0;
    box.append(pad);
    function draw(force) {
      const first = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - 10);
      const last = Math.min(shown, first + Math.ceil((box.clientHeight || 600) / HEIGHT) + 20);
      if (!force && first === at[0] && last === at[1]) return;
      at = [first, last];
      const rows = [];
      for (let i = first; i < last; i++) {
        const row = line(i);
        row.style.top = `${i * HEIGHT}px`;
        rows.push(row);
      }
      pad.replaceChildren(...rows);
    }
    function resize(number) {
      shown = number;
      pad.style.height = `${number * HEIGHT}px`;
      draw(true);
    }
    box.addEventListener("scroll", () => draw(false));
    requestAnimationFrame(() => resize(shown));
    return { box, resize, draw: () => draw(true) };
  }

  function treeView(data) {
    const rows = data.rows, open = new Uint8Array(rows.length), path = new Array(rows.length);
    const end = new Int32Array(rows.length), stack = [];
    rows.forEach(([depth, label], i) => {
      while (stack.length && rows[stack[stack.length - 1]][0] >= depth) end[stack.pop()] = i;
      const above = stack.length ? path[stack[stack.length - 1]] : "";
      path[i] = above && label ? `${above}/${label}` : above || label;
      open[i] = depth < 2 ? 1 : 0;
      stack.push(i);
    });
    while (stack.length) end[stack.pop()] = rows.length;
    let visible = [], picked = -1;
    const words = make("input"), kinds = make("select"), count = make("span", "soft"), side = make("div", "side");
    words.placeholder = "search paths, classes and values";
    words.id = "search";
    for (const [value, text] of [["", "everything"], ["a", "arrays"], ["r", "opaque: records of unknown classes"], ["k", "records known to a pack"], ["d", "records of declared classes"], ["v", "other values"], ["!", "arrays with NaN, Inf or only zeros"]]) {
      const option = make("option", "", text);
      option.value = value;
      kinds.append(option);
    }
    function choose() {
      const word = words.value.toLowerCase(), kind = kinds.value;
      visible = [];
      if (word || kind) {
        rows.forEach((row, i) => {
          if (kind === "!" ? !flags(data.arrays[row[4]]).length : kind && row[3] !== kind) return;
          if (!word || path[i].toLowerCase().includes(word) || row[2].toLowerCase().includes(word)) visible.push(i);
        });
      } else {
        for (let i = 0; i < rows.length; i = open[i] ? i + 1 : end[i]) visible.push(i);
      }
      count.textContent = `${visible.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} lines` + (data.cut ? `, more in the file` : "");
      lines.resize(visible.length);
    }
    const lines = list(0, (at) => {
      const i = visible[at], [depth, label, text, kind] = rows[i], flat = words.value || kinds.value;
      const has = end[i] > i + 1 && !flat;
      const row = make("div", i === picked ? "row on" : "row");
      const toggle = make("span", "toggle", has ? (open[i] ? "▾" : "▸") : "");
      row.append(" ".repeat(flat ? 0 : 2 * depth), toggle);
      if (label || flat) row.append(make("span", "label", flat ? path[i] || "(root)" : label), ": ");
      row.append(make("span", `k-${kind}`, text));
      const found = data.arrays[rows[i][4]];
      if (found && found.hist) row.append(" ", make("span", "spark", spark(bytes(found.hist))));
      for (const flag of flags(found)) row.append(" ", make("span", "mark dangerous", flag));
      if (TRUST[kind]) row.append(" ", make("span", `mark ${TRUST[kind].replaceAll(" ", "")}`, TRUST[kind]));
      row.addEventListener("click", () => {
        picked = i;
        if (has) { open[i] ^= 1; choose(); } else lines.draw();
        detail(i);
      });
      return row;
    });
    function detail(i) {
      const [, , text, , at] = rows[i], found = data.arrays[at];
      side.replaceChildren(make("div", "copy", path[i] || "(root)"), make("div", "", text));
      if (found) side.append(...arrayView(found));
    }
    words.addEventListener("input", choose);
    kinds.addEventListener("change", choose);
    const bar = make("div", "", words, " ", kinds, " ", count);
    const first = rows.findIndex((row) => row[3] === "a");
    choose();
    if (first >= 0) detail(first);
    return make("div", "", bar, make("div", "split box", lines.box, side));
  }

  // A histogram in block characters: the 24 bins in pairs, the taller of each.
  function spark(heights) {
    let text = "";
    for (let i = 0; i < heights.length; i += 2) text += "▁▂▃▄▅▆▇█"[Math.min(7, Math.max(heights[i], heights[i + 1] || 0) >> 5)];
    return text;
  }
  function flags(found) {
    return (found && found.stats && found.stats[STATS.indexOf("flags")]) || [];
  }
  function arrayView(found) {
    const out = [];
    if (found.error) out.push(make("div", "mark damage", found.error));
    if (found.note) out.push(make("div", "soft", found.note));
    for (const flag of flags(found)) out.push(make("span", "mark dangerous", flag), " ");
    if (found.stats) out.push(table(found.stats.map((value, at) => [STATS[at], value]).filter(([name, value]) => name !== "flags" && value !== 0)));
    if (found.hist) out.push(make("div", "soft", "histogram"), histogram(bytes(found.hist), found.stats));
    if (found.image) out.push(make("div", "soft", "as an image"), picture(found.image, false));
    if (found.heat) out.push(make("div", "soft", "heat map: blue below zero, red above; black is not finite"), picture(found.heat, true));
    return out;
  }
  function histogram(heights, stats) {
    const canvas = make("canvas"), draw = canvas.getContext("2d");
    canvas.width = 340; canvas.height = 96;
    draw.fillStyle = getComputedStyle(document.body).getPropertyValue("--bar") || "#0969da";
    const wide = 340 / heights.length;
    heights.forEach((height, i) => draw.fillRect(i * wide, 90 - height * 90 / 255, wide - 1, height * 90 / 255));
    return make("div", "", canvas, make("div", "soft", `${stats[0]} … ${stats[1]}`));
  }
  function picture(facts, isHeat) {
    const canvas = make("canvas"), draw = canvas.getContext("2d"), from = bytes(facts.d);
    canvas.width = facts.w; canvas.height = facts.h;
    const image = draw.createImageData(facts.w, facts.h), to = image.data;
    for (let i = 0; i < facts.w * facts.h; i++) {
      let r, g, b;
      if (isHeat) {
        const v = from[i];
        if (v === 255) r = g = b = 0;
        else if (v < 127) { r = g = 2 * v; b = 255; } else { r = 255; g = b = 2 * (254 - v); }
      } else if (facts.c === 3) [r, g, b] = [from[3 * i], from[3 * i + 1], from[3 * i + 2]];
      else r = g = b = from[i];
      to[4 * i] = r; to[4 * i + 1] = g; to[4 * i + 2] = b; to[4 * i + 3] = 255;
    }
    draw.putImageData(image, 0, 0);
    const scale = Math.max(1, Math.min(12, Math.floor(340 / Math.max(facts.w, facts.h))));
    canvas.style.width = `${facts.w * scale}px`;
    return canvas;
  }

  function curveView(curves) {
    return make("div", "curves", ...curves.map(({ name, points }) => {
      const svg = drawn("svg", { width: 320, height: 130, viewBox: "0 0 320 130" });
      const good = points.filter((y) => y !== null), low = Math.min(...good), high = Math.max(...good), span = high - low || 1;
      let line = [];
      const flush = () => { if (line.length) svg.append(drawn("polyline", { points: line.join(" ") })); line = []; };
      points.forEach((y, i) => y === null ? flush() : line.push(`${5 + i * 310 / Math.max(1, points.length - 1)},${115 - (y - low) / span * 100}`));
      flush();
      svg.append(drawn("text", { x: 5, y: 12 }, String(high)), drawn("text", { x: 5, y: 128 }, String(low)));
      return make("div", "box", make("div", "label", name), svg);
    }));
  }

  function graphView({ nodes, edges }) {
    const most = 400, n = Math.min(nodes.length, most), level = new Int32Array(n), next = Array.from({ length: n }, () => []), left = new Int32Array(n);
    for (const [a, b] of edges) if (a < n && b < n && a !== b) { next[a].push(b); left[b]++; }
    const todo = [...left.keys()].filter((i) => !left[i]);
    for (let at = 0; at < todo.length; at++) for (const b of next[todo[at]]) {
      level[b] = Math.max(level[b], level[todo[at]] + 1);
      if (!--left[b]) todo.push(b);
    }
    const column = new Map(), place = [];
    for (let i = 0; i < n; i++) {
      const x = column.get(level[i]) || 0;
      column.set(level[i], x + 1);
      place.push([20 + x * 210, 20 + level[i] * 64]);
    }
    const wide = Math.max(...place.map((p) => p[0])) + 220, high = Math.max(...place.map((p) => p[1])) + 60;
    const svg = drawn("svg", { width: wide, height: high, viewBox: `0 0 ${wide} ${high}`, id: "graph" });
    svg.style.maxWidth = "none";
    for (let a = 0; a < n; a++) for (const b of next[a]) {
      const [x, y] = place[a], [u, v] = place[b];
      svg.append(drawn("path", { d: `M${x + 95},${y + 40} C${x + 95},${y + 58} ${u + 95},${v - 18} ${u + 95},${v}` }));
    }
    const short = (text) => text.length > 26 ? `${text.slice(0, 12)}…${text.slice(-13)}` : text;
    for (let i = 0; i < n; i++) {
      const [x, y] = place[i], group = drawn("g", {});
      group.append(drawn("title", {}, `${nodes[i][0]}: ${nodes[i][1]}`), drawn("rect", { x, y, width: 190, height: 40, rx: 6 }),
        drawn("text", { x: x + 8, y: y + 16 }, short(nodes[i][1])), drawn("text", { x: x + 8, y: y + 33, opacity: 0.7 }, short(nodes[i][0])));
      svg.append(group);
    }
    const more = nodes.length > most ? `the first ${most} of ${nodes.length.toLocaleString("en")} nodes` : `${nodes.length} nodes`;
    return make("div", "", make("div", "soft", more), make("div", "graph", svg));
  }

  function mark(verdict) {
    return make("span", `mark ${verdict.replaceAll(" ", "")}`, verdict);
  }
  function lineList(items) {
    const view = list(items.length, (at) => make("div", "row", items[at]));
    return view.box;
  }
  function fileView(data) {
    const views = { Content: () => treeView(data) };
    if (data.graph) views.Network = () => graphView(data.graph);
    if (data.curves.length) views.Curves = () => curveView(data.curves);
    if (data.plan) views["What load does"] = () => make("div", "", ...data.plan.problems.map((one) => make("div", "box", mark("suspicious"), " ", one)), lineList(data.plan.lines));
    if (data.scan) views.Security = () => make("div", "",
      make("p", "", "What the framework that wrote it would import and call: ", mark(data.scan.verdict)),
      table(data.scan.findings.map(([verdict, text]) => [mark(verdict), text]), ["", "name"]), data.scan.more ? `and ${data.scan.more} more` : "");
    if (data.history.length) views.History = () => make("div", "", make("p", "soft", "How the file came about, the latest first. It is data of the file, and nothing else proves it."),
      ...data.history.map((entry) => make("div", "box", make("div", "label", entry.title), ...entry.lines.map((line) => make("div", "soft", line)))));
    views.About = () => make("div", "", table(Object.entries(data.classes).map(([name, count]) => [name, count, mark(data.trust[name])]), ["class", "number", "what is known of it"]), make("h3", "", "The file says"), table(data.structure));
    const nav = make("nav"), main = make("main");
    function go(name, button) {
      for (const one of nav.children) one.className = one === button ? "on" : "";
      main.replaceChildren(views[name]());
    }
    for (const name of Object.keys(views)) {
      const button = make("button", "", name);
      button.addEventListener("click", () => go(name, button));
      nav.append(button);
    }
    go("Content", nav.firstChild);
    return make("div", "", make("header", "", make("h1", "", data.name), table(data.facts),
      ...data.damage.map((note) => make("div", "box", make("span", "mark damage", "damage"), " ", note)),
      ...data.notes.map((note) => make("div", "box", note))), nav, main);
  }
  function folderView(data) {
    const at = location.hash.match(/^#file-(\d+)$/), page = at && data.pages[Number(at[1])];
    if (page) {
      const back = make("a", "", `← ${data.name}`);
      back.href = "#";
      return make("div", "", make("header", "", back), fileView(page));
    }
    const rows = data.files.map((file, i) => {
      const link = make("a", "", file.name);
      if (data.pages[i]) link.href = `#file-${i}`;
      if (file.error) return [link, "", "", "", file.error, ""];
      return [link, file.format, file.arrays.toLocaleString("en"), file.bytes.toLocaleString("en"), [file.writer, ...file.classes].filter(Boolean).join(", ") + (file.damage ? ` — damaged` : ""), file.verdict ? mark(file.verdict) : ""];
    });
    return make("div", "", make("header", "", make("h1", "", `${data.name}: ${data.files.length.toLocaleString("en")} files`)),
      make("main", "", table(rows, ["file", "format", "arrays", "bytes", "written by, classes", "loading runs"])));
  }
  function diffView(data) {
    const words = make("input"), count = make("span", "soft");
    let shown = data.items;
    words.placeholder = "search";
    const lines = list(shown.length, (at) => {
      const [kind, path, before, after, facts] = shown[at];
      const sign = kind === "removed" ? "- " : kind === "added" ? "+ " : "! ";
      const text = kind === "removed" ? before : kind === "added" ? after : `${kind} ${before} → ${after}` + (facts ? `  (${facts})` : "");
      return make("div", `row d-${kind}`, sign, make("span", "label", path), ": ", text);
    });
    function choose() {
      const word = words.value.toLowerCase();
      shown = data.items.filter((one) => one.join(" ").toLowerCase().includes(word));
      count.textContent = `${shown.length.toLocaleString("en")} differences` + (data.more ? `, ${data.more} more are not listed` : "");
      lines.resize(shown.length);
    }
    words.addEventListener("input", choose);
    choose();
    return make("div", "", make("header", "", make("h1", "", `${data.name} ↔ ${data.other}`)), make("main", "", words, " ", count, make("div", "box split", lines.box)));
  }
  function show() {
    const view = { file: fileView, folder: folderView, diff: diffView }[all.kind];
    app.replaceChildren(view(all));
    document.title = `persist view ${all.name}`;
    document.documentElement.dataset.ready = "yes";
  }
  addEventListener("hashchange", show);
  show();
})();
