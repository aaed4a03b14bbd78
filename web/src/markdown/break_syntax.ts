import type { Extension as TreeExtension } from "mdast-util-from-markdown";
import type { Construct, Extension, State } from "micromark-util-types";

/** `<br>`: of all HTML only this has a meaning here, because a line cannot break within a table's cell otherwise. */

declare module "micromark-util-types" {
  interface TokenTypeMap {
    breakTag: "breakTag";
  }
}

const lessThan = 60;

const breakTag: Construct = {
  name: "breakTag",
  tokenize(effects, ok, nok) {
    let at = 0;
    const inside: State = (code) => {
      const letter = code === null || code < 0 ? "" : String.fromCharCode(code).toLowerCase();
      if (at < 3 && letter === "<br"[at]) {
        at++;
        effects.consume(code);
        return inside;
      }
      if (at >= 3 && at < 5 && (letter === " " || letter === "/")) {
        at++;
        effects.consume(code);
        return inside;
      }
      if (at < 3 || letter !== ">") return nok(code);
      effects.consume(code);
      effects.exit("breakTag");
      return ok;
    };
    return (code) => {
      effects.enter("breakTag");
      return inside(code);
    };
  },
};

export const breakSyntax: Extension = { text: { [lessThan]: breakTag } };

export const breakTree: TreeExtension = {
  enter: {
    breakTag(token) {
      this.enter({ type: "break" }, token);
    },
  },
  exit: {
    breakTag(token) {
      this.exit(token);
    },
  },
};
