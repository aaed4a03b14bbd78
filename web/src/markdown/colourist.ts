import type { Runs } from "./colouring.ts";
import type { ColourReply, ColourRequest } from "./colouring.worker.ts";
import workerUrl from "./colouring.worker.ts?worker&url";

/** The browsers' check on what may become a script; not all have it. */
interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): { createScriptURL(url: string): string };
}

interface Task {
  request: ColourRequest;
  resolve: (runs: Runs | null) => void;
}

/** A grammar that takes longer on some code is stuck. */
const timeout = 3000;

/**
 * Colours code in a worker, one piece at a time: grammars are regular expressions, of which some take very long on code that
 * was made for it. Such code stays plain, and the page never waits.
 */
class Colourist {
  #worker: Worker | null = null;
  #tasks: Task[] = [];
  #isBusy = false;
  #isBroken = typeof Worker === "undefined";

  colour(request: ColourRequest): Promise<Runs | null> {
    if (this.#isBroken) return Promise.resolve(null);
    return new Promise((resolve) => {
      this.#tasks.push({ request, resolve });
      this.#next();
    });
  }

  #next(): void {
    if (this.#isBusy) return;
    const task = this.#tasks.shift();
    if (task === undefined) return;
    const worker = this.#start();
    if (worker === null) {
      task.resolve(null);
      this.#next();
      return;
    }
    this.#isBusy = true;
    const finish = (runs: Runs | null): void => {
      clearTimeout(timer);
      this.#isBusy = false;
      task.resolve(runs);
      this.#next();
    };
    const fail = (): void => {
      worker.terminate();
      this.#worker = null;
      finish(null);
    };
    const timer = setTimeout(fail, timeout);
    worker.onmessage = ({ data }: MessageEvent<ColourReply>) => finish(data);
    worker.onerror = fail;
    worker.postMessage(task.request);
  }

  #start(): Worker | null {
    if (this.#worker !== null || this.#isBroken) return this.#worker;
    try {
      this.#worker = new Worker(trusted(), { type: "module" });
    } catch {
      this.#isBroken = true;
    }
    return this.#worker;
  }
}

/** The worker's address in the form that the page's security policy wants. */
function trusted(): string {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  if (trustedTypes === undefined) return workerUrl;
  policy ??= trustedTypes.createPolicy("puna-colouring", { createScriptURL: () => workerUrl });
  return policy.createScriptURL(workerUrl);
}

let policy: ReturnType<TrustedTypes["createPolicy"]> | null = null;

const colourist = new Colourist();

export function colourCode(language: string, code: string): Promise<Runs | null> {
  return colourist.colour({ language, code });
}
