/** The texts that rendered answers show; the page's `texts.ts` takes them up. */
export const markdownTexts = {
  code: {
    label: (language: string) => (language === "" ? "Code" : `Code, ${language}`),
    plainLanguage: "Text",
    copy: "Copy",
    copyLabel: "Copy the code",
    copied: "Copied",
    notCopied: "The browser did not let the page copy. The code is selected: press Ctrl+C (on a Mac, ⌘C).",
    wrap: "Wrap",
    wrapLabel: "Wrap long lines",
  },
  maths: {
    label: "Formula",
    copy: "Copy LaTeX",
    copied: "Copied",
    notCopied: "The browser did not let the page copy.",
    tooLong: "This formula is too long to draw.",
    tooComplex: "This formula is too complex to draw.",
    invalid: (reason: string) => `This formula cannot be drawn: ${reason}`,
    notLoaded: "The part of the page that draws formulas did not load.",
  },
  table: { label: "Table" },
  task: { done: "Done", open: "Not done" },
  picture: {
    label: (description: string) => (description === "" ? "Picture" : `Picture: ${description}`),
    open: (host: string) => `Pictures in answers are not loaded. Open it on ${host} in a new tab.`,
    blocked: "Pictures in answers are not loaded.",
  },
  notes: {
    title: "Footnotes",
    reference: (n: number) => `Footnote ${n}`,
    back: (n: number) => `Back to footnote mark ${n}`,
  },
  hidden: {
    direction: (code: string) => `Hidden character ${code}: it would change the order of the letters after it.`,
  },
  plain: "Shown as plain text: this part is too large or too deeply nested to format.",
};
