import { askJson } from "../api/client.ts";
import { field, flag, list, text } from "../api/json.ts";
import { guard } from "../api/server.ts";
import { settings } from "../settings/settings.ts";
import type { Verdict } from "./message.ts";
import type { Thread } from "./thread.ts";

/** Has the guard judge a message, where one is served. A message that it did not judge shows no verdict. */
export async function judge(thread: Thread, id: string): Promise<void> {
  const model = guard.value;
  const input = thread.tree.get(id)?.text ?? "";
  if (model === undefined || !settings.guardChecks.value || input.trim() === "") return;
  try {
    const told = await askJson("/v1/moderations", { body: { model: model.name, input } });
    const verdict = verdictOf(field(told, "results", 0));
    // An answer that went on meanwhile has another verdict.
    if (verdict !== undefined && thread.tree.get(id)?.text === input)
      thread.update(id, (message) => ({ ...message, verdict }));
  } catch {
    return;
  }
}

export function verdictOf(result: unknown): Verdict | undefined {
  const flagged = flag(field(result, "flagged"));
  if (flagged === undefined) return undefined;
  const own = list(field(result, "guard", "categories")).flatMap((category) => {
    const name = text(field(category, "name")) ?? "";
    return name !== "" ? [name] : [text(field(category, "code")) ?? ""];
  });
  const categories = field(result, "categories");
  const theirs =
    typeof categories === "object" && categories !== null
      ? Object.entries(categories).filter(([, is]) => is === true)
      : [];
  return { isSafe: !flagged, categories: own.length > 0 ? own : theirs.map(([name]) => name) };
}
