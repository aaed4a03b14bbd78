/** Arithmetic as people and models write it. Nothing but numbers is ever computed. */
export function calculate(expression: string): number {
  if (expression.length > MAX_LENGTH) throw new Error(`the expression is longer than ${MAX_LENGTH} characters`);
  const parser = new Parser(tokensOf(expression));
  return parser.whole();
}

const MAX_LENGTH = 2000;
const MAX_DEPTH = 100;

const FUNCTIONS: ReadonlyMap<string, { least: number; most: number; apply: (...numbers: number[]) => number }> =
  new Map(
    Object.entries({
      sqrt: one(Math.sqrt),
      cbrt: one(Math.cbrt),
      abs: one(Math.abs),
      floor: one(Math.floor),
      ceil: one(Math.ceil),
      trunc: one(Math.trunc),
      sign: one(Math.sign),
      exp: one(Math.exp),
      ln: one(Math.log),
      log10: one(Math.log10),
      log2: one(Math.log2),
      sin: one(Math.sin),
      cos: one(Math.cos),
      tan: one(Math.tan),
      asin: one(Math.asin),
      acos: one(Math.acos),
      atan: one(Math.atan),
      sinh: one(Math.sinh),
      cosh: one(Math.cosh),
      tanh: one(Math.tanh),
      degrees: one((radians) => (radians * 180) / Math.PI),
      radians: one((degrees) => (degrees * Math.PI) / 180),
      log: {
        least: 1,
        most: 2,
        apply: (x: number, base?: number) => (base === undefined ? Math.log(x) : Math.log(x) / Math.log(base)),
      },
      round: { least: 1, most: 2, apply: (x: number, digits = 0) => rounded(x, digits) },
      pow: { least: 2, most: 2, apply: (x: number, y: number) => x ** y },
      mod: { least: 2, most: 2, apply: (x: number, y: number) => x % y },
      atan2: { least: 2, most: 2, apply: Math.atan2 },
      min: { least: 1, most: 100, apply: Math.min },
      max: { least: 1, most: 100, apply: Math.max },
      sum: { least: 1, most: 100, apply: (...numbers: number[]) => numbers.reduce((a, b) => a + b, 0) },
      hypot: { least: 1, most: 100, apply: Math.hypot },
    }),
  );

const CONSTANTS: ReadonlyMap<string, number> = new Map(
  Object.entries({ pi: Math.PI, π: Math.PI, tau: 2 * Math.PI, e: Math.E }),
);

function one(apply: (x: number) => number) {
  return { least: 1, most: 1, apply };
}

function rounded(x: number, digits: number): number {
  const places = Math.max(-15, Math.min(15, Math.trunc(digits)));
  return Number(`${Math.round(Number(`${x}e${places}`))}e${-places}`);
}

type Token = { kind: "number"; value: number } | { kind: "name"; name: string } | { kind: "sign"; sign: string };

function tokensOf(expression: string): Token[] {
  const pattern =
    /\s*(?:((?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:e[+-]?\d+)?)|([\p{L}][\p{L}\d]*)|(\*\*|[-+*/%^!(),×÷·−]))/iuy;
  const tokens: Token[] = [];
  const text = expression.trim();
  while (pattern.lastIndex < text.length) {
    const at = pattern.lastIndex;
    const match = pattern.exec(text);
    if (match === null) throw new Error(`“${text.slice(at, at + 10).trim()}” is not understood`);
    const [, number, name, sign] = match;
    if (number !== undefined) tokens.push({ kind: "number", value: Number(number.replaceAll("_", "")) });
    else if (name !== undefined) tokens.push({ kind: "name", name: name.toLowerCase() });
    else tokens.push({ kind: "sign", sign: SAME_SIGNS.get(sign ?? "") ?? sign ?? "" });
  }
  return tokens;
}

const SAME_SIGNS: ReadonlyMap<string, string> = new Map([
  ["×", "*"],
  ["·", "*"],
  ["÷", "/"],
  ["−", "-"],
  ["**", "^"],
]);

class Parser {
  #at = 0;
  #depth = 0;

  constructor(readonly tokens: readonly Token[]) {}

  whole(): number {
    if (this.tokens.length === 0) throw new Error("the expression is empty");
    const value = this.#sum();
    if (this.#at < this.tokens.length) throw new Error(`something is left over after ${value}`);
    return value;
  }

  #takes(...signs: string[]): string | undefined {
    const token = this.tokens[this.#at];
    if (token?.kind !== "sign" || !signs.includes(token.sign)) return undefined;
    this.#at++;
    return token.sign;
  }

  #expect(sign: string): void {
    if (this.#takes(sign) === undefined) throw new Error(`“${sign}” is missing`);
  }

  #sum(): number {
    if (++this.#depth > MAX_DEPTH) throw new Error("the expression is nested too deeply");
    let value = this.#product();
    for (let sign = this.#takes("+", "-"); sign !== undefined; sign = this.#takes("+", "-")) {
      const next = this.#product();
      value = sign === "+" ? value + next : value - next;
    }
    this.#depth--;
    return value;
  }

  #product(): number {
    let value = this.#signed();
    for (let sign = this.#takes("*", "/", "%"); sign !== undefined; sign = this.#takes("*", "/", "%")) {
      const next = this.#signed();
      value = sign === "*" ? value * next : sign === "/" ? value / next : value % next;
    }
    return value;
  }

  #signed(): number {
    let factor = 1;
    for (let sign = this.#takes("+", "-"); sign !== undefined; sign = this.#takes("+", "-")) {
      if (sign === "-") factor = -factor;
    }
    return factor * this.#power();
  }

  #power(): number {
    const base = this.#factorial();
    if (this.#takes("^") === undefined) return base;
    if (++this.#depth > MAX_DEPTH) throw new Error("the expression is nested too deeply");
    const exponent = this.#signed();
    this.#depth--;
    return base ** exponent;
  }

  #factorial(): number {
    let value = this.#atom();
    while (this.#takes("!") !== undefined) {
      if (!Number.isInteger(value) || value < 0) throw new Error("only whole numbers from 0 on have a factorial");
      let product = 1;
      for (let i = 2; i <= Math.min(value, 171); i++) product *= i;
      value = product;
    }
    return value;
  }

  #atom(): number {
    const token = this.tokens[this.#at++];
    if (token === undefined) throw new Error("the expression ends too soon");
    if (token.kind === "number") return token.value;
    if (token.kind === "name") return this.#named(token.name);
    if (token.sign !== "(") throw new Error(`“${token.sign}” is not expected there`);
    const value = this.#sum();
    this.#expect(")");
    return value;
  }

  #named(name: string): number {
    const called = FUNCTIONS.get(name);
    if (called === undefined) {
      const constant = CONSTANTS.get(name);
      if (constant === undefined) throw new Error(`“${name}” is not known`);
      return constant;
    }
    this.#expect("(");
    const numbers = [this.#sum()];
    while (this.#takes(",") !== undefined) numbers.push(this.#sum());
    this.#expect(")");
    if (numbers.length < called.least || numbers.length > called.most) {
      throw new Error(
        `${name} takes ${called.least === called.most ? called.least : `${called.least} to ${called.most}`} numbers`,
      );
    }
    return called.apply(...numbers);
  }
}
