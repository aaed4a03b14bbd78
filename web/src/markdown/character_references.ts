/**
 * Named character references (`&nbsp;`). Stands in for the package `decode-named-character-reference`, whose browser form
 * sets `innerHTML`, which the page's security policy forbids, and whose other form holds 2,000 names that nobody writes.
 */
const names: Record<string, string> = {
  amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", ensp: "\u2002", emsp: "\u2003", thinsp: "\u2009",
  zwj: "\u200d", zwnj: "\u200c", lrm: "\u200e", rlm: "\u200f", shy: "\u00ad",
  ndash: "–", mdash: "—", hellip: "…", bull: "•", middot: "·", lsquo: "‘", rsquo: "’", sbquo: "‚", ldquo: "“", rdquo: "”",
  bdquo: "„", laquo: "«", raquo: "»", lsaquo: "‹", rsaquo: "›", prime: "′", Prime: "″", dagger: "†", Dagger: "‡",
  copy: "©", reg: "®", trade: "™", sect: "§", para: "¶", deg: "°", permil: "‰", micro: "µ", ordf: "ª", ordm: "º",
  cent: "¢", pound: "£", yen: "¥", euro: "€", curren: "¤", iexcl: "¡", iquest: "¿", brvbar: "¦", not: "¬", uml: "¨",
  sup1: "¹", sup2: "²", sup3: "³", frac12: "½", frac14: "¼", frac34: "¾", plusmn: "±", times: "×", divide: "÷", minus: "−",
  lowast: "∗", radic: "√", infin: "∞", asymp: "≈", cong: "≅", sim: "∼", ne: "≠", equiv: "≡", le: "≤", ge: "≥", prop: "∝",
  sum: "∑", prod: "∏", int: "∫", part: "∂", nabla: "∇", forall: "∀", exist: "∃", empty: "∅", isin: "∈", notin: "∉", ni: "∋",
  sub: "⊂", sup: "⊃", sube: "⊆", supe: "⊇", cap: "∩", cup: "∪", and: "∧", or: "∨", there4: "∴", ang: "∠", perp: "⊥",
  oplus: "⊕", otimes: "⊗", sdot: "⋅", lceil: "⌈", rceil: "⌉", lfloor: "⌊", rfloor: "⌋", lang: "⟨", rang: "⟩",
  larr: "←", uarr: "↑", rarr: "→", darr: "↓", harr: "↔", lArr: "⇐", uArr: "⇑", rArr: "⇒", dArr: "⇓", hArr: "⇔",
  spades: "♠", clubs: "♣", hearts: "♥", diams: "♦", loz: "◊", check: "✓", cross: "✗", star: "☆", starf: "★",
  Alpha: "Α", Beta: "Β", Gamma: "Γ", Delta: "Δ", Epsilon: "Ε", Zeta: "Ζ", Eta: "Η", Theta: "Θ", Iota: "Ι", Kappa: "Κ",
  Lambda: "Λ", Mu: "Μ", Nu: "Ν", Xi: "Ξ", Omicron: "Ο", Pi: "Π", Rho: "Ρ", Sigma: "Σ", Tau: "Τ", Upsilon: "Υ", Phi: "Φ",
  Chi: "Χ", Psi: "Ψ", Omega: "Ω", alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ε", zeta: "ζ", eta: "η",
  theta: "θ", iota: "ι", kappa: "κ", lambda: "λ", mu: "μ", nu: "ν", xi: "ξ", omicron: "ο", pi: "π", rho: "ρ", sigma: "σ",
  sigmaf: "ς", tau: "τ", upsilon: "υ", phi: "φ", chi: "χ", psi: "ψ", omega: "ω",
  Agrave: "À", Aacute: "Á", Acirc: "Â", Atilde: "Ã", Auml: "Ä", Aring: "Å", AElig: "Æ", Ccedil: "Ç", Egrave: "È", Eacute: "É",
  Ecirc: "Ê", Euml: "Ë", Igrave: "Ì", Iacute: "Í", Icirc: "Î", Iuml: "Ï", Ntilde: "Ñ", Ograve: "Ò", Oacute: "Ó", Ocirc: "Ô",
  Otilde: "Õ", Ouml: "Ö", Oslash: "Ø", OElig: "Œ", Scaron: "Š", Ugrave: "Ù", Uacute: "Ú", Ucirc: "Û", Uuml: "Ü", Yacute: "Ý",
  szlig: "ß", agrave: "à", aacute: "á", acirc: "â", atilde: "ã", auml: "ä", aring: "å", aelig: "æ", ccedil: "ç", egrave: "è",
  eacute: "é", ecirc: "ê", euml: "ë", igrave: "ì", iacute: "í", icirc: "î", iuml: "ï", ntilde: "ñ", ograve: "ò", oacute: "ó",
  ocirc: "ô", otilde: "õ", ouml: "ö", oslash: "ø", oelig: "œ", scaron: "š", ugrave: "ù", uacute: "ú", ucirc: "û", uuml: "ü",
  yacute: "ý", yuml: "ÿ", eth: "ð", ETH: "Ð", thorn: "þ", THORN: "Þ",
};

export function decodeNamedCharacterReference(name: string): string | false {
  return Object.hasOwn(names, name) ? (names[name] ?? false) : false;
}
