// Files that take the server a while: fetched with a word on how it goes, then saved.
import { ask } from "./server.js";

/** Save what a link leads to; `tell` is given what happens, in words. */
export async function saveFile(link, making, tell, signal) {
  link.setAttribute("aria-busy", "true");
  tell(making);
  try {
    const answer = await ask(link.href, signal);
    const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1];
    const file = document.createElement("a");
    file.href = URL.createObjectURL(await answer.blob());
    file.download = name ?? "painting";
    file.click();
    setTimeout(() => URL.revokeObjectURL(file.href), 10_000);
    tell("");
  } catch (error) {
    if (error.name !== "AbortError") tell(error.message);
  }
  link.removeAttribute("aria-busy");
}
