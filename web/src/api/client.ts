import { accessKey, keyWanted } from "./access_key.ts";
import { errorOf, Unreachable } from "./errors.ts";
import { reachable } from "./reachable.ts";

export interface Request {
  method?: "GET" | "POST";
  body?: unknown;
  signal?: AbortSignal;
}

/** Asks the server. Throws `Unreachable`, `ServerError`, or what an aborted request throws. */
export async function ask(path: string, request: Request = {}): Promise<Response> {
  const key = accessKey.value;
  const headers: Record<string, string> = {};
  if (key !== "") headers["authorization"] = `Bearer ${key}`;
  if (request.body !== undefined) headers["content-type"] = "application/json";
  const init: RequestInit = { method: request.method ?? (request.body === undefined ? "GET" : "POST"), headers };
  if (request.body !== undefined) init.body = JSON.stringify(request.body);
  if (request.signal !== undefined) init.signal = request.signal;
  init.cache = "no-store";
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (request.signal?.aborted === true) throw error;
    reachable.value = false;
    throw new Unreachable();
  }
  reachable.value = true;
  if (response.ok) return response;
  if (response.status === 401) {
    // Another key came meanwhile, of which this answer says nothing.
    if (accessKey.peek() !== key) return ask(path, request);
    keyWanted.value = key === "" ? "missing" : "refused";
  }
  throw await errorOf(response);
}

export async function askJson(path: string, request: Request = {}): Promise<unknown> {
  const response = await ask(path, request);
  return response.json();
}

/** Whether the server answers at all; it needs no key for that. */
export async function isHealthy(signal?: AbortSignal): Promise<boolean> {
  try {
    const init: RequestInit = { cache: "no-store" };
    if (signal !== undefined) init.signal = signal;
    const response = await fetch("/health", init);
    return response.ok;
  } catch {
    return false;
  }
}
