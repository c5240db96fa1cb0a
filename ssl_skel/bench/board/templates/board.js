"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);

  // Rows unfold.
  for (const button of all("button.more")) {
    button.addEventListener("click", () => {
      const detail = document.getElementById(button.getAttribute("aria-controls"));
      detail.hidden = !detail.hidden;
      button.setAttribute("aria-expanded", String(!detail.hidden));
    });
  }

  // Columns sort; a row that has no value stays at the end in either direction.
  const compare = (type, sign) => (a, b) => {
    if (type === "text") return sign * a.key.localeCompare(b.key, "en", { numeric: true }) || a.place - b.place;
    const x = a.key === "" ? NaN : Number(a.key), y = b.key === "" ? NaN : Number(b.key);
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a.place - b.place;
    return sign * (x - y) || a.place - b.place;
  };
  for (const button of all("button.sort")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th"), table = button.closest("table");
      const column = [...heading.parentNode.children].indexOf(heading);
      const now = heading.getAttribute("aria-sort");
      const numbers = button.dataset.type === "number" && !heading.classList.contains("c-rank");
      const next = now ? (now === "ascending" ? "descending" : "ascending") : numbers ? "descending" : "ascending";
      for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", next);
      const rows = all("tbody.entry", table).map((body, place) => ({
        body, place, key: body.rows[0].cells[column].dataset.key ?? "" }));
      rows.sort(compare(button.dataset.type, next === "ascending" ? 1 : -1));
      table.append(...rows.map((row) => row.body));
      one("#sorted").textContent = `${one("caption", table).textContent.split(":")[0]}: sorted by ${button.textContent.trim()}, ${next}`;
    });
  }

  // Filters and search.
  const form = one("#filters"), search = one("#search"), shown = one("#shown");
  const selects = all("select[data-filter]", form);
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = Object.fromEntries(selects.map((select) => [select.dataset.filter, select.value]));
    const fits = (data, names) => names.every((name) => !wanted[name] || data[name] === wanted[name]);
    let count = 0, total = 0;
    for (const section of all("section[data-dataset], section[data-overview]")) {
      const place = "overview" in section.dataset || fits(section.dataset, ["dataset", "split", "evaluator"]);
      let left = 0;
      for (const entry of all("tbody.entry", section)) {
        const text = entry.dataset.search;
        entry.hidden = !(place && fits(entry.dataset, ["family", "backbone"]) && words.every((word) => text.includes(word)));
        left += !entry.hidden;
        if (!("overview" in section.dataset)) { total += 1; count += !entry.hidden; }
      }
      section.hidden = left === 0;
    }
    shown.textContent = count === total ? `${total} rows` : `${count} of ${total} rows`;
    one("#none").hidden = count > 0;
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

  // Light, dark, or what the system says. Storage may be closed to pages from disk.
  const theme = one("#theme"), names = ["auto", "light", "dark"];
  const remember = (value) => { try { localStorage.setItem("ssl-skel-theme", value); } catch { /* not kept */ } };
  const recall = () => { try { return localStorage.getItem("ssl-skel-theme"); } catch { return null; } };
  const dress = (value) => {
    if (value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = value;
    one("span", theme).textContent = value;
  };
  let current = names.includes(recall()) ? recall() : "auto";
  dress(current);
  theme.hidden = false;
  theme.addEventListener("click", () => {
    current = names[(names.indexOf(current) + 1) % names.length];
    dress(current);
    remember(current);
  });
})();
