import { symbol, symbolCircle, symbolCross, symbolDiamond, symbolSquare, symbolStar, symbolTriangle, symbolWye } from "d3-shape";

// A model is told apart by colour, by dash and by marker, so that neither a printer nor colour blindness hides which is which.
// Eight colours and seven markers: 56 models before a pair repeats. The colours themselves, light and dark, are in app.css.
const COLOURS = 8;
const DASHES = ["", "7 3", "2 3", "10 3 2 3", "5 2", "1 3", "9 3 3 3 3 3"];
const MARKERS = [symbolCircle, symbolSquare, symbolTriangle, symbolDiamond, symbolCross, symbolStar, symbolWye];

export const colour = (index: number): string => `var(--model-${index % COLOURS})`;
export const dash = (index: number): string => DASHES[index % DASHES.length];
export const marker = (index: number, area = 52): string => symbol(MARKERS[index % MARKERS.length], area)() ?? "";
