// A click on a heading sorts by its column, a second one the other way round; rows without a value stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  for (const button of table.querySelectorAll("button.sort")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const column = heading.cellIndex;
      const values = new Map([...body.rows].map((row) => [row, row.cells[column].dataset.value ?? ""]));
      const numbers = [...values.values()].every((value) => value === "" || !Number.isNaN(Number(value)));
      const before = heading.getAttribute("aria-sort");
      const first = numbers && column > 0 ? "descending" : "ascending";
      const order = before ? (before === "ascending" ? "descending" : "ascending") : first;
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const compare = (one, two) => {
        const [a, b] = [values.get(one), values.get(two)];
        if (a === "" || b === "") return (a === "") - (b === "");
        return sign * (numbers ? a - b : a.localeCompare(b));
      };
      body.append(...[...body.rows].sort(compare));
    });
  }
}
