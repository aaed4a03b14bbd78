// A server in front of another one, which gives all questions to it but those for chat completions: these it answers itself,
// with a text of its own, as fast as it is told. So what an answer costs the page is measured, whatever a model would take.
import { createServer, request } from "node:http";

/** Listens on a free port; `write.tokens` are sent one by one, `write.perS` of them a second (all at once if 0). */
export async function standIn(port, write) {
  const server = createServer((asked, answer) => {
    if (asked.url === "/v1/chat/completions") return void tell(asked, answer, write);
    const headers = { ...asked.headers, host: `127.0.0.1:${port}` };
    if (headers.origin !== undefined) headers.origin = `http://127.0.0.1:${port}`;
    const passed = request({ host: "127.0.0.1", port, method: asked.method, path: asked.url, headers }, (given) => {
      answer.writeHead(given.statusCode, given.headers);
      given.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    asked.pipe(passed);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { address: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

async function tell(asked, answer, { tokens, perS }) {
  asked.resume();
  answer.writeHead(200, { "content-type": "text/event-stream" });
  const send = (fields) => answer.write(`data: ${JSON.stringify({ id: "told", object: "chat.completion.chunk", model: "told", ...fields })}\n\n`);
  const start = performance.now();
  for (let n = 0; n < tokens.length && !answer.destroyed; ) {
    const due = perS === 0 ? tokens.length : Math.min(tokens.length, Math.floor(((performance.now() - start) * perS) / 1000));
    for (; n < due; n++) send({ choices: [{ index: 0, delta: { content: tokens[n] }, finish_reason: null }] });
    if (n < tokens.length) await new Promise((done) => setTimeout(done, 1000 / perS));
  }
  send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
  send({ choices: [], usage: { prompt_tokens: 10, completion_tokens: tokens.length, total_tokens: 10 + tokens.length } });
  answer.end("data: [DONE]\n\n");
}
