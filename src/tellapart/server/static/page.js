// The page works without this: it adds drop, paste, answers in place, the slider of the map, and sorting.
(() => {
  document.documentElement.classList.add("js");
  const form = document.querySelector("form.ask");
  const state = document.getElementById("state");
  const answer = document.getElementById("answer");
  const say = (text) => { state.textContent = text; };

  // Our own server's fragment, escaped there; scripts in it would not run, and the security policy forbids them.
  const parsed = (text) => [...new DOMParser().parseFromString(text, "text/html").body.children];

  const fetchPart = async (part, body) => {
    const reply = await fetch(`/parts/${part}`, { method: "POST", body, headers: { Accept: "text/html" } });
    return { ok: reply.ok, nodes: parsed(await reply.text()) };
  };

  let asking = 0;
  const showPart = async (part, title, body, turn, before = null, tries = 0) => {
    const waiting = document.createElement("section");
    waiting.className = "part waiting";
    waiting.append(Object.assign(document.createElement("h3"), { textContent: title }),
                   Object.assign(document.createElement("p"), { textContent: tries ? "Still being prepared …" : "One moment …" }));
    if (before) before.replaceWith(waiting); else answer.append(waiting);
    let nodes;
    try {
      nodes = (await fetchPart(part, body)).nodes;
    } catch {
      nodes = [Object.assign(document.createElement("p"), { textContent: `${title}: the server cannot be reached.` })];
    }
    if (turn !== asking) return;
    waiting.replaceWith(...nodes);
    const again = nodes[0]?.querySelector?.(".again");
    if (again) {
      let begun = false; // by hand, or by itself after a moment
      const retry = () => { if (!begun && turn === asking) { begun = true; showPart(part, title, body, turn, nodes[0], tries + 1); } };
      again.addEventListener("click", retry);
      if (tries < 60) setTimeout(retry, 3000);
    }
  };

  const ask = async () => {
    const body = new FormData(form);
    const file = form.elements.image.files[0];
    if (!file) { say("Choose a picture first."); form.elements.image.focus(); return; }
    if (file.size > Number(form.dataset.most)) {
      say(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB; at most ${Number(form.dataset.most) / 1e6} MB are read.`);
      return;
    }
    const turn = ++asking;
    say("Asking …");
    form.setAttribute("aria-busy", "true");
    let found;
    try {
      found = await fetchPart("verdict", body);
    } catch {
      if (turn === asking) say("The server cannot be reached.");
      return;
    } finally {
      if (turn === asking) form.removeAttribute("aria-busy");
    }
    if (turn !== asking) return;
    answer.replaceChildren(...found.nodes);
    const heading = answer.querySelector("h2");
    say(found.ok ? `The answer: ${heading.textContent}.` : heading.textContent);
    heading.focus();
    if (!found.ok) return;
    for (const [part, title] of [["map", "Where it looks"], ["nearest", "What it is reminded of"], ["stability", "Whether that is stable"]]) {
      if (body.has(part)) showPart(part, title, body, turn);
    }
  };

  if (form) {
    const drop = form.querySelector(".drop");
    const take = (files) => {
      const picture = [...files].find((file) => file.type.startsWith("image/")) ?? files[0];
      if (!picture) return;
      const transfer = new DataTransfer();
      transfer.items.add(picture);
      form.elements.image.files = transfer.files;
      ask();
    };
    form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
    form.elements.image.addEventListener("change", () => { if (form.elements.image.files.length) ask(); });
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
        if (x === "" || y === "") return (x === "") - (y === ""); // nothing known comes last, whichever the direction
        return sign * compare(x, y);
      });
      table.tBodies[0].append(...rows);
    });
  }
})();
