import { computed, effect, signal } from "@preact/signals";
import { accessKey, keyWanted } from "./access_key.ts";
import { askJson, isHealthy } from "./client.ts";
import { ServerError } from "./errors.ts";
import { reachable } from "./reachable.ts";
import { pause } from "./resume.ts";
import { type Model, readModels, readState, type ServerState } from "./server_state.ts";

/** What the server last said of itself; `undefined` before it said anything. */
export const server = signal<ServerState | undefined>(undefined);
let toldAt = 0;

/** When it did, in milliseconds. */
export function serverToldAt(): number {
  return toldAt;
}

/** Models that answer; a guard only judges. */
export const models = computed<readonly Model[]>(
  () => server.value?.models.filter((model) => model.isGuard !== true) ?? [],
);
export const guard = computed(() => server.value?.models.find((model) => model.isGuard === true));

export function modelOf(name: string): Model | undefined {
  return server.value?.models.find((model) => model.name === name);
}

/** Those who want to know the state often, by how many seconds between. */
const watchers = new Map<symbol, number>();
const CALM_S = 15;

let hasState = true;
let timer: ReturnType<typeof setTimeout> | undefined;
let isAsking = false;

/** Asks for the state now, and goes on asking. */
export async function refresh(): Promise<void> {
  if (isAsking) return;
  isAsking = true;
  clearTimeout(timer);
  try {
    const state = hasState ? readState(await askJson("/state")) : readModels(await askJson("/v1/models"));
    toldAt = Date.now();
    server.value = state;
  } catch (error) {
    if (error instanceof ServerError && error.status === 404 && hasState) {
      hasState = false;
      isAsking = false;
      return refresh();
    }
  } finally {
    isAsking = false;
  }
  plan();
}

function plan(): void {
  clearTimeout(timer);
  if (document.hidden || !reachable.value || keyWanted.value !== "no") return;
  const seconds = Math.min(hasState ? CALM_S : 60, ...(hasState ? watchers.values() : []));
  timer = setTimeout(refresh, seconds * 1000);
}

/** Has the state asked for this often until the result is called. */
export function watch(everyS: number): () => void {
  const name = Symbol();
  watchers.set(name, everyS);
  plan();
  return () => {
    watchers.delete(name);
  };
}

let isKnocking = false;

/** Waits until the server answers again. */
async function knock(): Promise<void> {
  if (isKnocking) return;
  isKnocking = true;
  for (let tries = 0; !reachable.value; tries++) {
    if (await isHealthy()) reachable.value = true;
    else await new Promise((resolve) => setTimeout(resolve, pause(tries) * 1000));
  }
  isKnocking = false;
  // Another version may have been started.
  hasState = true;
  await refresh();
}

/** Begins to follow the server; called once. */
export function followServer(): void {
  effect(() => {
    if (!reachable.value) void knock();
  });
  effect(() => {
    void accessKey.value;
    void refresh();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else void refresh();
  });
}
