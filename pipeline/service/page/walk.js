// A walk between two paintings: its frames come a few at a time, and are blended on a canvas.
import { ask } from "./server.js";
import { saveFile } from "./save.js";

const FRAMES = 32, PART = 4, CYCLE = 7000; // a walk there and back, in milliseconds
const AT_ONCE = 2; // parts that are asked for together: the server always has one more to make
const $ = (id) => document.getElementById(id);
const dialog = $("walk"), canvas = $("walk-canvas"), place = $("walk-place");
const pen = canvas.getContext("2d");

let parts = [], side = 0, playing = false, phase = 0, last = 0, loading = null, closed = () => {};


/** Draw the walk at a place from 0 to 1: one frame, and the next one over it as far as it is reached. */
function draw(at) {
  const exact = at * (FRAMES - 1), index = Math.min(Math.floor(exact), FRAMES - 1);
  const put = (frame, opacity) => {
    const part = parts[Math.floor(frame / PART)];
    if (!part) return;
    pen.globalAlpha = opacity;
    pen.drawImage(part, (frame % PART) * side, 0, side, side, 0, 0, canvas.width, canvas.height);
  };
  put(index, 1);
  if (index < FRAMES - 1) put(index + 1, exact - index);
}

function step(now) {
  if (!playing) return;
  phase = (phase + (now - last) / CYCLE) % 1;
  last = now;
  place.value = (1 - Math.cos(2 * Math.PI * phase)) / 2;
  draw(Number(place.value));
  requestAnimationFrame(step);
}

function play(yes) {
  if (yes && !playing) {
    phase = Math.acos(1 - 2 * Number(place.value)) / (2 * Math.PI);
    last = performance.now();
    requestAnimationFrame(step);
  }
  playing = yes;
  $("walk-play").textContent = yes ? "Pause" : "Play";
}

/** Draw a whole picture: the painting that the walk starts from, before there are frames. */
function drawWhole(image) {
  pen.globalAlpha = 1;
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
}

async function loaded(blob) {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  await image.decode();
  URL.revokeObjectURL(image.src);
  return image;
}

/** Close the dialog, if it is open. */
export function closeWalk() {
  if (dialog.open) dialog.close();
}

/** Ask for all parts in turn; `came` is told after each how many are here. */
async function fetchParts(address, way, signal, came) {
  const wanted = Array.from({ length: FRAMES / PART }, (_, part) => part);
  let here = 0;
  const worker = async () => {
    for (let part = wanted.shift(); part !== undefined; part = wanted.shift()) {
      const query = { ...way, first_frame: part * PART + 1, frames: PART };
      const answer = await ask(address("interpolation", query), signal);
      const image = await loaded(await answer.blob());
      signal.throwIfAborted();
      parts[part] = image;
      came(++here);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** Show the walk from one painting to another in the dialog; `start` is the first one, if it hangs. */
export async function openWalk({ from, to, size, start, formats, address, closed: whenClosed }) {
  const numbers = `${from},${to}`;
  loading?.abort();
  loading = new AbortController();
  const { signal } = loading;
  const busy = (text) => { $("walk-status").textContent = text; };
  closed = whenClosed;
  play(false);
  parts = [];
  side = size;
  place.value = 0;
  $("walk-play").disabled = place.disabled = true;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  $("walk-title").textContent = `From No. ${from} to No. ${to}`;
  canvas.setAttribute("aria-label", `Painting ${from} turning into painting ${to}`);
  if (start) drawWhole(start);
  $("walk-from").onload = () => { if (!parts[0]) drawWhole($("walk-from")); };
  for (const [id, number] of [["walk-from", from], ["walk-to", to]]) {
    $(id).src = address("images", { images: number, size, format: "jpeg" });
    $(id).alt = `No. ${number}`;
  }
  $("walk-gif").href = address("interpolation", { images: numbers, format: "gif" });
  $("walk-mp4").href = address("interpolation", { images: numbers, format: "mp4", size });
  $("walk-mp4").hidden = !formats.includes("mp4");
  dialog.classList.add("waiting");
  if (!dialog.open) dialog.showModal();
  const per = (here) => busy(`Painting the way: ${Math.round((100 * here) / (FRAMES / PART))}%`);
  per(0);
  try {
    const way = { images: numbers, frames_per_step: FRAMES - 1, loop: false, size, format: "sheet" };
    await fetchParts(address, way, signal, (here) => {
      per(here);
      const missing = parts.findIndex((part) => part === undefined);
      const reached = (missing < 0 ? parts.length : missing) * PART - 1;
      if (reached >= 0) draw(reached / (FRAMES - 1)); // as far as the way is made
    });
    busy("");
    dialog.classList.remove("waiting");
    $("walk-play").disabled = place.disabled = false;
    draw(0);
    play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  } catch (error) {
    if (signal.aborted) return;
    loading.abort(); // what the others still ask for
    loading = new AbortController();
    dialog.classList.remove("waiting");
    busy(error.message);
  }
}

place.addEventListener("input", () => {
  play(false);
  draw(Number(place.value));
});
$("walk-play").addEventListener("click", () => play(!playing));
for (const [id, kind] of [["walk-gif", "GIF"], ["walk-mp4", "MP4"]]) {
  $(id).addEventListener("click", (event) => {
    event.preventDefault();
    saveFile($(id), `Making the ${kind} …`, (text) => { $("walk-status").textContent = text; }, loading?.signal);
  });
}
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // outside of it
});
dialog.addEventListener("close", () => {
  play(false);
  loading?.abort();
  closed();
});
