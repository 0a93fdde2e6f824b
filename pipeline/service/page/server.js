// Asking the server, and what it tells of its model: shared by all pages.

const sleep = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

/** Return an answer that is all right; a busy server is asked again when it says so. */
export async function ask(url, signal, request = {}) {
  for (let tries = 0; ; tries++) {
    let answer;
    try {
      answer = await fetch(url, { ...request, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server does not answer. Is painter serve still running?");
    }
    if (answer.ok) return answer;
    if (answer.status === 429 && tries < 20) {
      await sleep(Number(answer.headers.get("Retry-After")) || 1);
      signal?.throwIfAborted();
      continue;
    }
    const body = await answer.json().catch(() => ({}));
    throw new Error(
      body.error ?? `The server answered ${answer.status} and does not say why; the terminal of painter serve may.`,
    );
  }
}

/** Return the server's model, with the page named after it; null, and the reason shown, if there is none. */
export async function introduce(showProblem) {
  let model;
  try {
    model = await (await ask("/v1/model")).json();
  } catch (error) {
    showProblem(error.message);
    return null;
  }
  document.title = `${model.name} · painter`;
  document.getElementById("name").textContent = model.name;
  document.getElementById("facts").textContent = facts(model);
  return model;
}

/** Return in one line how a model was trained, and its score. */
function facts(model) {
  const found = [], data = model.trained_on;
  const learnt = data?.count ? [`${data.count.toLocaleString("en")} images`] : [];
  if (data?.photos) learnt.push(`${data.photos.toLocaleString("en")} photos`);
  if (learnt.length) found.push(`learnt from ${learnt.join(" and ")}`);
  found.push(`${model.images_seen.toLocaleString("en")} images seen in training`);
  if (model.score?.mifid != null) {
    const about = [model.score.features].filter(Boolean);
    if (!model.score.comparable_with_leaderboard) about.push("not comparable with the leaderboard");
    found.push(`MiFID ${model.score.mifid.toFixed(1)}${about.length ? ` (${about.join(", ")})` : ""}`);
  }
  return found.join(" · ");
}
