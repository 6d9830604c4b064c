"use strict";
// The page reads without this script; it adds themes, sorting, downloads, filters and a place mark in the navigation.
(() => {
  const root = document.documentElement;
  const THEMES = ["auto", "light", "dark"];
  const remember = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* private window */ } };
  const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const setTheme = (theme) => {
    if (theme === "auto") root.removeAttribute("data-theme"); else root.dataset.theme = theme;
    for (const button of document.querySelectorAll(".theme button")) {
      button.setAttribute("aria-pressed", String(button.value === theme));
    }
  };
  const startTheme = THEMES.includes(remembered()) ? remembered() : "auto";
  setTheme(startTheme); // before the first paint

  const make = (tag, attributes = {}, text = "") => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };
  const say = (text) => { document.querySelector(".said").textContent = text; };

  const addThemes = () => {
    const group = make("div", { class: "theme", role: "group", "aria-label": "Colours" });
    for (const theme of THEMES) {
      const button = make("button", { type: "button", value: theme }, theme[0].toUpperCase() + theme.slice(1));
      button.addEventListener("click", () => { setTheme(theme); remember(theme); });
      group.append(button);
    }
    document.querySelector(".theme-place").append(group);
    setTheme(startTheme);
  };

  // ---- tables
  const raw = (cell) => (cell.dataset.v !== undefined ? cell.dataset.v : cell.textContent.trim());
  const absent = (text) => text === "" || text === "–";
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  };
  const sortBy = (table, column, direction) => {
    const rows = [...table.tBodies[0].rows].map((row) => [raw(row.cells[column]), row]);
    rows.sort(([a], [b]) => absent(a) - absent(b) || (absent(a) ? 0 : direction * compare(a, b)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      if (i === column) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
  };
  const addSorting = (table) => {
    if (table.tBodies[0].rows.length < 2) return;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button", { type: "button", class: "sort" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        sortBy(table, column, head.getAttribute("aria-sort") === "ascending" ? -1 : 1);
      });
    });
  };
  const quote = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const csv = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...table.tBodies[0].rows];
    const interval = heads.map((_, i) => rows.some((row) => row.cells[i].dataset.n !== undefined));
    const names = heads.flatMap(({ dataset: { name } }, i) =>
      (interval[i] ? [name, `${name}_low`, `${name}_high`, `${name}_n`] : [name]));
    const values = rows.map((row) => [...row.cells].flatMap((cell, i) => {
      const value = absent(raw(cell)) ? "" : raw(cell);
      return interval[i] ? [value, cell.dataset.l ?? "", cell.dataset.h ?? "", cell.dataset.n ?? ""] : [value];
    }));
    return [names, ...values].map((row) => `${row.map(quote).join(",")}\r\n`).join("");
  };

  // ---- downloads
  const download = (name, type, text) => {
    const url = URL.createObjectURL(new Blob([text], { type }));
    const link = make("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    say(`${name} downloaded`);
  };
  const lightColours = () => { // role -> colour, from the declarations "--c0: light-dark(#…, #…)"
    const found = {};
    for (const rule of document.styleSheets[0].cssRules) {
      if (rule.selectorText !== ":root") continue;
      for (const name of rule.style) {
        const match = /light-dark\(\s*([^,]+),/.exec(rule.style.getPropertyValue(name));
        if (match) found[name.slice(2)] = match[1].trim();
      }
    }
    return found;
  };
  const standalone = (svg) => {
    const colours = lightColours();
    const copy = svg.cloneNode(true);
    for (const element of copy.querySelectorAll("[class]")) {
      const halo = element.classList.contains("halo");
      for (const name of element.classList) {
        const property = { f: "fill", s: "stroke" }[name.slice(0, 2).replace("-", "")];
        if (property && colours[name.slice(2)]) element.setAttribute(property, colours[name.slice(2)]);
      }
      if (halo) {
        for (const [name, value] of [["paint-order", "stroke"], ["stroke", colours.paper], ["stroke-width", "3"]]) {
          element.setAttribute(name, value);
        }
      }
      element.removeAttribute("class");
    }
    const box = copy.viewBox.baseVal;
    const paper = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of [["width", box.width], ["height", box.height], ["fill", colours.paper]]) {
      paper.setAttribute(name, value);
    }
    copy.prepend(paper);
    for (const [name, value] of [["width", box.width], ["height", box.height], ["fill", colours.ink],
      ["font-family", "Helvetica Neue, Helvetica, Arial, sans-serif"]]) {
      copy.setAttribute(name, value);
    }
    copy.removeAttribute("class");
    return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(copy)}\n`;
  };
  const addTool = (place, text, label, act) => {
    const button = make("button", { type: "button", class: "tool", "aria-label": label }, text);
    button.addEventListener("click", act);
    place.append(button);
  };
  const addDownloads = () => {
    for (const box of document.querySelectorAll(".table-box")) {
      const place = make("div", { class: "tools" });
      const table = box.querySelector("table");
      addTool(place, "CSV", `Download as CSV: ${table.caption.textContent}`, () =>
        download(`${box.id}.csv`, "text/csv;charset=utf-8", csv(table)));
      box.append(place);
    }
    for (const figure of document.querySelectorAll("figure[data-file]")) {
      const place = make("div", { class: "tools" });
      addTool(place, "SVG", `Download figure ${figure.dataset.file} as SVG`, () =>
        download(`${figure.dataset.file}.svg`, "image/svg+xml", standalone(figure.querySelector("svg.plot"))));
      figure.querySelector(".under").append(place);
    }
  };

  // ---- the field that narrows down the folded tables of a section
  const addFilter = (place) => {
    const tables = [...place.parentElement.querySelectorAll("details.data")].map((details) => ({
      details,
      name: details.querySelector("summary").textContent.toLowerCase(),
      rows: [...details.querySelector("tbody").rows].map((row) => {
        const [first, second] = row.cells; // the condition, by title and by name, and the part of the network
        return [row, `${first.textContent} ${first.dataset.v ?? ""} ${second.textContent}`.toLowerCase()];
      }),
    }));
    const field = make("input", { type: "search", id: `filter-${place.parentElement.id}`, autocomplete: "off" });
    const shown = make("p", { class: "shown", role: "status" });
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let [left, lines] = [0, 0];
      for (const { details, name, rows } of tables) {
        const missing = words.filter((word) => !name.includes(word)); // the rest is asked of every row
        let kept = 0;
        for (const [row, text] of rows) {
          row.hidden = !missing.every((word) => text.includes(word));
          kept += !row.hidden;
        }
        details.hidden = !kept;
        left += kept > 0;
        lines += kept;
      }
      const all = `${left} of ${tables.length} measurements, ${lines.toLocaleString("en")} ${lines === 1 ? "line" : "lines"}`;
      shown.textContent = words.length ? (left ? all : "Nothing matches all of these words.") : "";
    });
    place.append(make("label", { for: field.id }, "Filter by words of a measurement, condition, layer or parameter"), field, shown);
  };

  // ---- navigation
  const markPlace = () => {
    const links = [...document.querySelectorAll("nav ol a")];
    const sections = [...document.querySelectorAll("main > section[id]")];
    const update = () => {
      const current = sections.findLast((section) => section.getBoundingClientRect().top < innerHeight * 0.35);
      for (const link of links) {
        if (current && link.hash === `#${current.id}`) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    };
    let waiting = false;
    addEventListener("scroll", () => {
      if (!waiting) requestAnimationFrame(() => { waiting = false; update(); });
      waiting = true;
    }, { passive: true });
    requestAnimationFrame(update); // it asks for positions: not before the page is laid out anyway
    const pocket = document.querySelector(".pocket details");
    if (!pocket) return;
    pocket.addEventListener("click", (event) => { if (event.target.closest("a")) pocket.open = false; });
    addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !pocket.open) return;
      pocket.open = false;
      pocket.querySelector("summary").focus();
    });
  };
  const openTarget = (event) => { // a link into something folded unfolds it; at the start the new buttons have moved the target
    const found = location.hash.match(/^#([a-z0-9-]+)$/); // as every anchor of a page is; nothing else can be decoded wrongly
    const target = found && document.getElementById(found[1]);
    const folded = target && target.closest("details:not([open])");
    if (folded) folded.open = true;
    if (folded || (target && !event)) target.scrollIntoView({ behavior: "instant" });
  };
  const scrollBoxes = () => { // only what really scrolls is a stop for the keyboard
    const observer = new ResizeObserver((entries) => {
      for (const { target } of entries) {
        const scrolls = target.scrollWidth > target.clientWidth + 1 || target.scrollHeight > target.clientHeight + 1;
        if (scrolls) target.setAttribute("tabindex", "0"); else target.removeAttribute("tabindex");
        target.classList.toggle("more", target.scrollWidth > target.clientWidth + 1);
      }
    });
    for (const box of document.querySelectorAll(".scroll")) observer.observe(box);
  };
  const printing = () => {
    let opened = [];
    addEventListener("beforeprint", () => {
      opened = [...document.querySelectorAll("details.made:not([open])")];
      for (const details of opened) details.open = true;
    });
    addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
  };

  document.addEventListener("DOMContentLoaded", () => {
    root.classList.add("js");
    addThemes();
    for (const table of document.querySelectorAll(".table-box table")) addSorting(table);
    addDownloads();
    for (const place of document.querySelectorAll(".filter-place")) addFilter(place);
    markPlace();
    scrollBoxes();
    printing();
    openTarget();
    addEventListener("hashchange", openTarget);
  });
})();
