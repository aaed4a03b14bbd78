// Keeps the page's own files, so that it opens while the server is down. Nothing else is kept or even looked at.

const CACHE = "puna.page";
const PAGE = "/";
const FILES = "/page/";

self.addEventListener("install", (event) => {
  event.waitUntil(keepPage().then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(self.clients.claim());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (url.pathname === PAGE && request.mode === "navigate") event.respondWith(fresh(event));
  else if (url.pathname.startsWith(FILES) && url.pathname !== self.location.pathname) event.respondWith(kept(request));
});

/** The page as the server has it, or as it was kept. */
async function fresh(event) {
  try {
    const response = await fetch(event.request);
    if (response.ok) event.waitUntil(keep(response.clone()));
    return response;
  } catch (error) {
    const cache = await caches.open(CACHE);
    const before = await cache.match(PAGE);
    if (before === undefined) throw error;
    return before;
  }
}

/** A file has its content's hash in its name: what was kept is what the server has. */
async function kept(request) {
  const cache = await caches.open(CACHE);
  const before = await cache.match(request);
  if (before !== undefined && /-[\w-]{8,}\.\w+$/.test(new URL(request.url).pathname)) return before;
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    if (before !== undefined) return before;
    throw error;
  }
}

async function keepPage() {
  const response = await fetch(PAGE, { headers: { accept: "text/html" } });
  if (response.ok) await keep(response);
}

/** Keeps the page and the files that it names; files of an older page go. */
async function keep(response) {
  if (!(response.headers.get("content-type") ?? "").includes("text/html")) return;
  const cache = await caches.open(CACHE);
  const text = await response.clone().text();
  const before = await cache.match(PAGE);
  if (before !== undefined && (await before.text()) === text) return;
  if (before !== undefined) await caches.delete(CACHE);
  const next = await caches.open(CACHE);
  const files = [...new Set([...text.matchAll(/"(\/page\/[^"]+)"/g)].map((match) => match[1]))];
  await Promise.all(files.map((file) => next.add(file).catch(() => {})));
  await next.put(PAGE, response);
}
