// Write the decisions to a CSV: one line per finding, its action last. No other data leave this page.
(() => {
  const form = document.getElementById("review");
  // As spreadsheet.py: a single quote before what a spreadsheet would run.
  const number = /^[+-]?(\d+\.?\d*|\.\d+|inf)(e[+-]?\d+)?$/i;
  const guard = (text) => (/^'*[=+\-@\t\r\n＝＋－＠]/.test(text) && !number.test(text) ? `'${text}` : text);
  const quote = (text) => (/[",;\t\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = () => [...form.querySelectorAll(".decide")].map((row) => {
    const action = row.querySelector("input:checked")?.value ?? "review";
    return [...JSON.parse(row.dataset.values), action].map((value) => quote(guard(String(value)))).join(",");
  });
  const updateCount = () => {
    const actions = [...form.querySelectorAll("input:checked")].map((input) => input.value);
    const count = (name) => actions.filter((action) => action === name).length;
    document.getElementById("count").textContent = `${count("drop")} to drop, ${count("keep")} kept, ${count("review")} undecided`;
  };
  form.addEventListener("change", updateCount);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = `${form.dataset.columns}\n${lines().map((line) => `${line}\n`).join("")}${form.dataset.rest}`;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = "reviewed.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  updateCount();
})();
