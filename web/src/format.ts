import { texts } from "./texts.ts";

const { language } = texts;
const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const percents = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
const roundPercents = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 });
const times = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const months = new Intl.DateTimeFormat(undefined, { month: "long", year: "numeric" });

export function number(value: number): string {
  return whole.format(value);
}

/** A number of which the size says how many digits matter. */
export function measured(value: number): string {
  return Math.abs(value) >= 100 ? whole.format(value) : tenths.format(value);
}

export function percent(share: number): string {
  return percents.format(share);
}

export function roundPercent(share: number): string {
  return roundPercents.format(share);
}

export function seconds(value: number): string {
  if (value < 0.001) return texts.units.ms("0");
  if (value < 1) return texts.units.ms(whole.format(value * 1000));
  if (value < 100) return texts.units.s((value < 10 ? tenths : whole).format(value));
  const minutes = Math.floor(value / 60);
  if (minutes < 60) return texts.units.min(whole.format(minutes), whole.format(Math.floor(value % 60)));
  const hours = Math.floor(minutes / 60);
  return hours < 48
    ? texts.units.h(whole.format(hours), whole.format(minutes % 60))
    : texts.units.days(whole.format(Math.floor(hours / 24)));
}

const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

export function bytes(value: number): string {
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < BYTE_UNITS.length - 1) {
    size /= 1000;
    unit++;
  }
  return `${unit === 0 || size >= 100 ? whole.format(size) : tenths.format(size)} ${BYTE_UNITS[unit] ?? ""}`;
}

export function time(at: number): string {
  return times.format(at);
}

export function moment(at: number): string {
  return moments.format(at);
}

const DAY_MS = 86_400_000;

/** The part of a list by date to which a moment belongs. */
export function dayOf(at: number, now: number): string {
  const today = new Date(now).setHours(0, 0, 0, 0);
  if (at >= today) return texts.history.today;
  if (at >= today - DAY_MS) return texts.history.yesterday;
  if (at >= today - 7 * DAY_MS) return texts.history.lastWeek;
  if (at >= today - 30 * DAY_MS) return texts.history.lastMonth;
  return months.format(at);
}
