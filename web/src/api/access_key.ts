import { signal } from "@preact/signals";

const STORED = "puna.key";

/** The key that requests carry; empty where none is known. */
export const accessKey = signal("");

/** Whether the server asked for a key, or refused the one it was given. */
export const keyWanted = signal<"no" | "missing" | "refused">("no");

/** What an address's fragment gives the page, and the fragment without it. */
export interface Given {
  key: string;
  /** Good for a key, once. */
  code: string;
  rest: string;
}

export function takeGiven(fragment: string): Given {
  const fields = fragment
    .replace(/^#/, "")
    .split("&")
    .filter((field) => field !== "");
  const valueOf = (name: string) =>
    decoded(fields.find((field) => field.startsWith(`${name}=`))?.slice(name.length + 1) ?? "");
  const rest = fields.filter((field) => !/^(key|code)=/.test(field)).join("&");
  return { key: valueOf("key"), code: valueOf("code"), rest: rest === "" ? "" : `#${rest}` };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text).trim();
  } catch {
    return text.trim();
  }
}

/**
 * Takes a key, or a code that is good for one, from the address, where it stays neither in the bar nor in the history;
 * or the key of this tab. `exchange` gets a key for a code.
 */
export async function readAccessKey(exchange: (code: string) => Promise<string>): Promise<void> {
  const { key, code, rest } = takeGiven(location.hash);
  if (key !== "" || code !== "") history.replaceState(history.state, "", location.pathname + location.search + rest);
  const found = code === "" ? key : await exchange(code);
  if (found === "") accessKey.value = stored() ?? "";
  else takeAccessKey(found);
}

export function takeAccessKey(key: string): void {
  // The same key once more is a new try too.
  if (accessKey.peek() === key.trim()) accessKey.value = "";
  accessKey.value = key.trim();
  keyWanted.value = "no";
  try {
    sessionStorage.setItem(STORED, accessKey.value);
  } catch {
    // Without storage the key lasts as long as the page.
  }
}

function stored(): string | null {
  try {
    return sessionStorage.getItem(STORED);
  } catch {
    return null;
  }
}

/** Resolves when a key was entered, or the signal is aborted. */
export function keyEntered(until: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    let stop = () => {};
    const settle = () => {
      stop();
      until.removeEventListener("abort", settle);
      resolve();
    };
    until.addEventListener("abort", settle);
    let isFirst = true;
    stop = accessKey.subscribe(() => {
      if (!isFirst) settle();
      isFirst = false;
    });
    if (until.aborted) settle();
  });
}
