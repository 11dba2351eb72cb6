/** Which of several are worth a look: those that no other one beats. Pure. */

/**
 * Items that no other one beats in bytes and quality both, fewest bytes first.
 * @param quality more is better
 */
export function frontOf<T>(items: T[], bytes: (item: T) => number, quality: (item: T) => number): T[] {
  const beats = (other: T, item: T) =>
    bytes(other) <= bytes(item) &&
    quality(other) >= quality(item) &&
    (bytes(other) < bytes(item) || quality(other) > quality(item));
  return items.filter((item) => !items.some((other) => beats(other, item))).sort((a, b) => bytes(a) - bytes(b));
}
