/** Where to write the names of points so that they cover neither points nor each other. Pure. */

export interface Anchor {
  /** Of the point, in pixels. */
  x: number;
  y: number;
  text: string;
}

export interface Placement {
  /** From the point to where the text is anchored, in pixels; the text's middle line lies there. */
  dx: number;
  dy: number;
  textAnchor: 'start' | 'middle' | 'end';
}

interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** Of a character, mean over a sans-serif at 12 pixels. */
const CHARACTER = 6.7;
const LINE = 14;
const RADIUS = 7;

/** Rings around the point, nearest first; right and left before above and below, since lines run up and down. */
const CANDIDATES = [0, 14, 28, 42, 56].flatMap((far) =>
  (
    [
      { dx: 9 + far / 4, dy: far === 0 ? 0 : -far, textAnchor: 'start' },
      { dx: -9 - far / 4, dy: far === 0 ? 0 : -far, textAnchor: 'end' },
      { dx: 9 + far / 4, dy: far, textAnchor: 'start' },
      { dx: -9 - far / 4, dy: far, textAnchor: 'end' },
      { dx: 0, dy: -14 - far, textAnchor: 'middle' },
      { dx: 0, dy: 14 + far, textAnchor: 'middle' },
    ] satisfies Placement[]
  ).map((placement): { placement: Placement; far: number } => ({ placement, far })),
);
/** A name may rather cross a thin line than be far from its point: square pixels beside pixels. */
const OBSTACLE_COST = 0.5;

const boxOf = ({ x, y, text }: Anchor, { dx, dy, textAnchor }: Placement): Box => {
  const width = text.length * CHARACTER;
  const left = x + dx - (textAnchor === 'start' ? 0 : textAnchor === 'end' ? width : width / 2);
  return { left, right: left + width, top: y + dy - LINE / 2, bottom: y + dy + LINE / 2 };
};

const overlap = (a: Box, b: Box): number =>
  Math.max(0, Math.min(a.right, b.right) - Math.max(a.left, b.left)) *
  Math.max(0, Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));

/** What sticks out of the frame counts as covered, several times over: it would be cut off. */
const outside = (box: Box, frame: Box): number => {
  const area = (box.right - box.left) * (box.bottom - box.top);
  return 3 * (area - overlap(box, frame));
};

const covered = (box: Box, others: Box[]): number => others.reduce((sum, other) => sum + overlap(box, other), 0);

/**
 * Greedy: each name takes the candidate that covers least of the points and of the names before it, and lies near; the
 * first of equals. `obstacles` are lines that it had better not cross.
 */
export function placeLabels(anchors: Anchor[], frame: Box, obstacles: Box[] = []): Placement[] {
  const taken: Box[] = anchors.map(({ x, y }) => ({
    left: x - RADIUS,
    right: x + RADIUS,
    top: y - RADIUS,
    bottom: y + RADIUS,
  }));
  return anchors.map((anchor) => {
    const costs = CANDIDATES.map(({ placement, far }) => {
      const box = boxOf(anchor, placement);
      return far + covered(box, taken) + OBSTACLE_COST * covered(box, obstacles) + outside(box, frame);
    });
    const best = (CANDIDATES[costs.indexOf(Math.min(...costs))] as (typeof CANDIDATES)[number]).placement;
    taken.push(boxOf(anchor, best));
    return best;
  });
}

/** Where a line from the point to its name ends, in pixels from the point; null where the name is beside it. */
export function leaderOf({ dx, dy, textAnchor }: Placement): { dx: number; dy: number } | null {
  if (Math.hypot(dx, dy) <= 14) return null;
  if (textAnchor === 'middle') return { dx: 0, dy: dy - (Math.sign(dy) * LINE) / 2 };
  return { dx: dx - 2 * Math.sign(dx), dy };
}
