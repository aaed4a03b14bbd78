interface ScriptPolicy {
  createScriptURL(url: string): string;
}

interface Policies {
  createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): ScriptPolicy;
}

/** Has the page's own files kept, so that it opens while the server is down. */
export async function offlineReady(): Promise<void> {
  if (!("serviceWorker" in navigator) || import.meta.env.DEV) return;
  const url = `${import.meta.env.BASE_URL}sw.js`;
  try {
    await navigator.serviceWorker.register(trusted(url), { scope: "/" });
  } catch {
    // Without it the page needs the server to open; all else is the same.
  }
}

/** The worker is the one script whose address the page gives: where browsers want that said, it is said. */
function trusted(url: string): string {
  const policies = (globalThis as { trustedTypes?: Policies }).trustedTypes;
  if (policies === undefined) return url;
  return policies.createPolicy("puna-worker", { createScriptURL: () => url }).createScriptURL(url);
}
