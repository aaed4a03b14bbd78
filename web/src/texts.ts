/**
 * All texts of the page. A translation replaces this object by one of the same type; numbers and dates are formatted in
 * `format.ts` by its language.
 */

const language = "en";
const plurals = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(language);

/** The form that a number needs, with `#` for the number. */
function count(n: number, forms: { one: string; other: string }): string {
  const form = plurals.select(n) === "one" ? forms.one : forms.other;
  return form.replace("#", numbers.format(n));
}

export const texts = {
  language,
  name: "Puna",

  common: {
    close: "Close",
    cancel: "Cancel",
    undo: "Undo",
    retry: "Try again",
    reload: "Reload",
    copied: "Copied",
    notCopied: "The browser did not let the page copy. Select the text and copy it by hand.",
    skip: "Skip to the conversation",
  },

  units: {
    ms: (n: string) => `${n} ms`,
    s: (n: string) => `${n} s`,
    min: (minutes: string, seconds: string) => `${minutes} min ${seconds} s`,
    h: (hours: string, minutes: string) => `${hours} h ${minutes} min`,
    days: (n: string) => `${n} days`,
    tokensPerS: (n: string) => `${n} tokens/s`,
  },

  nav: {
    label: "Conversations and views",
    open: "Open the sidebar",
    close: "Close the sidebar",
    newChat: "New chat",
    infill: "Infill",
    figures: "Server",
    settings: "Settings",
    keys: "Keyboard shortcuts",
    views: "Views",
  },

  chat: {
    label: "Conversation",
    messages: "Messages",
    greeting: "What is on your mind?",
    greetingDetail: "Answers come from this server alone. Conversations stay in this browser.",
    starters: ["Explain how tides work", "Write a short story about a llama", "Plan a weekend without screens"],
    loading: "Opening the conversation…",
    jump: "Jump to the end",
    notChat: "This model was not made for conversations: it continues text.",
  },

  composer: {
    label: "Message",
    placeholder: "Write a message",
    send: "Send",
    stop: "Stop",
    attach: "Add pictures",
    dropHere: "Drop pictures here",
    removePicture: (n: number) => `Remove picture ${numbers.format(n)}`,
    picture: (n: number) => `Picture ${numbers.format(n)}`,
    cannotSee: "This model cannot see pictures. Choose one that can.",
    notPicture: (name: string) => `${name} is not a picture that this browser can read.`,
    tooMany: (n: number) =>
      count(n, { one: "A message can have at most # picture.", other: "A message can have at most # pictures." }),
    pasted: "What was pasted",
    noModel: "The server has no model that can chat. Start it with one: puna serve -m PATH",
  },

  context: {
    label: "Context",
    used: (used: string, all: string) => `${used} / ${all}`,
    title: (used: string, all: string) => `About ${used} of ${all} tokens of context are used.`,
    unknown: "How much context the model has is not known.",
    leftOut: (n: number) =>
      count(n, {
        one: "The first message was left out: it no longer fits.",
        other: "The first # messages were left out: they no longer fit.",
      }),
    leftOutShort: (n: number) => count(n, { one: "# left out", other: "# left out" }),
    nearlyFull: "The context is nearly full. Older messages will be left out.",
  },

  message: {
    you: "You",
    assistant: "Assistant",
    byYou: (time: string) => `You, ${time}`,
    byModel: (model: string, time: string) => `${model}, ${time}`,
    actions: "Message actions",
    edit: "Edit",
    editLabel: "Edit the message",
    sendEdited: "Send",
    saveEdited: "Save as a new version",
    regenerate: "Answer again",
    goOn: "Continue",
    copy: "Copy",
    version: (n: number, of: number) => `${numbers.format(n)}/${numbers.format(of)}`,
    versions: "Versions",
    previous: "Previous version",
    next: "Next version",
    picture: (n: number) => `Picture ${numbers.format(n)} of the message`,
    pictures: (n: number) => count(n, { one: "# picture", other: "# pictures" }),
    showAll: "Show all",
    showLess: "Show less",
    stopped: "Stopped.",
    length: "The answer reached its limit of tokens.",
    interrupted: "The answer was interrupted.",
    writtenElsewhere: "Being written in another tab…",
  },

  status: {
    waiting: "Reading…",
    queued: (n: number) => count(n, { one: "Waiting: # question is ahead.", other: "Waiting: # questions are ahead." }),
    loading: (model: string, size: string) => (size === "" ? `Loading ${model}…` : `Loading ${model}, ${size}…`),
    loadingLabel: "The model is being loaded",
    busy: (seconds: number) =>
      count(seconds, {
        one: "The server is busy. Trying again in # second.",
        other: "The server is busy. Trying again in # seconds.",
      }),
    reconnecting: "The connection was lost. Reconnecting; the answer will go on from here.",
    key: "Waiting for the server's key.",
  },

  figures: {
    firstToken: (time: string) => `${time} to first token`,
    prompt: (n: number, cached: number) =>
      cached > 0
        ? `${count(n, { one: "# token in", other: "# tokens in" })} (${numbers.format(cached)} cached)`
        : count(n, { one: "# token in", other: "# tokens in" }),
    out: (n: number) => count(n, { one: "# out", other: "# out" }),
  },

  probabilities: {
    toggle: "Token probabilities",
    label: "Tokens of the answer and how probable each was",
    alternatives: "What could have stood here",
    hint: "Choose one to continue from there.",
    cannotBranch: "not a whole character",
    legendLow: "unlikely",
    legendHigh: "certain",
    more: (n: number) => count(n, { one: "Show # more token", other: "Show # more tokens" }),
    token: (token: string, share: string) => `${token}, ${share}`,
    end: "end of the answer",
    notRecorded: "Probabilities will come with the next answers.",
  },

  tools: {
    called: (name: string) => `Called ${name}`,
    calling: (name: string) => `Calling ${name}…`,
    arguments: "Arguments",
    result: "Result",
    waits: "waits for you",
    giveLabel: (name: string) => `Result of ${name}`,
    giveHint: "The model asked for this tool. Type what it returns.",
    give: "Give the result",
    tooMany: (n: number) =>
      count(n, { one: "Tools were called # time in a row.", other: "Tools were called # times in a row." }),
    goOn: "Let it go on",
  },

  guard: {
    safe: "Checked: safe",
    unsafe: (categories: string) => (categories === "" ? "Marked unsafe by the guard" : `Marked unsafe: ${categories}`),
  },

  models: {
    label: "Model",
    none: "No model",
    states: { awake: "ready", asleep: "asleep", unloaded: "not loaded", loading: "loading", unknown: "" },
    context: (n: string) => `${n} context`,
    sees: "sees pictures",
    infills: "fills in",
    textOnly: "continues text",
  },

  compare: {
    start: "Compare two models",
    stop: "Stop comparing",
    keep: "Go on with this one",
    column: (n: number) => `Answers, column ${numbers.format(n)}`,
  },

  presets: {
    label: "Preset",
    edit: "Edit presets…",
    title: "Presets",
    defaultName: "Default",
    newName: "New preset",
    add: "New preset",
    copyOf: (name: string) => `${name} (copy)`,
    duplicate: "Duplicate",
    remove: "Delete preset",
    name: "Name",
    system: "System prompt",
    systemHint: "What the model is told before the conversation.",
    sampling: "Sampling",
    automatic: "model's own",
    fields: {
      temperature: { label: "Temperature", hint: "0 always takes the likeliest token; higher is more surprising." },
      topP: { label: "Top-p", hint: "Keeps the likeliest tokens that together are this probable." },
      minP: { label: "Min-p", hint: "Drops tokens less likely than this share of the likeliest." },
      topK: { label: "Top-k", hint: "Keeps this many of the likeliest tokens; 0 keeps all." },
      maxTokens: { label: "Max tokens", hint: "The longest an answer may be." },
      seed: { label: "Seed", hint: "The same seed and settings give the same answer." },
      repetitionPenalty: { label: "Repetition penalty", hint: "Above 1, what was said becomes less likely." },
    },
    outOfRange: (least: string, most: string) => `Between ${least} and ${most}.`,
    stop: "Stop texts",
    stopHint: "One on each line. An answer ends before any of them.",
    schema: "Answer format",
    schemaHint: "A JSON schema that every answer keeps to. Empty for free text.",
    schemaNotObject: "A JSON schema is an object: { … }",
    tools: "Tools",
    toolsHint: "The page answers its clock and calculator; results of your own tools you type in yourself.",
    clock: "Clock",
    clockHint: "Date and time",
    calculator: "Calculator",
    calculatorHint: "Exact arithmetic",
    addTool: "Add a tool",
    removeTool: (name: string) => `Remove ${name}`,
    toolName: "Tool name",
    toolNameHint: "Letters, digits, - and _.",
    toolDescription: "What it does",
    toolParameters: "Arguments (JSON schema)",
  },

  settings: {
    title: "Settings",
    theme: "Theme",
    themes: { system: "As the system", light: "Light", dark: "Dark" },
    direction: "Direction of the page",
    directions: { ltr: "Left to right", rtl: "Right to left" },
    enterSends: "Enter sends a message",
    enterSendsHint: "Otherwise Ctrl and Enter do, and Enter begins a line.",
    singleKeys: "Single letters are shortcuts",
    guardChecks: (name: string) => `Have messages checked by ${name}`,
    key: "Key",
    keyHint: "Kept until this tab is closed.",
    history: "History",
    exportAll: "Export all",
    importFile: "Import…",
    version: (version: string) => `Puna ${version}`,
  },

  key: {
    title: "This server needs a key",
    detail: "Whoever started the server chose it: with --key, or as PUNA_KEY.",
    refused: "The server does not know this key.",
    label: "Key",
    use: "Use this key",
  },

  history: {
    search: "Search",
    searchLabel: "Search all conversations",
    searching: "Searching…",
    noHits: "Nothing found.",
    hits: (n: number) => count(n, { one: "# place found", other: "# places found" }),
    empty: "Conversations will be listed here.",
    pinned: "Pinned",
    today: "Today",
    yesterday: "Yesterday",
    lastWeek: "Previous 7 days",
    lastMonth: "Previous 30 days",
    untitled: "Untitled",
    actions: (title: string) => `Actions for ${title}`,
    rename: "Rename",
    renameLabel: "Title",
    pin: "Pin",
    unpin: "Unpin",
    remove: "Delete",
    deleted: (title: string) => `“${title}” was deleted.`,
    exportJson: "Export as JSON",
    exportMarkdown: "Export as Markdown",
    showMore: "Show older",
    notSaved:
      "The conversation could not be saved. The browser's storage may be full: export what matters, then delete what does not.",
    notKept: "This browser keeps nothing for this page: conversations last until it is closed.",
    outdated: "Another tab runs a newer version of this page. Reload this one.",
    gone: "That conversation is not in this browser.",
  },

  transfer: {
    file: "puna-conversations",
    done: (n: number) => count(n, { one: "# conversation was imported.", other: "# conversations were imported." }),
    broken: (n: number) =>
      count(n, { one: "# could not be read and was left out.", other: "# could not be read and were left out." }),
    notJson: "The file is not JSON. Choose one that this page exported.",
    notOurs: "The file has no conversations of this page. Choose one that it exported.",
    tooNew: "The file is from a newer version of this page. Update Puna, then import it.",
    tooMany: "The file has too many conversations.",
    tooLarge: "The file is too large to be imported.",
    notStored: "The conversations could not be stored. The browser's storage may be full.",
  },

  infill: {
    title: "Infill",
    detail: "The model writes what stands between two texts.",
    before: "Before",
    after: "After",
    between: "In between",
    run: "Fill in",
    stop: "Stop",
    insert: "Insert",
    discard: "Discard",
    maxTokens: "Longest",
    cannot: (model: string) => `${model} cannot fill in text.`,
    cannotHint: "Models made for it can: Code Llama 7B and 13B, for example.",
    choose: (name: string) => `Use ${name}`,
    filled: "The gap was filled.",
    empty: "The model wrote nothing.",
  },

  server: {
    title: "Server",
    noFigures: "This server does not tell figures. A newer version of Puna does.",
    waitingForFigures: "Waiting for the first figures…",
    uptime: (time: string) => `Up for ${time}`,
    speed: "Writing",
    reading: "Reading",
    firstToken: "Time to first token",
    requests: "Requests",
    running: "running",
    waiting: "waiting",
    cache: "Found in the cache",
    memory: "Memory",
    ofBudget: (budget: string) => `of ${budget}`,
    models: "Models",
    model: "Model",
    state: "State",
    context: "Context",
    cacheUsed: "Cache used",
    answers: "Answers",
    tokensOut: "Tokens out",
    guards: "guard",
    now: "now",
    ago: (time: string) => `${time} ago`,
    plot: (what: string, value: string) => `${what}: ${value} now`,
    nothing: "–",
  },

  connection: {
    down: "The server does not answer.",
    downHint: "Start it with “puna serve”. This page goes on by itself as soon as it answers.",
    up: "The server answers again.",
  },

  errors: {
    unreachable: { what: "The server does not answer.", todo: "Check that “puna serve” runs, then try again." },
    unexpected: { what: "Something unexpected went wrong.", todo: "Try again." },
    tooLong: {
      what: "This is longer than the model's context.",
      todo: "Shorten the message, begin a new chat, or start the server with a larger --ctx.",
    },
    key: { what: "The server needs a key, or does not know this one.", todo: "Enter the key under Settings." },
    forbidden: {
      what: "The server does not serve pages from this address.",
      todo: "Open it by its own address, or start it with --allow-host.",
    },
    notFound: { what: "The server does not have what was asked for.", todo: "Choose another model." },
    tooLarge: { what: "The request is too large.", todo: "Send fewer or smaller pictures." },
    busy: { what: "The server is busy.", todo: "Try again in a moment." },
    noRoom: {
      what: "The server has no room for this model right now.",
      todo: "Try again in a moment, or start the server with more --memory.",
    },
    failed: { what: "The server failed.", todo: "Try again; its log says more." },
    refused: { what: "The server did not accept the request.", todo: "Change what it names, then try again." },
    crashed: { what: "The page failed.", todo: "Reload it: what was said is kept." },
  },

  notices: {
    label: "Notices",
  },

  announce: {
    answering: "Answering.",
    answered: (text: string) => `Answer: ${text}`,
    stopped: "Stopped.",
    failed: (problem: string) => `No answer. ${problem}`,
  },

  shortcuts: {
    title: "Keyboard shortcuts",
    anywhere: "Anywhere",
    inComposer: "While writing",
    onMessage: "On a message",
    onToken: "On a token",
    or: "or",
    list: {
      newChat: "New chat",
      search: "Search the history",
      sidebar: "Show or hide the sidebar",
      settings: "Settings",
      presets: "Presets",
      write: "Write a message",
      keys: "This list",
      probabilities: "Token probabilities on or off",
      messages: "To the message before or after",
      send: "Send",
      newLine: "New line",
      stop: "Stop the answer",
      editLast: "Edit your last message, when nothing is written",
      copy: "Copy",
      edit: "Edit",
      regenerate: "Answer again",
      goOn: "Continue",
      versions: "Previous or next version",
      tokens: "Previous or next token",
      alternatives: "See what could have stood there",
    },
  },
} as const;

export type Texts = typeof texts;

/** Those of rendered answers, which stand beside what shows them. */
export { markdownTexts } from "./markdown/texts.ts";
