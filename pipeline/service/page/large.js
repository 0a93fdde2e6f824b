// One painting, large: what the wall shows of it at once, then as large as it was made.
import { ask } from "./server.js";
import { saveFile } from "./save.js";

const LARGEST = 1024; // pixels that the server makes of one
const $ = (id) => document.getElementById(id);
const dialog = $("large"), sight = $("large-sight");

let shown = 0, options = null, loading = null;

function tell(text) {
  $("large-status").textContent = text;
}

/** Return the pixels that are worth asking for: what the model makes, or what the frame has room for. */
function wantedSide(own) {
  const room = sight.clientWidth * (window.devicePixelRatio || 1);
  return Math.min(LARGEST, Math.max(own, Math.ceil(room / 256) * 256));
}

/** Return a picture of an image: its own address may be gone. */
function copied(image) {
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas;
}

async function show(number) {
  shown = number;
  loading?.abort();
  loading = new AbortController();
  const { signal } = loading;
  const { address, preview, own, count, changed } = options;
  $("large-title").textContent = `No. ${number}`;
  $("large-previous").disabled = number <= 1;
  $("large-next").disabled = number >= count();
  $("large-download").href = address("images", { images: number, format: "png" });
  $("large-download").setAttribute("aria-label", `Download painting ${number} as PNG`);
  sight.replaceChildren();
  const small = preview(number);
  if (small) sight.append(copied(small));
  dialog.classList.toggle("waiting", !small);
  changed(number);
  tell("");
  try {
    const size = wantedSide(own);
    const answer = await ask(address("images", { images: number, size, format: "jpeg" }), signal);
    const image = new Image();
    image.src = URL.createObjectURL(await answer.blob());
    image.alt = `Painting ${number}`;
    await image.decode();
    URL.revokeObjectURL(image.src);
    signal.throwIfAborted();
    image.className = "shown";
    sight.replaceChildren(image);
  } catch (error) {
    if (signal.aborted) return;
    tell(error.message);
  }
  dialog.classList.remove("waiting");
}

/** Close the dialog, if it is open. */
export function closeLarge() {
  if (dialog.open) dialog.close();
}

/**
 * Show a painting large.
 *
 * `preview` returns the wall's image of a number, `own` is the side that the model makes, `count`
 * how many hang there; `changed` is told which is shown, `walk` starts a walk from one, and `closed`
 * is told which was shown last.
 */
export function openLarge(number, given) {
  options = given;
  if (!dialog.open) dialog.showModal();
  show(number);
}

const step = (by) => {
  const next = shown + by;
  if (next >= 1 && next <= options.count()) show(next);
};
$("large-previous").addEventListener("click", () => step(-1));
$("large-next").addEventListener("click", () => step(1));
$("large-walk").addEventListener("click", () => {
  dialog.close();
  options.walk(shown);
});
$("large-download").addEventListener("click", (event) => {
  event.preventDefault();
  saveFile($("large-download"), "Making the file …", tell, loading?.signal);
});
dialog.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowLeft" || event.key === "ArrowUp") step(-1);
  else if (event.key === "ArrowRight" || event.key === "ArrowDown") step(1);
  else if (event.key === "w") $("large-walk").click();
  else return;
  event.preventDefault();
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // outside of it
});
dialog.addEventListener("close", () => {
  loading?.abort();
  sight.replaceChildren();
  options.closed(shown);
});
