/** Strokes on a square of 24, drawn for this page. */
const PATHS = {
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  menu: "M4 7h16M4 12h16M4 17h10",
  panel: "M4 5h16v14H4zM9.5 5v14",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5L20 20",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  picture: "M4 6h16v12H4zM4 15l4.5-4.5 4 4 2.5-2.5L20 16M15.5 9.5h.01",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  check: "M5 12.5l4.5 4.5L19 7.5",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  again: "M19 12a7 7 0 1 1-2-4.9M19 4v4h-4",
  goOn: "M6 6v12l7-6zM16 6v12",
  left: "M14.5 6l-6 6 6 6",
  right: "M9.5 6l6 6-6 6",
  down: "M6 9.5l6 6 6-6",
  end: "M12 5v13M6 12l6 6 6-6",
  more: "M5.5 12h.01M12 12h.01M18.5 12h.01",
  pin: "M9 4h6l-.8 6 2.8 3v1H7v-1l2.8-3zM12 14v6",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  save: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  load: "M12 16V5M7 9.5l5-5 5 5M5 20h14",
  gear: "M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM12 3v3M12 18v3M3 12h3M18 12h3M5.6 5.6l2.1 2.1M16.3 16.3l2.1 2.1M18.4 5.6l-2.1 2.1M7.7 16.3l-2.1 2.1",
  chart: "M4 20V4M4 20h16M8 16l3.5-5 3 3L20 7",
  keyboard: "M3 7h18v10H3zM7 10.5h.01M11 10.5h.01M15 10.5h.01M8 14h8",
  infill: "M4 6h16M4 18h16M8 12h8M4 10v4M20 10v4",
  columns: "M4 5h7v14H4zM13 5h7v14h-7z",
  tint: "M4 17h4V9H4zM10 17h4V5h-4zM16 17h4v-5h-4zM4 20.5h16",
  tool: "M9 4c-2 0-3 1-3 3v2.5c0 1.5-1 2.5-2 2.5 1 0 2 1 2 2.5V17c0 2 1 3 3 3M15 4c2 0 3 1 3 3v2.5c0 1.5 1 2.5 2 2.5-1 0-2 1-2 2.5V17c0 2-1 3-3 3",
  shield: "M12 3l7 3v5c0 4.5-3 8-7 10-4-2-7-5.5-7-10V6zM9 12l2 2 4-4",
  warning: "M12 4l9 16H3zM12 10v4M12 17h.01",
  sliders: "M4 8h9M17 8h3M4 16h3M11 16h9M15 6v4M9 14v4",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20c1-4 4-5.5 7.5-5.5s6.5 1.5 7.5 5.5",
} as const;

export type IconName = keyof typeof PATHS;

/** Icons that point somewhere point the other way where text runs so. */
const POINTING: readonly IconName[] = ["left", "right", "goOn", "panel"];

export function Icon({ name }: { name: IconName }) {
  return (
    <svg
      class={POINTING.includes(name) ? "icon icon-pointing" : "icon"}
      viewBox="0 0 24 24"
      aria-hidden="true"
      focusable="false"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
