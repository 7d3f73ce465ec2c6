// The results table: sorts by a clicked heading, switches between means and differences, and downloads the JSON.

const table = document.getElementById("results");
const body = table.tBodies[0];
const original = [...body.rows];

// The first click on a heading sorts the best codec to the top, the second the worst. The third restores the original
// order.
for (const button of table.querySelectorAll("thead button")) {
  const head = button.closest("th");
  button.addEventListener("click", () => {
    const better = button.dataset.sort;
    const bestFirst = better === "higher" ? "descending" : "ascending";
    const other = bestFirst === "ascending" ? "descending" : "ascending";
    const was = head.getAttribute("aria-sort");
    const now = was === "none" ? bestFirst : was === bestFirst ? other : "none";
    for (const cell of table.querySelectorAll("th[aria-sort]")) cell.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", now);
    sort(head.cellIndex, better, now);
  });
}

function sort(column, better, order) {
  if (order === "none") {
    body.append(...original);
    return;
  }
  const direction = order === "ascending" ? 1 : -1;
  const keyed = original.map((row) => [row, key(row.cells[column], better)]);
  keyed.sort(([, a], [, b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // missing values stay at the bottom
    return a < b ? -direction : a > b ? direction : 0;
  });
  body.append(...keyed.map(([row]) => row));
}

function key(cell, better) {
  const text = cell.dataset.v;
  if (text === undefined) return null;
  if (better === "text") return text.toLowerCase();
  return better === "zero" ? Math.abs(Number(text)) : Number(text);
}

const shown = document.getElementById("shown");
if (shown) {
  shown.hidden = false;
  shown.addEventListener("change", () => {
    const differences = shown.querySelector("input:checked").value === "differences";
    table.closest("section").classList.toggle("differences", differences);
  });
}

const download = document.getElementById("download");
download.hidden = false;
download.addEventListener("click", () => {
  const numbers = JSON.parse(document.getElementById("result").textContent);
  const blob = new Blob([JSON.stringify(numbers, null, 1) + "\n"], { type: "application/json" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = "results.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});
