import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { resolve } from "node:path";

export const PROGRAM = process.env["PUNA"] ?? resolve(import.meta.dirname, "../../../target/release/puna");

/** A server of the program, with the page that is a part of it. */
export class Served {
  readonly port: number;
  readonly #options: readonly string[];
  #process: ChildProcess | undefined;

  private constructor(port: number, options: readonly string[]) {
    this.port = port;
    this.#options = options;
  }

  /** Starts one on a free port; of the built-in model unless the options name others. */
  static async start(...options: string[]): Promise<Served> {
    const served = new Served(await freePort(), options);
    await served.again();
    return served;
  }

  get address(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts it once more, at the same address. */
  async again(): Promise<void> {
    const args = ["serve", "--quiet", "--port", String(this.port), ...this.#options];
    const started = spawn(PROGRAM, args, { stdio: ["ignore", "ignore", "inherit"] });
    this.#process = started;
    for (let i = 0; i < 200; i++) {
      if (started.exitCode !== null) throw new Error(`${PROGRAM} ended with ${started.exitCode}`);
      const answer = await fetch(`${this.address}/health`).catch(() => undefined);
      if (answer?.ok === true) return;
      await new Promise((done) => setTimeout(done, 50));
    }
    throw new Error(`${PROGRAM} does not answer`);
  }

  /** Ends it amid whatever it does. */
  async end(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined || running.exitCode !== null) return;
    const ended = once(running, "exit");
    running.kill("SIGKILL");
    await ended;
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no port is free");
  return address.port;
}
