// Hold to compare: with the mouse or a finger on the picture, or with a key on the button.

/** Call `show(true)` while one of the elements is held, and `show(false)` when it is let go. */
export function holdToCompare(elements, show) {
  let held = false;
  const set = (now) => {
    if (now === held) return;
    held = now;
    show(held);
  };
  for (const element of elements) {
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      element.setPointerCapture(event.pointerId); // so that letting go elsewhere is noticed
      set(true);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) {
      element.addEventListener(end, () => set(false));
    }
    element.addEventListener("contextmenu", (event) => {
      if (held) event.preventDefault(); // of a long touch
    });
    element.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      set(true);
    });
    element.addEventListener("keyup", (event) => {
      if (event.key === " " || event.key === "Enter") set(false);
    });
  }
}
