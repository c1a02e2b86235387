// How many frames stand side by side, so that all of a page are in sight and as large as can be.

/** Below so many pixels of width, a page is read by scrolling, and frames fill its width. */
const NARROW = 480;
/** Of a frame's caption, and between rows. */
const CAPTION = 26;
const LARGEST = 420;

export interface Fit { readonly across: number; /** Width of all frames of a row, in pixels. */ readonly width: number }

/** The layout of `count` frames of a shape `ratio` (width by height) in a place of so many pixels. */
export function fit(count: number, ratio: number, width: number, height: number, largest = LARGEST): Fit {
  if (count < 1) return { across: 1, width };
  if (width < NARROW) {
    const across = count <= 3 ? count : count <= 16 ? 4 : 8;
    return { across, width };
  }
  let best: Fit & { readonly worth: number } = { across: 1, width: 0, worth: 0 };
  for (let across = 1; across <= Math.min(count, 16); across += 1) {
    const rows = Math.ceil(count / across);
    const frame = Math.min((width / across) * 0.94, (height / rows - CAPTION) * ratio, largest);
    // Full rows are easier to read than slightly larger frames.
    const worth = frame * (count % across ? 1 : 1.06);
    if (worth > best.worth) best = { across, width: Math.min(width, Math.round((frame * across) / 0.94)), worth };
  }
  // Where not even small frames fit, the page scrolls.
  return best.worth >= 24 ? best : { across: Math.min(count, 8), width };
}
