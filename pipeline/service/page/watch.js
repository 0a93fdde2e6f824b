// The page of a run in training: asks every few seconds what is new, and shows it.
const SECONDS = 3;
const $ = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");
// A share as the reports write it: three digits, and no decimals of 0 and 100.
const perCent = (share) => `${share < 1e-6 || share >= 0.9995 ? Math.round(100 * share) : (100 * share).toPrecision(3)}%`;

let grids = [], newest = true, drawn = -1, shown = "";

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function showProblem(text) {
  $("problem").textContent = text;
  $("problem").hidden = text === "";
}

function showState({ name, state, sentence, share, numbers, problem }) {
  document.title = `${state === "running" && share !== null ? `${Math.floor(100 * share)}% · ` : ""}${name} · painter`;
  $("name").textContent = name;
  $("state").dataset.state = state;
  if ($("state").textContent !== sentence) $("state").textContent = sentence;
  $("budget").hidden = share === null || state === "waiting" || state === "gone";
  $("share").value = share ?? 0;
  $("share-text").textContent = `${Math.floor(100 * (share ?? 0))}% of the budget`;
  if (numbers.length || state === "waiting") {
    $("numbers").replaceChildren(...numbers.map(([label, value]) => {
      const pair = element("div");
      pair.append(element("dt", label), element("dd", value));
      return pair;
    }));
  }
  showProblem(problem);
}

// --- Samples: the newest, unless an earlier one is looked at

function showGrid(index) {
  const { seen, address } = grids[index];
  if ($("grid").getAttribute("src") !== address) {
    $("grid").src = address;
    $("grid-link").href = address;
  }
  $("grid").alt = `Samples after ${number(seen)} images`;
  $("grid-text").textContent = `after ${number(seen)} images, ${index + 1} of ${grids.length}`;
  $("when").value = index;
  $("when").setAttribute("aria-valuetext", `${number(seen)} images seen`);
  $("latest").hidden = newest;
}

function showGrids(progress) {
  if (!progress.grids.length) return; // a folder that is gone leaves the last ones to look at
  const at = Number($("when").value);
  grids = progress.grids;
  $("grids").hidden = false;
  $("when").max = grids.length - 1;
  $("when").hidden = grids.length < 2;
  showGrid(newest ? grids.length - 1 : Math.min(at, grids.length - 1));
  $("inputs").hidden = !progress.inputs;
  if (progress.inputs && $("inputs-grid").getAttribute("src") !== progress.inputs) {
    $("inputs-grid").src = progress.inputs;
    $("grids-lead").textContent = "The same inputs all through training: each tile is the translation of one of them.";
  }
}

$("when").addEventListener("input", () => {
  newest = Number($("when").value) === grids.length - 1;
  showGrid(Number($("when").value));
});
$("latest").addEventListener("click", () => {
  newest = true;
  showGrid(grids.length - 1);
});

// --- Curves and scores

async function showCharts(count) {
  if (count === drawn) return;
  const charts = await (await fetch("/v1/charts")).json();
  drawn = count;
  $("curves").hidden = charts.length === 0;
  $("charts").replaceChildren(...charts.map(({ title, svg, legend, note }) => {
    const chart = element("div", undefined, { class: "chart" }), lines = element("ul", undefined, { class: "legend" });
    for (const [label, value] of legend) {
      const line = element("li", `${label} `);
      line.append(element("b", value));
      lines.append(line);
    }
    chart.append(element("h3", title), lines, ...(note ? [element("p", note, { class: "few" })] : []));
    chart.insertAdjacentHTML("beforeend", svg); // drawn by the server from numbers
    return chart;
  }));
}

const COLUMNS = [
  ["images_seen", "images seen", number],
  ["mifid", "MiFID", (value) => value.toFixed(1)],
  ["fid", "FID", (value) => value.toFixed(1)],
  ["holdout_fid", "FID, held out", (value) => value.toFixed(1)],
  ["holdout_kid", "KID, held out", (value) => value.toFixed(4)],
  ["memorized_share", "copies", perCent],
];

function showScores(scores) {
  $("scores").hidden = scores.length === 0;
  if (!scores.length) return;
  const { n, features } = scores.at(-1);
  const of = n === null ? "By" : `Of ${number(n)} images, by`;
  $("scores-lead").textContent =
    `${of} features of ${features ?? "an unknown network"}; lower is better. With few images they lie above what a whole ` +
    "set gets: they tell snapshots of this run apart.";
  const columns = COLUMNS.filter(([key]) => scores.some((line) => key in line));
  $("scores-head").replaceChildren(...columns.map(([, title]) => element("th", title, { scope: "col" })));
  const best = scores.findLast((line) => line.best);
  $("scores-rows").replaceChildren(...scores.map((line) => {
    const row = element("tr", undefined, line === best ? { class: "best" } : {});
    row.append(...columns.map(([key, , shape]) => element("td", key in line ? shape(line[key]) : "–")));
    return row;
  }).reverse());
}

function showLog(lines) {
  $("log").hidden = lines.length === 0;
  const text = lines.map((line) => line.replace("T", " ").replace("+00:00", " UTC")).join("\n");
  if ($("log-lines").textContent !== text) $("log-lines").textContent = text;
}

async function look() {
  let answer;
  try {
    answer = await fetch("/v1/progress");
  } catch {
    showProblem("painter watch does not answer: it was stopped, or its machine is away. The run is not affected. " +
      "This page goes on when it is started again.");
    return;
  }
  const text = await answer.text();
  if (!answer.ok) {
    showProblem(`painter watch cannot read the run (${answer.status}). It is asked again.`);
    return;
  }
  if (text === shown && $("problem").hidden) return;
  const progress = JSON.parse(text);
  showState(progress);
  showGrids(progress);
  showScores(progress.scores);
  showLog(progress.log);
  await showCharts(progress.charts);
  shown = text;
}

async function follow() {
  try {
    if (!document.hidden) await look();
  } catch { /* the server went away in the middle: the next look says so */ }
  setTimeout(follow, 1000 * SECONDS);
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) look().catch(() => {}); });
follow();
