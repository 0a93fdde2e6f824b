// The wall: what is painted follows from the state, and the state from the address.
import { closeLarge, openLarge } from "./large.js";
import { saveFile } from "./save.js";
import { ask, introduce } from "./server.js";
import { closeWalk, openWalk } from "./walk.js";

const HANG = 24, MOST = 240, SIZE = 256;
const LAWS = ["normal(0, 1)", "uniform(-1, 1)", "gamma(2, 1)"];
const LARGEST_SEED = Number.MAX_SAFE_INTEGER;
const HINT = "Open a painting to see it large. The sign below it starts a walk.";
const HINT_SECONDS = 12;
const $ = (id) => document.getElementById(id);
const wall = $("wall");

// truncation: null is the model's own.
const state = { seed: 0, truncation: null, noise: "", class: "", count: HANG, walk: null, large: null };
let model = null;
let picked = null; // the number of the painting from which a walk will start
let painting = new AbortController();

// --- Asking the server

/** Return the address of a route, with what the state says and more. */
function address(route, more) {
  const query = new URLSearchParams({ seed: state.seed });
  if (state.truncation !== null) query.set("truncation", state.truncation);
  if (state.noise) query.set("noise", state.noise);
  if (state.class) query.set("class", state.class);
  for (const [name, value] of Object.entries(more)) query.set(name, value);
  return `/v1/${route}?${query}`;
}

// --- The address bar

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const within = (name, least, most, otherwise) => {
    const value = Number(given.get(name) ?? NaN);
    return value >= least && value <= most ? value : otherwise;
  };
  state.seed = Math.trunc(within("seed", 0, LARGEST_SEED, 0));
  state.truncation = within("truncation", 0, 2, null);
  state.noise = (given.get("noise") ?? "").slice(0, 60);
  state.class = given.get("class") ?? "";
  state.count = Math.trunc(within("count", 1, MOST, HANG));
  const ends = given.get("walk")?.match(/^([1-9]\d{0,8}),([1-9]\d{0,8})$/);
  state.walk = ends ? [Number(ends[1]), Number(ends[2])] : null;
  state.large = state.walk ? null : Math.trunc(within("large", 1, state.count, 0)) || null;
}

function writeAddress() {
  const parts = new URLSearchParams({ seed: state.seed });
  if (state.truncation !== null) parts.set("truncation", state.truncation);
  if (state.noise) parts.set("noise", state.noise);
  if (state.class) parts.set("class", state.class);
  if (state.count !== HANG) parts.set("count", state.count);
  if (state.walk) parts.set("walk", state.walk.join(","));
  if (state.large) parts.set("large", state.large);
  history.replaceState(null, "", `#${parts}`);
}

// --- The wall

function makePiece(number) {
  const item = document.createElement("li");
  item.className = "piece";
  item.innerHTML =
    '<button type="button" class="painting frame"><span class="sight"></span></button>' +
    '<div class="label"><span class="number"></span><button type="button" class="walk" aria-pressed="false">' +
    '<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="5" cy="18" r="2"/><circle cx="19" cy="6" r="2"/>' +
    '<path d="M7.2 18C15 18 9 6 16.8 6"/></svg></button><a class="download" download>' +
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 4v11m0 0l-4.5-4.5M12 15l4.5-4.5M5 19.5h14"/></svg></a></div>';
  item.dataset.number = number;
  item.querySelector(".painting").setAttribute("aria-label", `Painting ${number}`);
  item.querySelector(".number").textContent = `No. ${number}`;
  const download = item.querySelector(".download");
  const walk = item.querySelector(".walk");
  walk.setAttribute("aria-label", `Walk from painting ${number}`);
  walk.title = "Walk from here to another (W)";
  download.setAttribute("aria-label", `Download painting ${number}`);
  download.title = "Download as PNG";
  return item;
}

function hang() {
  while (wall.children.length > state.count) wall.lastElementChild.remove();
  while (wall.children.length < state.count) wall.append(makePiece(wall.children.length + 1));
  if (!wall.querySelector('.painting[tabindex="0"]')) rove(wall.querySelector(".painting"), false);
  $("more").hidden = state.count >= MOST;
}

/** Lay the new picture over the old one, and take that away. */
async function reveal(sight, blob, signal) {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  image.alt = "";
  await image.decode();
  URL.revokeObjectURL(image.src);
  signal.throwIfAborted();
  const old = [...sight.children];
  sight.append(image);
  image.getBoundingClientRect(); // so that the change of opacity is seen as one
  image.classList.add("shown");
  const clear = () => old.forEach((other) => other.remove());
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) clear();
  else setTimeout(clear, 700);
}

/** Let a place on the wall say what will hang there. */
function announce(item) {
  const { number, painted } = item.dataset;
  item.querySelector(".download").href = address("images", { images: number, format: "png" });
  item.classList.toggle("waiting", painted !== address("images", {}));
}

async function paintPiece(item, signal) {
  const number = item.dataset.number, wanted = address("images", {});
  if (item.dataset.painted === wanted) return;
  const answer = await ask(address("images", { images: number, size: SIZE, format: "jpeg" }), signal);
  await reveal(item.querySelector(".sight"), await answer.blob(), signal);
  item.dataset.painted = wanted;
  item.classList.remove("waiting");
}

async function paint() {
  painting.abort();
  painting = new AbortController();
  const { signal } = painting;
  writeAddress();
  hang();
  showControls();
  wall.setAttribute("aria-busy", "true");
  for (const item of wall.children) announce(item);
  try {
    const [first, ...others] = [...wall.children];
    await paintPiece(first, signal); // alone, so that there is something to see at once
    await Promise.all(others.map((item) => paintPiece(item, signal)));
    showProblem("");
    wall.removeAttribute("aria-busy");
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    painting.abort();
    for (const item of wall.children) item.classList.remove("waiting");
    wall.removeAttribute("aria-busy");
    showProblem(error.message);
  }
}

function showProblem(text) {
  $("problem-text").textContent = text;
  $("again").hidden = false;
  $("problem").hidden = text === "";
}

let soon = 0;
function paintSoon() {
  clearTimeout(soon);
  soon = setTimeout(paint, 140);
}

// --- One painting, large

const preview = (number) => wall.querySelector(`[data-number="${number}"] .sight img:last-child`);

function showLarge(number) {
  const last = (now) => wall.querySelector(`[data-number="${now}"] .painting`);
  openLarge(number, {
    address, preview, own: model.output_size, count: () => state.count,
    changed: (now) => {
      state.large = now;
      writeAddress();
    },
    walk: pick,
    closed: (now) => {
      state.large = null;
      writeAddress();
      if (last(now)) rove(last(now));
    },
  });
}

// --- Choosing two

/** A first painting is picked with its sign, or W; then any click on another one walks to it. */
function pick(number) {
  if (picked === number) picked = null;
  else if (picked === null) picked = number;
  else {
    startWalk(picked, number);
    picked = null;
  }
  showPicked();
}

function showPicked() {
  for (const item of wall.children) {
    const chosen = Number(item.dataset.number) === picked;
    item.classList.toggle("picked", chosen);
    item.querySelector(".walk").setAttribute("aria-pressed", String(chosen));
  }
  document.body.classList.toggle("picking", picked !== null);
  $("hint").textContent = picked === null ? "" : `From No. ${picked} to …? Pick another.`;
  $("unpick").textContent = "Cancel";
  $("tray").hidden = picked === null;
  $("tray").classList.toggle("raised", picked !== null);
}

/** Say once what can be done here; it goes away by itself, or with the first thing that is done. */
function hintOnce() {
  try {
    if (localStorage.getItem("painter-hint")) return;
    localStorage.setItem("painter-hint", "seen");
  } catch { /* a private window: it is said again */ }
  $("hint").textContent = HINT;
  $("unpick").textContent = "Got it";
  $("tray").hidden = false;
  setTimeout(() => { if (picked === null) $("tray").hidden = true; }, 1000 * HINT_SECONDS);
}

function startWalk(from, to) {
  state.walk = [from, to];
  writeAddress();
  openWalk({ from, to, size: SIZE, start: preview(from), formats: model.formats, address, closed: () => {
    state.walk = null;
    writeAddress();
    wall.querySelector(`[data-number="${to}"] .painting`)?.focus();
  } });
}

// --- Keys: one stop for the tab key, arrows from painting to painting

function rove(target, focus = true) {
  if (!target) return;
  for (const other of wall.querySelectorAll(".painting, .walk, .download")) other.tabIndex = -1;
  for (const own of target.closest(".piece").querySelectorAll(".painting, .walk, .download")) own.tabIndex = 0;
  if (focus) target.focus();
}

function neighbour(place, key) {
  const pieces = [...wall.children];
  const columns = pieces.filter((piece) => piece.offsetTop === pieces[0].offsetTop).length;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  if (key === "Home") return pieces[0];
  if (key === "End") return pieces.at(-1);
  return key in steps ? pieces[place + steps[key]] : undefined;
}

wall.addEventListener("keydown", (event) => {
  const current = event.target.closest(".piece");
  if (!current || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "w") pick(Number(current.dataset.number));
  const next = neighbour([...wall.children].indexOf(current), event.key);
  if (next) {
    event.preventDefault();
    rove(next.querySelector(".painting"));
  }
});
wall.addEventListener("focusin", (event) => {
  const target = event.target.closest(".piece")?.querySelector(".painting");
  if (target && target.tabIndex !== 0) rove(target, false);
});
wall.addEventListener("click", (event) => {
  const piece = event.target.closest(".piece"), number = Number(piece?.dataset.number);
  const download = event.target.closest(".download");
  if (download) {
    event.preventDefault();
    saveFile(download, "", showProblem, undefined);
  } else if (event.target.closest(".walk") || (picked !== null && event.target.closest(".painting"))) pick(number);
  else if (event.target.closest(".painting") && model) {
    $("tray").hidden = true;
    showLarge(number);
  }
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && picked !== null) pick(picked);
});
$("unpick").addEventListener("click", () => {
  if (picked !== null) pick(picked);
  $("tray").hidden = true;
});

// --- Controls

function showControls() {
  if (document.activeElement !== $("seed")) $("seed").value = state.seed;
  const truncation = state.truncation ?? model?.settings.output.truncation ?? 1;
  $("truncation").value = truncation;
  $("truncation-value").textContent = truncation.toFixed(2);
  $("noise").value = state.noise;
  $("class").value = state.class;
}

function setSeed(seed) {
  state.seed = Math.min(Math.max(Math.trunc(seed) || 0, 0), LARGEST_SEED);
  $("seed").value = state.seed;
  paintSoon();
}

$("controls").addEventListener("submit", (event) => event.preventDefault());
$("seed").addEventListener("input", () => {
  const { value, validity } = $("seed");
  if (value !== "" && validity.valid) setSeed(Number(value));
  const wrong = validity.badInput || (value !== "" && !validity.valid);
  if (wrong) showProblem(`A seed is a whole number from 0 to ${LARGEST_SEED.toLocaleString("en")}.`);
  $("again").hidden = wrong;
});
$("seed").addEventListener("change", () => setSeed(Number($("seed").value)));
$("previous").addEventListener("click", () => setSeed(state.seed - 1));
$("next").addEventListener("click", () => setSeed(state.seed + 1));
$("shuffle").addEventListener("click", () => setSeed(Math.floor(Math.random() * 1e6)));
$("truncation").addEventListener("input", () => {
  state.truncation = Number($("truncation").value);
  $("truncation-value").textContent = state.truncation.toFixed(2);
  paintSoon();
});
for (const name of ["noise", "class"]) {
  $(name).addEventListener("change", () => {
    state[name] = $(name).value;
    paintSoon();
  });
}
$("again").addEventListener("click", () => (model ? paint() : start()));
$("more").addEventListener("click", () => {
  const first = state.count;
  state.count = Math.min(state.count + HANG, MOST);
  paint();
  rove(wall.children[first]?.querySelector(".painting"));
});
$("link").addEventListener("click", async () => {
  writeAddress();
  let done = "Link copied";
  try { await navigator.clipboard.writeText(location.href); } catch { done = "Copy it from the address bar"; }
  $("link").textContent = done;
  setTimeout(() => { $("link").textContent = "Copy link"; }, 1800);
});
addEventListener("hashchange", () => {
  if (!model) {
    start();
    return;
  }
  readAddress();
  keepKnown();
  fillNoise();
  paint();
  show();
});

/** Open or close what the address says is open. */
function show() {
  if (!state.walk) closeWalk();
  if (!state.large) closeLarge();
  if (state.walk) startWalk(...state.walk);
  else if (state.large) showLarge(state.large);
}

// --- The model

function option(value, text) {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = text;
  return made;
}

/** Drop from a link what this model has not got. */
function keepKnown() {
  if (!model.classes.includes(state.class)) state.class = "";
  if (state.noise === model.noise) state.noise = "";
}

function fillNoise() {
  const others = LAWS.filter((law) => law !== model.noise);
  if (state.noise && !LAWS.includes(state.noise)) others.push(state.noise);
  $("noise").replaceChildren(option("", `${model.noise}, as trained`), ...others.map((law) => option(law, law)));
}

async function start() {
  readAddress();
  hang();
  showPicked();
  model = await introduce(showProblem);
  if (model === null) return;
  showProblem("");
  keepKnown();
  fillNoise();
  $("class-field").hidden = model.classes.length === 0;
  $("class").replaceChildren(option("", "any"), ...model.classes.map((name) => option(name, name)));
  paint();
  show();
  if (!state.walk && !state.large) hintOnce();
}

// --- A photo is for a model of another kind

addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault(); // else the browser leaves the page for the file
  if (!event.dataTransfer.files.length) return;
  showProblem(
    `${model?.name ?? "This model"} paints from noise and takes no photos. A model that translates does: ` +
    "painter serve --model photo2monet",
  );
  $("again").hidden = true;
});

start();
