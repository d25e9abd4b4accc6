"use strict";
// What the page asks of the server. Errors are problem documents; a busy server is asked again.

class Problem extends Error {
  constructor(problem) {
    super(problem.detail ? `${problem.title}: ${problem.detail}` : problem.title);
    this.kind = problem.type;
    this.status = problem.status;
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function request(path, options = {}) {
  for (let attempt = 0; ; attempt++) {
    const response = await fetch(`/api/v1${path}`, options);
    if (response.ok) return response;
    if (response.status === 429 && attempt < 20) {
      await pause(1000 * Number(response.headers.get("Retry-After") ?? 1) * (0.2 + Math.random() * 0.3));
      continue;
    }
    const problem = await response.json().catch(() => ({ title: response.statusText, status: response.status }));
    throw new Problem(problem);
  }
}

function post(path, question, accept = "application/json") {
  const headers = { "Content-Type": "application/json", Accept: accept };
  return request(path, { method: "POST", headers, body: JSON.stringify(question) });
}

const api = {
  server: async () => (await request("/server")).json(),
  photos: async () => (await request("/photos")).json(),
  photo: async (id) => (await request(`/photos/${encodeURIComponent(id)}`)).json(),
  complete: async (typed) => (await request(`/concepts?limit=12&prefix=${encodeURIComponent(typed)}`)).json(),
  upload: async (file, name) =>
    (await request(`/photos?name=${encodeURIComponent(name)}`, { method: "POST", body: file })).json(),
  ask: (id, kind, question, accept) => onPhoto(id, () => post(`/photos/${encodeURIComponent(id)}/${kind}`, question, accept)),
  picture: (id) => onPhoto(id, () => request(`/photos/${encodeURIComponent(id)}/picture`)),
};

/** The files that were dropped: the server drops photos from its memory when others need the room. */
const uploads = new Map();

async function onPhoto(id, ask) {
  try {
    return await ask();
  } catch (problem) {
    if (problem.kind !== "urn:fieldmark:no-photo" || !uploads.has(id)) throw problem;
    const { file, name } = uploads.get(id);
    await api.upload(file, name);
    return ask();
  }
}

/** Server-sent events of an answer, one by one. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      yield { event: field("event"), data: JSON.parse(field("data")) };
    }
  }
}
