import { notify } from "../ui/notices.tsx";
import { askJson } from "./client.ts";
import { explain, ServerError } from "./errors.ts";
import { field, text } from "./json.ts";

/** The key for the code of a link; empty where the code is not good, which is said. */
export async function keyForCode(code: string): Promise<string> {
  try {
    return text(field(await askJson("/page/key", { body: { code } }), "key")) ?? "";
  } catch (error) {
    notify(error instanceof ServerError && error.message !== "" ? error.message : explain(error).what, {
      isError: true,
    });
    return "";
  }
}
