/** Numbers as the page shows them; null becomes a dash. Pure. */

const DASH = '–';

type Format = (value: number | null) => string;

const orDash =
  (format: (value: number) => string): Format =>
  (value) =>
    value === null || !Number.isFinite(value) ? DASH : format(value);

export const decibels = orDash((value) => value.toFixed(1));
export const similarity = orDash((value) => value.toFixed(4));
/** Two significant digits at least. */
export const percent = orDash(
  (value) => `${(100 * value).toFixed(value === 0 || value >= 0.0995 ? 0 : value >= 0.00995 ? 1 : 2)} %`,
);
/** Bytes in decimal megabytes. */
export const megabytes = orDash((bytes) => significant(bytes / 1e6));
export const times = orDash((ratio) => `${ratio.toFixed(2)}×`);
export const seconds = orDash((value) => significant(value));

/** Three significant digits, and no more than the integer part from a hundred on. */
export const significant = orDash((value) => {
  if (value === 0) return '0';
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return value.toFixed(digits);
});

export const counted = (count: number, noun: string): string =>
  `${count.toLocaleString('en-US')} ${noun}${count === 1 ? '' : 's'}`;

/** Words of a list: a, b and c. */
export const listed = (words: string[]): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
