import type { Literal } from "mdast";
import type { Extension as TreeExtension } from "mdast-util-from-markdown";
import type { Code, Construct, Effects, Extension, State, TokenizeContext } from "micromark-util-types";
import { limits } from "./limits.ts";

/**
 * Formulas as language models write them: `$…$`, `\(…\)` and, displayed, `$$…$$` and `\[…\]`. A single dollar sign opens
 * one only before a character that is no space, and closes one only after such and before no digit: prices stay text.
 */
export interface Maths extends Literal {
  type: "maths";
  value: string;
  isDisplay: boolean;
}

declare module "mdast" {
  interface PhrasingContentMap {
    maths: Maths;
  }
  interface RootContentMap {
    maths: Maths;
  }
}

declare module "micromark-util-types" {
  interface TokenTypeMap {
    mathsBlock: "mathsBlock";
    mathsText: "mathsText";
    /** A line of a formula, delimiters included. */
    mathsLine: "mathsLine";
  }
}

type Closer = "$" | "$$" | "\\)" | "\\]";

const dollar = 36;
const backslash = 92;

const isLineEnd = (code: Code): boolean => code !== null && code < -2;
const isSpace = (code: Code): boolean => code !== null && (code < 0 || code === 32);
const isDigit = (code: Code): boolean => code !== null && code >= 48 && code <= 57;
const isLetter = (code: Code): boolean => code !== null && ((code >= 65 && code <= 90) || (code >= 97 && code <= 122));
const isPunctuation = (code: Code): boolean => code === 46 || code === 44 || code === 58 || code === 59;

/** Openers that found no partner, per text: after so many the rest are taken as text, so that the search stays cheap. */
const maxFailures = 16;
const failures = new WeakMap<TokenizeContext, Map<Closer, number>>();

function mayOpen(context: TokenizeContext, closer: Closer): boolean {
  return (failures.get(context)?.get(closer) ?? 0) < maxFailures;
}

function countFailure(context: TokenizeContext, closer: Closer, atEnd: boolean): void {
  const counts = failures.get(context) ?? new Map<Closer, number>();
  failures.set(context, counts);
  // Where there was no partner up to the end, there is none for later openers either.
  counts.set(closer, atEnd ? maxFailures : (counts.get(closer) ?? 0) + 1);
}

/** The lines of one formula as tokens. */
class Lines {
  readonly #effects: Effects;
  #isOpen = false;

  constructor(effects: Effects) {
    this.#effects = effects;
  }

  take(code: Code): void {
    if (!this.#isOpen) this.#effects.enter("mathsLine");
    this.#isOpen = true;
    this.#effects.consume(code);
  }

  end(): void {
    if (this.#isOpen) this.#effects.exit("mathsLine");
    this.#isOpen = false;
  }

  takeEnd(code: Code): void {
    this.end();
    this.#effects.enter("lineEnding");
    this.#effects.consume(code);
    this.#effects.exit("lineEnding");
  }
}

/** Reads the opening delimiter and calls `inside` with the one that closes it. */
function readOpener(lines: Lines, inside: (closer: Closer) => State, nok: State): State {
  return (first) => {
    lines.take(first);
    return (second) => {
      if (first === backslash) {
        if (second !== 40 && second !== 91) return nok(second);
        lines.take(second);
        return inside(second === 40 ? "\\)" : "\\]");
      }
      if (second !== dollar) return inside("$")(second);
      lines.take(second);
      return (third) => (third === dollar ? nok(third) : inside("$$")(third));
    };
  };
}

interface Reading {
  closer: Closer;
  /** After the closing delimiter. */
  done: State;
  failed: State;
  /** At a line's end. */
  atLineEnd: (code: Code, next: State) => State | undefined;
}

/** Reads formula text up to and with its closing delimiter. */
function readFormula(context: TokenizeContext, lines: Lines, reading: Reading): State {
  const { closer, done } = reading;
  const limit = closer === "$" ? limits.inlineFormula : limits.formula;
  let length = 0;
  let isBlank = true;
  let isLineBlank = false;
  let previous: Code = null;

  const failed: State = (code) => {
    countFailure(context, closer, code === null);
    return reading.failed(code);
  };
  const take = (code: Code): void => {
    lines.take(code);
    previous = code;
    length++;
    if (!isSpace(code)) {
      isBlank = false;
      isLineBlank = false;
    }
  };
  const inside: State = (code) => {
    if (code === null || length > limit) return failed(code);
    if (isLineEnd(code)) {
      if (isLineBlank) return failed(code);
      isLineBlank = true;
      previous = code;
      length++;
      return reading.atLineEnd(code, inside);
    }
    if (code === dollar && closer === "$") {
      if (isSpace(previous) || previous === null) return failed(code);
      lines.take(code);
      return (next) => {
        if (!isDigit(next)) return done(next);
        previous = dollar;
        return inside(next);
      };
    }
    if (code === dollar && closer === "$$") {
      lines.take(code);
      return (next) => {
        if (next !== dollar || isBlank) {
          previous = dollar;
          return inside(next);
        }
        lines.take(next);
        return done;
      };
    }
    if (code === backslash) {
      take(code);
      return (next) => {
        if (next === null || isLineEnd(next)) return inside(next);
        const isEnd = (closer === "\\)" && next === 41) || (closer === "\\]" && next === 93);
        if (!isEnd) {
          take(next);
          return inside;
        }
        lines.take(next);
        return done;
      };
    }
    take(code);
    return inside;
  };
  // A dollar sign before a space is a currency's.
  return (code) => (closer === "$" && (isSpace(code) || code === null) ? reading.failed(code) : inside(code));
}

const mathsText: Construct = {
  name: "mathsText",
  previous: mayFollow,
  tokenize(effects, ok, nok) {
    const previous = this.previous;
    const lines = new Lines(effects);
    const inside = (closer: Closer): State => {
      if (!mayOpen(this, closer)) return nok;
      return readFormula(this, lines, {
        closer,
        done: (code) => {
          lines.end();
          effects.exit("mathsText");
          return ok(code);
        },
        failed: nok,
        atLineEnd: (code, next) => {
          lines.takeEnd(code);
          return next;
        },
      });
    };
    return (code) => {
      if (code === dollar && !mayFollow(previous)) return nok(code);
      effects.enter("mathsText");
      return readOpener(lines, inside, nok)(code);
    };
  },
};

function mayFollow(code: Code): boolean {
  return code !== dollar && !isDigit(code) && !isLetter(code);
}

const mathsBlock: Construct = {
  name: "mathsBlock",
  concrete: true,
  tokenize(effects, ok, nok) {
    const lines = new Lines(effects);
    const isInterrupting = this.interrupt === true;
    const end: State = (code) => {
      lines.end();
      effects.exit("mathsBlock");
      return ok(code);
    };
    const done: State = (code) => {
      if (code === null || isLineEnd(code)) return end(code);
      if (!isSpace(code) && !isPunctuation(code)) return nok(code);
      lines.take(code);
      return done;
    };
    const inside = (closer: Closer): State => {
      if ((closer !== "$$" && closer !== "\\]") || !mayOpen(this, closer)) return nok;
      return readFormula(this, lines, {
        closer,
        done,
        failed: nok,
        atLineEnd: (code, next) => {
          if (isInterrupting) return end(code);
          lines.takeEnd(code);
          return (start) => (this.parser.lazy[this.now().line] ? nok(start) : next(start));
        },
      });
    };
    return (code) => {
      effects.enter("mathsBlock");
      return readOpener(lines, inside, nok)(code);
    };
  },
};

export const mathsSyntax: Extension = {
  flow: { [dollar]: mathsBlock, [backslash]: mathsBlock },
  text: { [dollar]: mathsText, [backslash]: mathsText },
};

export const mathsTree: TreeExtension = {
  enter: {
    mathsBlock(token) {
      this.enter(mathsFrom(this.sliceSerialize(token)), token);
    },
    mathsText(token) {
      this.enter(mathsFrom(this.sliceSerialize(token)), token);
    },
  },
  exit: {
    mathsBlock(token) {
      this.exit(token);
    },
    mathsText(token) {
      this.exit(token);
    },
  },
};

function mathsFrom(source: string): Maths {
  const delimiter = /^(?:\$\$?|\\[([])/.exec(source)?.[0] ?? "";
  const end = source.lastIndexOf(delimiter === "\\(" ? "\\)" : delimiter === "\\[" ? "\\]" : delimiter);
  const value = source.slice(delimiter.length, end).trim();
  // The sentence's punctuation after a displayed formula is set with it.
  const after = source.slice(end + delimiter.length).trim();
  return { type: "maths", value: value + after, isDisplay: delimiter === "$$" || delimiter === "\\[" };
}
