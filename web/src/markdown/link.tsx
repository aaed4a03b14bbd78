import type { ComponentChildren } from "preact";
import { limits } from "./limits.ts";
import { markdownTexts as texts } from "./texts.ts";

/** The address where it is one that may be opened: absolute, and of the web or of mail. */
export function safeUrl(url: string): URL | null {
  if (url.length > limits.url) return null;
  try {
    const parsed = new URL(url);
    const isMail = parsed.protocol === "mailto:";
    return isMail || ((parsed.protocol === "http:" || parsed.protocol === "https:") && parsed.host !== "") ? parsed : null;
  } catch {
    return null;
  }
}

/** Where the link really leads, in letters that cannot be mistaken: other than ASCII is shown encoded. */
function placeOf(url: URL): string {
  return url.protocol === "mailto:" ? url.pathname : url.host;
}

/** Whether a link's words name a host other than the one it leads to. */
function misleads(words: string, url: URL): boolean {
  const named = /^\s*(?:https?:\/\/)?(?:www\.)?((?:[\p{L}\p{N}-]+\.)+\p{L}{2,})(?=[/:?#\s]|$)/iu.exec(words)?.[1];
  if (named === undefined || url.protocol === "mailto:") return false;
  const host = url.hostname.replace(/^www\./, "");
  return named.toLowerCase() !== host && !host.endsWith(`.${named.toLowerCase()}`);
}

export function Link(props: { url: string; words: string; children: ComponentChildren }) {
  const url = safeUrl(props.url);
  if (url === null) return <>{props.children}</>;
  return (
    <>
      <a href={url.href} title={placeOf(url)} rel="noopener noreferrer nofollow" target="_blank">
        {props.children}
      </a>
      {misleads(props.words, url) && <span class="md-host"> ({placeOf(url)})</span>}
    </>
  );
}

/** Stands for a picture, which is never loaded: its address could tell someone that the answer was read. */
export function Picture(props: { url: string; description: string }) {
  const url = safeUrl(props.url);
  const label = texts.picture.label(props.description);
  if (url === null || url.protocol === "mailto:") {
    return (
      <span class="md-picture" title={texts.picture.blocked}>
        {label}
      </span>
    );
  }
  return (
    <a class="md-picture" href={url.href} title={texts.picture.open(url.host)} rel="noopener noreferrer nofollow" target="_blank">
      {label} — {url.host}
    </a>
  );
}
