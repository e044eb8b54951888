// Sorts a table by a column, filters rows by text, shows whose a line or dot is. The page is whole without it.
"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Sorting: numbers fall at first and words rise; an empty cell is always last.
const valueOf = (row, at) => {
  const cell = row.cells[at];
  return cell ? cell.dataset.value ?? cell.textContent.trim() : "";
};

function sort(table, at, head) {
  const body = table.tBodies[0];
  const numeric = head.classList.contains("number");
  const falls = head.hasAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : numeric;
  const compare = (a, b) => {
    const [one, other] = [valueOf(a, at), valueOf(b, at)];
    if (one === "" || other === "") return (one === "") - (other === "");
    const order = numeric ? Number(one) - Number(other) : one.localeCompare(other, "en", { numeric: true });
    return falls ? -order : order;
  };
  all("th[aria-sort]", table.tHead).forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", falls ? "descending" : "ascending");
  body.append(...[...body.rows].sort(compare));
}

for (const table of all("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, at) => {
    const button = document.createElement("button");
    button.className = "sort";
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, at, head));
    head.append(button);
  });
}

// Filtering: a row stays if it has every word that was typed.
const filter = document.getElementById("filter");
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = all("tbody tr, li.row");
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  const left = rows.filter((row) => !row.hidden).length;
  document.getElementById("shown").textContent = words.length ? `${left} of ${rows.length} rows` : "";
});

// Seeds: the nearest to the pointer, or the next by arrow key, is named, and stands out wherever it is drawn.
const tip = document.getElementById("tip");
const NEAR = 14; // pixels

function show(seed, x, y) {
  hide();
  for (const key of seed.dataset.key.split(" ")) {
    for (const same of all(`.seed[data-key~="${key}"]`, seed.closest("section"))) same.classList.add("on");
  }
  tip.textContent = seed.dataset.say;
  tip.classList.add("on");
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.max(4, Math.min(x + 12, document.documentElement.clientWidth - width - 4));
  tip.style.transform = `translate(${left}px, ${Math.max(4, y - height - 12)}px)`;
}

function hide() {
  tip.classList.remove("on");
  for (const seed of all(".seed.on")) seed.classList.remove("on");
}

const toSegment = (x, y, a, b) => {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const along = Math.max(0, Math.min(1, ((x - a.x) * dx + (y - a.y) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - a.x - along * dx, y - a.y - along * dy);
};

function distance(seed, x, y) {
  if (seed.cx) return Math.hypot(x - seed.cx.baseVal.value, y - seed.cy.baseVal.value);
  let least = Infinity;
  for (let at = 1; at < seed.points.numberOfItems; at++) {
    least = Math.min(least, toSegment(x, y, seed.points.getItem(at - 1), seed.points.getItem(at)));
  }
  return least;
}

for (const graph of all("svg.graph")) {
  if (!graph.querySelector(".seed")) continue;
  graph.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(graph.getScreenCTM().inverse());
    let [nearest, least] = [null, NEAR];
    for (const seed of all(".seed", graph)) {
      const off = distance(seed, at.x, at.y);
      if (off < least) [nearest, least] = [seed, off];
    }
    if (nearest) show(nearest, event.clientX, event.clientY);
    else hide();
  });
  graph.addEventListener("pointerleave", hide);
}

for (const group of all("svg.graph[tabindex], .strips")) {
  let at = -1;
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const seeds = all(".seed", group);
    if (event.key === "Escape") hide();
    if (!step || !seeds.length) return;
    event.preventDefault();
    at = (at + step + seeds.length + (at < 0 && step < 0 ? 1 : 0)) % seeds.length;
    const box = seeds[at].getBoundingClientRect();
    show(seeds[at], box.right, box.top);
  });
  group.addEventListener("blur", hide);
}

// Entrants: a click in the legend lets one stand out in its suite's graphs, with its band; another one lets it go.
function pick(section, button) {
  const on = button.getAttribute("aria-pressed") !== "true";
  for (const other of all(".pick", section)) other.setAttribute("aria-pressed", String(on && other === button));
  section.classList.toggle("picking", on);
  const [colour, dash] = [..."cd"].map((letter) => [...button.querySelector(".mean").classList].find((of) => of.match(`^${letter}\\d$`)));
  for (const drawn of all(".graph :is(.seed, .mean, .band, .interval, .point, .arrow)", section)) {
    drawn.classList.toggle("picked", on && drawn.matches(`.${colour}.${dash}`));
  }
}

for (const item of all(".legend li")) {
  const button = document.createElement("button");
  button.className = "pick";
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  button.append(...item.childNodes);
  button.addEventListener("click", () => pick(button.closest("section"), button));
  item.append(button);
}

// On paper nothing can be opened.
window.addEventListener("beforeprint", () => {
  for (const closed of all("details:not([open])")) {
    closed.dataset.closed = "";
    closed.open = true;
  }
});
window.addEventListener("afterprint", () => {
  for (const opened of all("details[data-closed]")) {
    delete opened.dataset.closed;
    opened.open = false;
  }
});
