/** Colours, dashes and symbols of the plots: told apart without colour too, readable on light and on dark. Pure. */

export interface SeriesStyle {
  /** A CSS colour; the variables are in `PLOT_VARIABLES`. */
  colour: string;
  /** SVG's stroke-dasharray; empty: a solid line. */
  dash: string;
  symbol: 'circle' | 'square' | 'triangle' | 'diamond2' | 'star' | 'hexagon';
}

/**
 * After Okabe and Ito's set for colour-blind readers, darkened for white and lightened for black to a contrast of at least
 * 3 to 1. Sky blue is left out, being too near to blue; what is used twice differs in dash and symbol.
 */
const LIGHT = ['#0072b2', '#c65500', '#00815e', '#a8478c', '#8a6a00', '#5a4fcf'];
const DARK = ['#56b4e9', '#f5934d', '#2bc79f', '#e79ad0', '#e6c84b', '#a9a3ff'];
const DASHES = ['', '7 3', '2 3', '9 3 2 3'];
const SYMBOLS = ['circle', 'square', 'triangle', 'diamond2', 'star', 'hexagon'] as const;

const variables = (colours: string[]): string => colours.map((colour, index) => `--series-${index}:${colour}`).join(';');

/** For `:root`, and for a plot that stands alone. */
export const PLOT_VARIABLES = { light: variables(LIGHT), dark: variables(DARK) };

/** What everything is compared with. */
export const REFERENCE_STYLE: SeriesStyle = { colour: 'currentColor', dash: '', symbol: 'circle' };

/** Of the n-th series, from 0; dashes and symbols go on where colours repeat. */
export function seriesStyle(index: number): SeriesStyle {
  const round = Math.floor(index / LIGHT.length);
  return {
    colour: `var(--series-${index % LIGHT.length})`,
    dash: DASHES[(index + round) % DASHES.length] as string,
    symbol: SYMBOLS[(index + round) % SYMBOLS.length] as SeriesStyle['symbol'],
  };
}
