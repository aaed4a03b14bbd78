import { texts } from "../texts.ts";
import { field, text } from "./json.ts";

/** The server answered that it will not. */
export class ServerError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly code: string = "",
    /** Seconds after which to ask again, where the server says so. */
    readonly retryAfterS: number | undefined = undefined,
  ) {
    super(message);
  }
}

/** No answer came: the server is down, or the network between. */
export class Unreachable extends Error {}

export async function errorOf(response: Response): Promise<ServerError> {
  const body = await response.text().catch(() => "");
  const retryAfter = Number(response.headers.get("retry-after") ?? NaN);
  return errorOfBody(response.status, body, Number.isFinite(retryAfter) ? Math.max(0, retryAfter) : undefined);
}

export function errorOfBody(status: number, body: string, retryAfterS?: number): ServerError {
  let told: unknown;
  try {
    told = JSON.parse(body);
  } catch {
    told = undefined;
  }
  const error = field(told, "error");
  const message = text(field(error, "message")) ?? text(error) ?? "";
  return new ServerError(status, message, text(field(error, "code")) ?? "", retryAfterS);
}

/** What happened and what to do, for a person. */
export interface Explained {
  what: string;
  todo: string;
  /** The server's own words, where they add something. */
  detail: string;
}

export function explain(error: unknown): Explained {
  if (error instanceof Unreachable) return { ...texts.errors.unreachable, detail: "" };
  if (!(error instanceof ServerError)) {
    return { ...texts.errors.unexpected, detail: error instanceof Error ? error.message : String(error) };
  }
  const detail = error.message;
  if (error.code === "context_length_exceeded") return { ...texts.errors.tooLong, detail };
  if (error.status === 401) return { ...texts.errors.key, detail };
  if (error.status === 403) return { ...texts.errors.forbidden, detail };
  if (error.status === 404) return { ...texts.errors.notFound, detail };
  if (error.status === 413) return { ...texts.errors.tooLarge, detail };
  if (error.status === 429) return { ...texts.errors.busy, detail };
  if (error.status === 503) return { ...texts.errors.noRoom, detail };
  if (error.status >= 500) return { ...texts.errors.failed, detail };
  return { ...texts.errors.refused, detail };
}
