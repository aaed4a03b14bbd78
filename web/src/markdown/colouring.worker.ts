import { colour, type Runs } from "./colouring.ts";

export interface ColourRequest {
  language: string;
  code: string;
}

export type ColourReply = Runs | null;

/** What of a worker's global scope is used; the page's types describe a window. */
interface Scope {
  onmessage: ((event: MessageEvent<ColourRequest>) => void) | null;
  postMessage(reply: ColourReply): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data }) => {
  colour(data.language, data.code).then(
    (runs) => scope.postMessage(runs),
    () => scope.postMessage(null),
  );
};
