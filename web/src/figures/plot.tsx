import { useId } from "preact/hooks";
import { seconds } from "../format.ts";
import { texts } from "../texts.ts";
import { latest, type Sample } from "./samples.ts";

export interface Line {
  label: string;
  value: (sample: Sample) => number | undefined;
}

interface Props {
  title: string;
  lines: readonly Line[];
  samples: readonly Sample[];
  format: (value: number) => string;
  /** What the scale reaches at least. */
  least: number;
  detail?: string;
}

const WIDTH = 300;
const HEIGHT = 80;
/** How many moments there is room for at least; one is about a second. */
const LEAST_SHOWN = 60;

/** One figure over time: a line for each of its parts, the newest at the end. */
export function Plot({ title, lines, samples, format, least, detail }: Props) {
  const heading = useId();
  const values = lines.map((line) => samples.map(line.value));
  const highest = Math.max(least, ...values.flat().map((value) => value ?? 0));
  const top = rounded(highest);
  const width = Math.max(LEAST_SHOWN, samples.length);
  const now = lines.map((line) => latest(samples, line.value));
  const said = lines.map((line, i) => {
    const value = now[i];
    return texts.server.plot(line.label, value === undefined ? texts.server.nothing : format(value));
  });
  return (
    <figure class="plot" aria-labelledby={heading}>
      <figcaption id={heading}>
        <span class="plot-title">{title}</span>
        <span class="plot-now">
          {now.map((value, i) => (
            <span key={i} class={`plot-value plot-value-${i}`}>
              {value === undefined ? texts.server.nothing : format(value)}
              {lines.length > 1 && <small>{lines[i]?.label}</small>}
            </span>
          ))}
          {detail !== undefined && <small>{detail}</small>}
        </span>
      </figcaption>
      <div class="plot-frame">
        <span class="plot-top" aria-hidden="true">
          {format(top)}
        </span>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={said.join("; ")}>
          {[0.25, 0.5, 0.75].map((share) => (
            <path key={share} class="plot-grid" d={`M0 ${HEIGHT * share}H${WIDTH}`} />
          ))}
          {values.map((line, i) => (
            <g key={i} class={`plot-line plot-line-${i}`}>
              {i === 0 && <path class="plot-area" d={areaOf(line, width, top)} />}
              <path d={pathOf(line, width, top)} />
            </g>
          ))}
        </svg>
      </div>
      <div class="plot-axis" aria-hidden="true">
        <span>{texts.server.ago(seconds(width))}</span>
        <span>{texts.server.now}</span>
      </div>
    </figure>
  );
}

/** What is newest is at the end, also while there is little. */
function x(index: number, count: number, width: number): string {
  return (WIDTH - ((count - 1 - index) * WIDTH) / (width - 1)).toFixed(1);
}

function y(value: number, top: number): string {
  return (HEIGHT - 1 - (Math.min(value, top) / top) * (HEIGHT - 4)).toFixed(1);
}

function pathOf(values: readonly (number | undefined)[], width: number, top: number): string {
  let path = "";
  values.forEach((value, i) => {
    if (value === undefined) return;
    path += `${path === "" ? "M" : "L"}${x(i, values.length, width)} ${y(value, top)}`;
  });
  // A single moment is a dot.
  return path === "" ? "" : `${path}h0`;
}

function areaOf(values: readonly (number | undefined)[], width: number, top: number): string {
  const line = pathOf(values, width, top);
  if (line === "") return "";
  const start = values.findIndex((value) => value !== undefined);
  const end = values.findLastIndex((value) => value !== undefined);
  return `${line}L${x(end, values.length, width)} ${HEIGHT}L${x(start, values.length, width)} ${HEIGHT}Z`;
}

/** The next round number: 1, 2 or 5 and zeros. */
function rounded(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5, 10].find((step) => step * power >= value * 0.999) ?? 10);
}
