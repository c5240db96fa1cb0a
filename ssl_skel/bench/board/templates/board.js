"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);

  // Light, dark, or what the system says; before the page is drawn. Storage may be closed to pages from disk.
  const names = ["auto", "light", "dark"];
  const remember = (value) => { try { localStorage.setItem("ssl-skel-theme", value); } catch { /* not kept */ } };
  const recall = () => { try { return localStorage.getItem("ssl-skel-theme"); } catch { return null; } };
  const dress = (value) => {
    if (value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = value;
  };
  let current = names.includes(recall()) ? recall() : "auto";
  dress(current);

  const themes = () => {
    const button = one("#theme"), say = () => { one("span", button).textContent = current; };
    say();
    button.hidden = false;
    button.addEventListener("click", () => {
      current = names[(names.indexOf(current) + 1) % names.length];
      dress(current);
      remember(current);
      say();
    });
  };

  // Rows unfold; a click anywhere on a row does what its button does.
  const details = () => {
    for (const button of all("button.more")) {
      button.addEventListener("click", () => {
        const detail = document.getElementById(button.getAttribute("aria-controls"));
        detail.hidden = !detail.hidden;
        button.setAttribute("aria-expanded", String(!detail.hidden));
      });
      button.closest("tr").addEventListener("click", (event) => {
        if (!event.target.closest("a, button, summary") && !String(getSelection())) button.click();
      });
    }
    for (const button of all("button.unfold")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        one("table", button.previousElementSibling).classList.remove("folded");
        button.remove();
      });
    }
  };

  // Columns sort; a row that has no value stays at the end in either direction.
  const compare = (type, sign) => (a, b) => {
    if (type === "text") return sign * a.key.localeCompare(b.key, "en", { numeric: true }) || a.place - b.place;
    const x = a.key === "" ? NaN : Number(a.key), y = b.key === "" ? NaN : Number(b.key);
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a.place - b.place;
    return sign * (x - y) || a.place - b.place;
  };
  const sort = (button) => {
    const heading = button.closest("th"), table = button.closest("table");
    const column = [...heading.parentNode.children].indexOf(heading);
    const now = heading.getAttribute("aria-sort");
    const falling = button.dataset.type === "number" && !heading.classList.contains("c-rank");
    const next = now ? (now === "ascending" ? "descending" : "ascending") : falling ? "descending" : "ascending";
    for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", next);
    const rows = all("tbody.entry", table).map((body, place) => ({
      body, place, key: body.rows[0].cells[column].dataset.key ?? "" }));
    rows.sort(compare(button.dataset.type, next === "ascending" ? 1 : -1));
    if (table.classList.contains("folded")) rows.forEach((row, place) => row.body.classList.toggle("later", place >= 15));
    table.append(...rows.map((row) => row.body));
    const told = one("#sorted");
    if (told) told.textContent = `${one("caption", table).textContent.split(":")[0]}: sorted by ${button.textContent.trim()}, ${next}`;
  };

  // Of the overview, the columns whose table fits, and the rows that have a value in one of them.
  const overview = (fits, matches, active) => {
    const section = one("section[data-overview]");
    if (!section) return;
    for (const part of all(".overviews", section)) {
      const heads = all("thead th", part), keys = ["dataset", "split", "evaluator"];
      const open = heads.map((head, place) => !place || fits(head.dataset, keys));
      heads.forEach((head, place) => { head.hidden = !open[place]; });
      for (const entry of all("tbody.entry", part)) {
        const cells = [...entry.rows[0].cells];
        cells.forEach((cell, place) => { cell.hidden = !open[place]; });
        const empty = cells.every((cell, place) => !place || cell.hidden || cell.dataset.key === "");
        entry.hidden = !matches(entry.dataset) || (active && empty);
      }
      part.hidden = all("tbody.entry", part).every((entry) => entry.hidden);
    }
    section.hidden = all(".overviews", section).every((part) => part.hidden);
  };

  // Filters and search.
  const filters = () => {
    const form = one("#filters");
    if (!form) return;
    const search = one("#search"), shown = one("#shown"), selects = all("select[data-filter]", form);
    const apply = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = Object.fromEntries(selects.map((select) => [select.dataset.filter, select.value]));
      const fits = (data, keys) => keys.every((key) => !wanted[key] || data[key] === wanted[key]);
      const matches = (data) => fits(data, ["family", "backbone"]) && words.every((word) => data.search.includes(word));
      const active = words.length > 0 || selects.some((select) => select.value);
      document.body.classList.toggle("filtered", active);
      let count = 0, total = 0;
      for (const section of all("section[data-dataset]")) {
        const place = fits(section.dataset, ["dataset", "split", "evaluator"]);
        let left = 0;
        for (const entry of all("tbody.entry", section)) {
          entry.hidden = !(place && matches(entry.dataset));
          left += !entry.hidden;
          total += 1;
        }
        count += left;
        // Without a filter a table that has no row still says why.
        section.hidden = active && left === 0;
      }
      overview(fits, matches, active);
      for (const plot of all("#ranks [data-evaluator]")) plot.hidden = !fits(plot.dataset, ["evaluator"]);
      const ranks = one("#ranks");
      if (ranks) ranks.hidden = all("[data-evaluator]", ranks).every((plot) => plot.hidden);
      const said = `${total} row${total === 1 ? "" : "s"}`;
      shown.textContent = count === total ? said : `${count} of ${said}`;
      one("#none").hidden = !active || count > 0;
    };
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(apply));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    apply();
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest("input, select, textarea");
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); search.focus(); }
    });
  };

  const copies = () => {
    for (const button of all("button.copy")) {
      if (!navigator.clipboard) continue;
      button.hidden = false;
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
          button.textContent = "Copied";
        } catch {
          button.textContent = "Not allowed here";
        }
      });
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    themes();
    details();
    for (const button of all("button.sort")) button.addEventListener("click", () => sort(button));
    filters();
    copies();
  });
})();
