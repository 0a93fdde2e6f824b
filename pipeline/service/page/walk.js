// A walk between two paintings: all frames in one picture, blended into each other on a canvas.
const FRAMES = 32, COLUMNS = 8, CYCLE = 7000; // a walk there and back, in milliseconds
const $ = (id) => document.getElementById(id);
const dialog = $("walk"), canvas = $("walk-canvas"), place = $("walk-place");
const pen = canvas.getContext("2d");

let sheet = null, side = 0, playing = false, phase = 0, last = 0, loading = null, closed = () => {};

/** Draw the walk at a place from 0 to 1: one frame, and the next one over it as far as it is reached. */
function draw(at) {
  if (!sheet) return;
  const exact = at * (FRAMES - 1), index = Math.min(Math.floor(exact), FRAMES - 1);
  const put = (frame, opacity) => {
    pen.globalAlpha = opacity;
    pen.drawImage(sheet, (frame % COLUMNS) * side, Math.floor(frame / COLUMNS) * side, side, side,
      0, 0, canvas.width, canvas.height);
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

/** Show the walk from one painting to another in the dialog. */
export async function openWalk({ from, to, size, formats, address, ask, closed: whenClosed }) {
  const numbers = `${from},${to}`;
  loading?.abort();
  loading = new AbortController();
  const { signal } = loading;
  const busy = (text) => { $("walk-status").textContent = text; };
  closed = whenClosed;
  play(false);
  sheet = null;
  place.value = 0;
  $("walk-play").disabled = place.disabled = true;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  $("walk-title").textContent = `From No. ${from} to No. ${to}`;
  canvas.setAttribute("aria-label", `Painting ${from} turning into painting ${to}`);
  for (const [id, number] of [["walk-from", from], ["walk-to", to]]) {
    $(id).src = address("images", { images: number, size, format: "jpeg" });
    $(id).alt = `No. ${number}`;
  }
  $("walk-gif").href = address("interpolation", { images: numbers, format: "gif" });
  $("walk-mp4").href = address("interpolation", { images: numbers, format: "mp4", size });
  $("walk-mp4").hidden = !formats.includes("mp4");
  dialog.classList.add("waiting");
  if (!dialog.open) dialog.showModal();
  busy("Painting the way …");
  try {
    const way = { images: numbers, frames_per_step: FRAMES - 1, loop: false, size, format: "sheet" };
    const answer = await ask(address("interpolation", way), signal);
    const image = await loaded(await answer.blob());
    if (signal.aborted) return;
    sheet = image;
    side = size;
    busy("");
    dialog.classList.remove("waiting");
    $("walk-play").disabled = place.disabled = false;
    draw(0);
    play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  } catch (error) {
    if (signal.aborted) return;
    dialog.classList.remove("waiting");
    busy(error.message);
  }
}

place.addEventListener("input", () => {
  play(false);
  draw(Number(place.value));
});
$("walk-play").addEventListener("click", () => play(!playing));
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // outside of it
});
dialog.addEventListener("close", () => {
  play(false);
  loading?.abort();
  closed();
});
