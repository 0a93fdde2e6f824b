// A photo and its painting: dropped, chosen or pasted; painted by the server; held to compare.
import { holdToCompare } from "./compare.js";
import { ask, introduce } from "./server.js";

const JPEG_QUALITY = 0.95; // of a photo that is shrunk before it is sent
const $ = (id) => document.getElementById(id);
const photo = $("photo"), painting = $("painting");

let model = null;
let file = null; // the photo that is shown
let visible = false; // whether this browser can show it
let painted = null; // which size the painting was made for
let work = new AbortController();

// --- What is shown

function tell(text) {
  $("status").textContent = text;
}

function showProblem(text) {
  $("problem-text").textContent = text;
  $("problem").hidden = text === "";
  $("again").hidden = model !== null && file === null;
  if (text) $("problem").scrollIntoView({ block: "nearest" });
}

function showWork(working) {
  document.body.classList.toggle("waiting", working);
  $("easel").setAttribute("aria-busy", String(working));
  $("compare").disabled = !visible || !painted;
}

function showPhoto(held) {
  $("stage").classList.toggle("comparing", held && visible && painted !== null);
  $("compare").setAttribute("aria-pressed", String(held));
}

/** Let the frame have the shape of a picture. */
function shape(image) {
  $("stage").style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
}

/** Show a file in an image; return whether this browser can. */
async function display(image, blob) {
  const old = image.src;
  image.src = URL.createObjectURL(blob);
  if (old.startsWith("blob:")) URL.revokeObjectURL(old);
  try {
    await image.decode();
    return true;
  } catch {
    return false;
  }
}

function forgetPainting() {
  painted = null;
  painting.classList.remove("shown");
  $("download").removeAttribute("href");
  $("download").setAttribute("aria-disabled", "true");
}

// --- Painting

/** Return by how much a photo is shrunk before it is sent: 1 is not at all. */
function scale(width, height) {
  const { limits } = model, side = Number($("side").value) || Infinity;
  const fits = Math.min(
    1, limits.longest_side / Math.max(width, height), Math.sqrt(limits.pixels / (width * height)),
  );
  const wanted = Math.max(side / Math.max(width, height), limits.shortest_side / Math.min(width, height));
  return Math.min(fits, wanted);
}

/** Return what is sent: the file itself, or a smaller one. */
async function prepared() {
  if (!visible) return file;
  const { naturalWidth: width, naturalHeight: height } = photo, factor = scale(width, height);
  if (factor === 1 && file.size <= model.limits.upload_bytes) return file;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(width * factor));
  canvas.height = Math.max(1, Math.floor(height * factor));
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white"; // behind what is transparent, as the server does
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(photo, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob((blob) => done(blob ?? file), "image/jpeg", JPEG_QUALITY));
}

async function paint() {
  if (!file || !model) return;
  work.abort();
  work = new AbortController();
  const { signal } = work, began = performance.now();
  forgetPainting();
  showProblem("");
  showWork(true);
  tell("Painting …");
  try {
    const body = await prepared();
    const answer = await ask("/v1/translations", signal, { method: "POST", body });
    const blob = await answer.blob();
    signal.throwIfAborted();
    await display(painting, blob);
    signal.throwIfAborted();
    shape(painting);
    painted = blob;
    painting.classList.add("shown");
    $("download").href = painting.src;
    $("download").setAttribute("aria-disabled", "false");
    $("download").download = `${file.name.replace(/\.[^.]*$/, "") || "photo"}-painting.png`;
    const size = `${painting.naturalWidth.toLocaleString("en")} × ${painting.naturalHeight.toLocaleString("en")}`;
    tell(`${size} pixels, painted in ${((performance.now() - began) / 1000).toFixed(1)} seconds`);
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    tell("");
    showProblem(error.message);
  }
  showWork(false);
}

/** Return which photos are taken; larger ones are shrunk here, if this browser can show them. */
function limitsInWords({ shortest_side: shortest, pixels, upload_bytes: bytes }) {
  const millions = (count) => (count / 1e6).toFixed(1).replace(/\.0$/, "");
  return (
    `JPEG, PNG, WebP and more, of ${shortest} pixels a side at least. Up to ${millions(pixels)} million pixels ` +
    `and ${millions(bytes)} MB; what is larger is shrunk first.`
  );
}

/** Take a photo in place of the one that is shown. */
async function take(files) {
  const [first] = files;
  if (!first) {
    showProblem("That was no file. Drop a photo from a folder, or save it first.");
    return;
  }
  const others = files.length - 1;
  work.abort();
  file = first;
  forgetPainting();
  const shown = await display(photo, first);
  if (file !== first) return; // another one has come meanwhile
  visible = shown;
  $("drop").hidden = true;
  $("stage").hidden = $("tools").hidden = false;
  $("stage").classList.toggle("hidden-photo", !shown);
  if (shown) shape(photo);
  const name = shown ? first.name : `${first.name}, which this browser cannot show`;
  $("photo-name").textContent = others ? `${name} (the first of ${others + 1}; one at a time)` : name;
  paint();
}

// --- Where photos come from

$("file").addEventListener("change", () => {
  if ($("file").files.length) take($("file").files);
  $("file").value = ""; // so that the same one can be chosen again
});
$("choose").addEventListener("click", () => $("file").click());
$("side").addEventListener("change", paint);
$("again").addEventListener("click", () => (model ? paint() : start()));
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  take(event.dataTransfer.files);
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData.files);
  else showProblem("There is no picture to paste. Copy the photo itself, not its address or name.");
});
holdToCompare([$("sight"), $("compare")], showPhoto);

// --- The model

async function start() {
  model = await introduce(showProblem);
  if (model === null) return;
  showProblem("");
  $("limits").textContent = limitsInWords(model.limits);
  paint(); // a photo that came before the model was known
}

start();
