// The page works without this script, which adds the theme button, sorts the leaderboard and opens all sections for printing.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const remember = (theme) => { try { localStorage.setItem("tellapart-theme", theme); } catch { /* private window */ } };
  const remembered = () => { try { return localStorage.getItem("tellapart-theme"); } catch { return null; } };
  const show = (theme) => { if (theme === "light" || theme === "dark") root.dataset.theme = theme; };
  show(remembered());

  document.addEventListener("DOMContentLoaded", () => {
    const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const button = document.querySelector(".theme");
    const name = () => { button.textContent = dark() ? "Light" : "Dark"; };
    button.addEventListener("click", () => { show(dark() ? "light" : "dark"); remember(root.dataset.theme); name(); });
    name();

    const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const compare = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");  // missing values come last in either direction
      return isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
    };
    for (const heading of document.querySelectorAll("table.board th[data-first]")) {
      const inner = document.createElement("button");
      inner.type = "button";
      inner.append(...heading.childNodes);
      heading.append(inner);
      inner.addEventListener("click", () => {
        const table = heading.closest("table"), body = table.tBodies[0], column = heading.cellIndex;
        const before = heading.getAttribute("aria-sort");
        const direction = before ? (before === "ascending" ? "descending" : "ascending") : heading.dataset.first;
        for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", direction);
        const sign = direction === "ascending" ? 1 : -1;
        const rows = [...body.rows].sort((a, b) => {
          const x = value(a, column), y = value(b, column);
          return compare(x, y) * (x === "" || y === "" ? 1 : sign);
        });
        body.append(...rows);
      });
    }

    for (const link of document.querySelectorAll("a[href^='#']")) {
      link.addEventListener("click", () => {
        const target = document.getElementById(link.hash.slice(1));
        if (target instanceof HTMLDetailsElement) target.open = true;
      });
    }
  });

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of closed) details.open = false; });
})();
