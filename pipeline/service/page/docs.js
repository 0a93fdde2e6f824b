// The API, drawn from its OpenAPI description.
const make = (kind, text = "", name = "") => {
  const made = document.createElement(kind);
  made.textContent = text;
  if (name) made.className = name;
  return made;
};

/** Large numbers would lose their last digits here. */
const number = (value) => (value > Number.MAX_SAFE_INTEGER ? `2^${Math.log2(value)}` : String(value));

function range(schema) {
  const found = [];
  if (schema.enum) found.push(schema.enum.join(", "));
  const most = schema.maximum ?? schema.exclusiveMaximum, below = schema.maximum === undefined ? "below " : "";
  if (schema.minimum !== undefined && most !== undefined) found.push(`${schema.minimum} to ${below}${number(most)}`);
  if (schema.examples) found.push(`such as ${schema.examples.join("; ")}`);
  return found.join(" · ");
}

function table(parameters) {
  const made = make("table"), body = make("tbody"), head = make("tr");
  for (const title of ["parameter", "default", "values", "what"]) head.append(make("th", title));
  made.append(make("thead"));
  made.tHead.append(head);
  for (const { name, schema, description } of parameters) {
    const row = make("tr");
    const first = make("th");
    first.scope = "row";
    first.append(make("code", name));
    row.append(first, make("td", String(schema.default ?? "")), make("td", range(schema)),
      make("td", description ?? schema.description ?? ""));
    body.append(row);
  }
  made.append(body);
  const scroll = make("div", "", "scroll");
  scroll.append(made);
  return scroll;
}

function route(path, method, operation) {
  const section = make("section"), title = make("h2"), kinds = make("p", "", "quiet");
  const name = make(method === "get" ? "a" : "span", `${method.toUpperCase()} ${path}`);
  if (method === "get") name.href = path;
  title.append(name);
  section.append(title, make("p", operation.summary));
  const body = operation.requestBody;
  if (body) section.append(make("p", `Body: ${body.description} ${Object.keys(body.content).join(", ")}.`));
  if (operation.parameters) section.append(table(operation.parameters));
  const answers = Object.entries(operation.responses).map(([status, answer]) => {
    const types = Object.keys(answer.content ?? {}).join(", ");
    return types ? `${status}: ${types}` : status;
  });
  kinds.textContent = `Answers: ${answers.join(" · ")}`;
  section.append(kinds);
  return section;
}

try {
  const api = await (await fetch("/openapi.json")).json();
  document.getElementById("about").textContent = api.info.description;
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      document.getElementById("routes").append(route(path, method, operation));
    }
  }
  if ("/v1/translations" in api.paths) document.getElementById("home").textContent = "A photo";
} catch {
  document.getElementById("about").textContent = "The server does not answer. Is painter serve still running?";
}
