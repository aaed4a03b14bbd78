/** Cuts a stream of server-sent events into the data of each, wherever the network cut it. */
export class SseParser {
  #line = "";
  #data: string[] = [];
  #afterReturn = false;
  #isFirst = true;

  /** The data of the events that end within this piece. */
  push(piece: string): string[] {
    let rest = piece;
    if (this.#isFirst && rest !== "") {
      this.#isFirst = false;
      if (rest.startsWith("\uFEFF")) rest = rest.slice(1);
    }
    const events: string[] = [];
    let start = 0;
    for (let i = 0; i < rest.length; i++) {
      const unit = rest.charCodeAt(i);
      if (unit !== 10 && unit !== 13) {
        this.#afterReturn = false;
        continue;
      }
      // A line ends with \n, \r or both together, between which the network may have cut.
      if (unit === 10 && this.#afterReturn) {
        this.#afterReturn = false;
        start = i + 1;
        continue;
      }
      this.#afterReturn = unit === 13;
      this.#endLine(this.#line + rest.slice(start, i), events);
      this.#line = "";
      start = i + 1;
    }
    this.#line += rest.slice(start);
    return events;
  }

  #endLine(line: string, events: string[]): void {
    if (line === "") {
      if (this.#data.length > 0) events.push(this.#data.join("\n"));
      this.#data = [];
      return;
    }
    if (line === "data") this.#data.push("");
    else if (line.startsWith("data: ")) this.#data.push(line.slice(6));
    else if (line.startsWith("data:")) this.#data.push(line.slice(5));
  }
}

/** Reads a body to its end, event by event. Resolves early where `onEvent` returns false. */
export async function readEvents(body: ReadableStream<Uint8Array>, onEvent: (data: string) => boolean): Promise<void> {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const piece = done ? decoder.decode() : decoder.decode(value, { stream: true });
      for (const data of parser.push(piece)) {
        if (!onEvent(data)) return;
      }
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
