// The page works without this script. It adds drop, paste, results in place, the opacity slider, and sorting.
(() => {
  document.documentElement.classList.add("js");
  const form = document.querySelector("form.upload");
  const state = document.getElementById("state");
  const answer = document.getElementById("answer");
  const announce = (text) => { state.textContent = text; };

  // Fragments come from our own server, which escapes them. Scripts in them would not run, and the content security policy forbids them.
  const parse = (text) => [...new DOMParser().parseFromString(text, "text/html").body.children];

  const fetchPart = async (part, body) => {
    const reply = await fetch(`/parts/${part}`, { method: "POST", body, headers: { Accept: "text/html" } });
    return { ok: reply.ok, nodes: parse(await reply.text()) };
  };

  let current = 0;
  const showPart = async (part, title, body, turn, before = null, tries = 0) => {
    const waiting = document.createElement("section");
    waiting.className = "part waiting";
    waiting.append(Object.assign(document.createElement("h3"), { textContent: title }),
                   Object.assign(document.createElement("p"), { textContent: tries ? "Still loading …" : "Computing …" }));
    if (before) before.replaceWith(waiting); else answer.append(waiting);
    let nodes;
    try {
      nodes = (await fetchPart(part, body)).nodes;
    } catch {
      nodes = [Object.assign(document.createElement("p"), { textContent: `${title}: the server cannot be reached.` })];
    }
    if (turn !== current) return;
    waiting.replaceWith(...nodes);
    const again = nodes[0]?.querySelector?.(".again");
    if (again) {
      let started = false; // by the button, or automatically after a moment
      const retry = () => { if (!started && turn === current) { started = true; showPart(part, title, body, turn, nodes[0], tries + 1); } };
      again.addEventListener("click", retry);
      if (tries < 60) setTimeout(retry, 3000);
    }
  };

  const predict = async () => {
    const body = new FormData(form);
    const file = form.elements.image.files[0];
    if (!file) { announce("Choose an image first."); form.elements.image.focus(); return; }
    if (file.size > Number(form.dataset.maxBytes)) {
      announce(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB; the limit is ${Number(form.dataset.maxBytes) / 1e6} MB.`);
      return;
    }
    const turn = ++current;
    announce("Predicting …");
    form.setAttribute("aria-busy", "true");
    let result;
    try {
      result = await fetchPart("prediction", body);
    } catch {
      if (turn === current) announce("The server cannot be reached.");
      return;
    } finally {
      if (turn === current) form.removeAttribute("aria-busy");
    }
    if (turn !== current) return;
    answer.replaceChildren(...result.nodes);
    const heading = answer.querySelector("h2");
    announce(result.ok ? `Prediction: ${heading.textContent}.` : heading.textContent);
    heading.focus();
    if (!result.ok) return;
    for (const [part, title] of [["map", "Heatmap"], ["nearest", "Nearest training images"], ["stability", "Stability"]]) {
      if (body.has(part)) showPart(part, title, body, turn);
    }
  };

  if (form) {
    const drop = form.querySelector(".drop");
    const take = (files) => {
      const image = [...files].find((file) => file.type.startsWith("image/")) ?? files[0];
      if (!image) return;
      const transfer = new DataTransfer();
      transfer.items.add(image);
      form.elements.image.files = transfer.files;
      predict();
    };
    form.addEventListener("submit", (event) => { event.preventDefault(); predict(); });
    form.elements.image.addEventListener("change", () => { if (form.elements.image.files.length) predict(); });
    for (const name of ["dragenter", "dragover"]) {
      document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
    }
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      take(event.dataTransfer.files);
    });
    document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files); });
  }

  document.addEventListener("input", (event) => {
    if (event.target.id !== "opacity") return;
    const section = event.target.closest("section");
    section.querySelector(".layer").style.opacity = event.target.value / 100;
    section.querySelector("output").value = `${event.target.value} %`;
  });

  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const compare = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
  for (const heading of document.querySelectorAll("table.sortable th[data-first]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const table = heading.closest("table"), column = heading.cellIndex;
      const before = heading.getAttribute("aria-sort");
      const direction = before ? (before === "ascending" ? "descending" : "ascending") : heading.dataset.first;
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const x = value(a, column), y = value(b, column);
        if (x === "" || y === "") return (x === "") - (y === ""); // missing values come last in both directions
        return sign * compare(x, y);
      });
      table.tBodies[0].append(...rows);
    });
  }
})();
